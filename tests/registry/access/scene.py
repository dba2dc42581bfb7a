"""What the requests of the table are about: a model, an experiment, and what hangs on them; and their absent twins."""

import itertools
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from tests.registry.access.callers import ADMIN, GRANTED, HEADER, grant
from tests.registry.api_app import MLFLOW, OWN, UNITY, Api
from tiltyard_registry.rules.access import Kind
from tiltyard_registry.tables.models import registered_models
from tiltyard_registry.tables.namespaces import catalogs, schemas

_numbers = itertools.count(1)
AS_ADMIN = {HEADER: ADMIN.name}
FILE = "f.txt"
ABSENT_EXPERIMENT = "987654321"

Names = Mapping[str, str]


def new_name() -> str:
    """A part of a name that nothing has."""
    return f"n{next(_numbers):06}"


async def build(api: Api) -> Names:
    """New objects of an administrator, with what was granted on them; the ids that requests name them by."""
    number = f"{next(_numbers):06}"
    catalog, name = f"real{number}", f"real{number}.ml.iris"
    names = {"catalog": catalog, "schema": f"{catalog}.ml", "model": name, "experiment_name": f"real{number}"}

    async def ok(method: str, path: str, body: Any = None) -> Any:
        return await api.ok(method, path, body, headers=AS_ADMIN)

    created = await ok("POST", f"{MLFLOW}/experiments/create", {"name": names["experiment_name"]})
    names["experiment"] = created["experiment_id"]
    started = await ok("POST", f"{MLFLOW}/runs/create", {"experiment_id": names["experiment"], "start_time": 1})
    names["run"] = started["run"]["info"]["run_id"]
    batch = {
        "run_id": names["run"],
        "metrics": [{"key": "loss", "value": 0.5, "timestamp": 1, "step": 1}],
        "params": [{"key": "depth", "value": "3"}],
        "tags": [{"key": "kept", "value": f"secret{number}"}],
    }
    await ok("POST", f"{MLFLOW}/runs/log-batch", batch)
    dataset = {"name": f"secret{number}", "digest": "d", "source_type": "local", "source": "{}"}
    await ok("POST", f"{MLFLOW}/runs/log-inputs", {"run_id": names["run"], "datasets": [{"dataset": dataset}]})
    logged = {"experiment_id": names["experiment"], "name": f"secret{number}"}
    names["logged_model"] = (await ok("POST", f"{MLFLOW}/logged-models", logged))["model"]["info"]["model_id"]
    for place in (names["run"], f"models/{names['logged_model']}"):
        files = f"/api/2.0/mlflow-artifacts/artifacts/{names['experiment']}/{place}/artifacts"
        put = await api.ask("PUT", f"{files}/{FILE}", b"secret", headers=AS_ADMIN)
        assert put.status_code == 200, put.text
    await ok("POST", f"{MLFLOW}/registered-models/create", {"name": name, "description": f"secret{number}"})
    source = {"name": name, "source": f"runs:/{names['run']}/{FILE.partition('.')[0]}", "run_id": names["run"]}
    model_file = f"/api/2.0/mlflow-artifacts/artifacts/{names['experiment']}/{names['run']}/artifacts/f/{FILE}"
    await api.ask("PUT", model_file, b"secret", headers=AS_ADMIN)
    await ok("POST", f"{MLFLOW}/model-versions/create", source)
    await ok("POST", f"{MLFLOW}/model-versions/create", {"name": name, "source": "s3://elsewhere/2"})
    for version in ("1", "2"):
        await ok("PUT", f"{OWN}/models/{name}/aliases/champion", {"version": int(version)})
    await ok("POST", f"{MLFLOW}/registered-models/set-tag", {"name": name, "key": "kept", "value": f"secret{number}"})
    pending = {"catalog_name": catalog, "schema_name": "ml", "model_name": "iris", "source": "mem:x"}
    await ok("POST", f"{UNITY}/models/versions", pending)
    await _grant_on(api, names)
    return names


def absent(real: Names) -> Names:
    """The same names with other letters: nothing has them. As long, so that nothing else in an answer differs."""
    twin = {
        "catalog": real["catalog"].replace("real", "gone"),
        "schema": real["schema"].replace("real", "gone"),
        "model": real["model"].replace("real", "gone"),
        "experiment_name": real["experiment_name"].replace("real", "gone"),
        "experiment": ABSENT_EXPERIMENT,
        "run": real["run"][::-1],
        "logged_model": f"m-{real['logged_model'][:1:-1]}",
    }
    assert all(twin[name] != real[name] for name in real)
    return twin


async def _grant_on(api: Api, names: Names) -> None:
    database = api.app.state.database
    async with database.read() as session:
        model = await session.one(select(registered_models).where(registered_models.c.name == names["model"]))
        schema = await session.one(select(schemas).where(schemas.c.id == model["schema_id"]))
        catalog = await session.one(select(catalogs).where(catalogs.c.name == names["catalog"]))
    ids = {
        Kind.CATALOG: catalog["id"],
        Kind.SCHEMA: schema["id"],
        Kind.MODEL: model["id"],
        Kind.EXPERIMENT: int(names["experiment"]),
    }
    for principal_id, granted in GRANTED.items():
        for kind, privileges in granted.items():
            await grant(database, principal_id, kind, ids[kind], privileges)
