"""The same rows for us and for the peer: a small world with many near-misses in it."""

import random
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, update
from sqlalchemy.orm import Session as PeerSession

from tiltyard_registry.rules.prompts import PROMPT_TAG
from tiltyard_registry.search.fields import DATASET_CONTEXT_TAG
from tiltyard_registry.tables import experiments, models, runs

TEXTS = (
    "alpha",
    "Alpha",
    "ALPHA beta",
    "alp*a",
    "a_b",
    "a%b",
    "axb",
    "[z]",
    "?",
    "é",
    "É",
    "",
    "9",
    "10",
    "it's",
    'say "hi"',
    "back\\slash",
    " padded ",
    "日本",
)
KEYS = ("k", "key two", "a/b", "dotted.key", "K", "é")
METRICS = (0.0, -1.5, 1.0, 2.5, 1e-9, 1e300, float("nan"), 1.0, 2.5)
TIMES = (0, 1_000, 1_001, 2_000, 1_700_000_000_000, 1_700_000_000_001)
STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
EXPERIMENTS = 9
RUNS = 45
MODELS = 24
LOGGED = 24


@dataclass
class World:
    """Plain rows. Every `tags`, `params` and `metrics` is a mapping of a key to its value."""

    experiments: list[dict[str, Any]] = field(default_factory=list)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    logged: list[dict[str, Any]] = field(default_factory=list)


def random_world(seed: int) -> World:
    """A world that `seed` fixes."""
    rng = random.Random(seed)
    world = World()

    def pairs(values: tuple[Any, ...] = TEXTS) -> dict[str, Any]:
        return {key: rng.choice(values) for key in KEYS if rng.random() < 0.5}

    for number in range(EXPERIMENTS):
        world.experiments.append(
            {
                "experiment_id": number,
                "name": f"{TEXTS[number]}{number}",
                "creation_time": rng.choice(TIMES),
                "last_update_time": rng.choice(TIMES),
                "tags": pairs(),
            }
        )
    for number in range(8):
        world.datasets.append({"id": number + 1, "name": rng.choice(TEXTS[:8]), "digest": f"d{number}"})
    for number in range(RUNS):
        world.runs.append(
            {
                "id": number + 1,
                "run_id": f"{rng.getrandbits(128):032x}",
                "experiment_id": rng.randrange(3),
                "run_name": rng.choice(TEXTS),
                "user_id": rng.choice(TEXTS),
                "status": rng.choice(STATUSES),
                "start_time": rng.choice(TIMES),
                "end_time": rng.choice((*TIMES, None)),
                "artifact_uri": f"mlflow-artifacts:/{number}/{rng.choice(TEXTS)}",
                "tags": pairs(),
                "params": pairs(),
                "metrics": pairs(METRICS),
                "inputs": {d["id"]: rng.choice(TEXTS[:6]) for d in world.datasets if rng.random() < 0.2},
            }
        )
    for number in range(MODELS):
        name = f"{rng.choice(TEXTS)}{number % 5}-{number}"
        versions = [
            {
                "version": version,
                "creation_timestamp": rng.choice(TIMES),
                "last_updated_timestamp": rng.choice(TIMES),
                "source": rng.choice(TEXTS),
                "run_id": rng.choice(("", world.runs[0]["run_id"], world.runs[1]["run_id"])),
                "tags": pairs(),
            }
            for version in rng.sample(range(1, 14), k=rng.randrange(4))
        ]
        model = {
            "id": number + 1,
            "name": name,
            "last_updated_timestamp": rng.choice(TIMES),
            "versions": versions,
            "tags": pairs(),
        }
        mark = rng.choice((None, None, None, "true", "false", "True"))
        if mark is not None:
            model["tags"][PROMPT_TAG] = mark
            for version in versions:
                version["tags"][PROMPT_TAG] = mark
        world.models.append(model)
    for number in range(LOGGED):
        points = [
            {
                "run_id": world.runs[rng.randrange(4)]["run_id"],
                "key": rng.choice(KEYS[:3]),
                "timestamp": number,
                "step": point,
                "value": rng.choice(METRICS[:6]),
                "dataset": rng.choice((None, *world.datasets[:3])),
            }
            for point in range(rng.randrange(5))
        ]
        world.logged.append(
            {
                "model_id": f"m-{rng.getrandbits(128):032x}",
                "experiment_id": rng.randrange(3),
                "name": rng.choice(TEXTS[:9]),
                "creation_timestamp_ms": rng.choice(TIMES),
                "last_updated_timestamp_ms": rng.choice(TIMES),
                "model_type": rng.choice(("", "agent", "Agent")),
                "source_run_id": rng.choice(("", world.runs[0]["run_id"])),
                "tags": pairs(),
                "params": pairs(),
                "points": points,
            }
        )
    return world


def _children(rows: list[dict[str, Any]], key: str, parent: str, source: str) -> list[dict[str, Any]]:
    return [{parent: row[source], "key": k, "value": v} for row in rows for k, v in row[key].items()]


def _stored(value: float) -> dict[str, Any]:
    return {"value": 0.0, "is_nan": True} if value != value else {"value": value, "is_nan": False}


def insert_ours(connection: Connection, world: World) -> None:
    """Puts the world into our tables, which hold only what a fresh database holds."""

    def put(table: Any, rows: list[dict[str, Any]]) -> None:
        if rows:
            connection.execute(insert(table), rows)

    default, *others = world.experiments
    times = {key: default[key] for key in ("name", "creation_time", "last_update_time")}
    connection.execute(
        update(experiments.experiments).where(experiments.experiments.c.experiment_id == 0).values(times)
    )
    put(experiments.experiments, [{**_only(experiments.experiments, e), "artifact_location": "x"} for e in others])
    put(experiments.experiment_tags, _children(world.experiments, "tags", "experiment_id", "experiment_id"))
    put(
        runs.datasets,
        [{**_only(runs.datasets, d), "experiment_id": 0, "source_type": "s", "source": "{}"} for d in world.datasets],
    )
    put(runs.runs, [_only(runs.runs, run) for run in world.runs])
    put(runs.run_tags, _children(world.runs, "tags", "run", "id"))
    put(runs.params, _children(world.runs, "params", "run", "id"))
    put(
        runs.latest_metrics,
        [
            {"run": run["id"], "key": key, "timestamp": 1, "step": 0, **_stored(value)}
            for run in world.runs
            for key, value in run["metrics"].items()
        ],
    )
    used = [(run["id"], dataset, context) for run in world.runs for dataset, context in run["inputs"].items()]
    put(runs.dataset_inputs, [{"run": run, "dataset_id": dataset} for run, dataset, _ in used])
    put(
        runs.dataset_input_tags,
        [{"run": r, "dataset_id": d, "key": DATASET_CONTEXT_TAG, "value": context} for r, d, context in used],
    )
    put(
        models.registered_models,
        [
            {**_only(models.registered_models, m), "uuid": str(m["id"]), "schema_id": 1, "creation_timestamp": 1}
            for m in world.models
        ],
    )
    put(models.registered_model_tags, _children(world.models, "tags", "registered_model_id", "id"))
    versions = [
        {**version, "registered_model_id": model["id"], "run_id": version["run_id"] or None}
        for model in world.models
        for version in model["versions"]
    ]
    more = {"uuid": "u", "status": "READY", "storage_location": "x"}
    put(models.model_versions, [{**_only(models.model_versions, version), **more} for version in versions])
    put(
        models.model_version_tags,
        [
            {"registered_model_id": v["registered_model_id"], "version": v["version"], "key": k, "value": value}
            for v in versions
            for k, value in v["tags"].items()
        ],
    )
    more = {"artifact_uri": "x", "status": "LOGGED_MODEL_READY"}
    put(experiments.logged_models, [{**_only(experiments.logged_models, model), **more} for model in world.logged])
    put(experiments.logged_model_tags, _children(world.logged, "tags", "model_id", "model_id"))
    put(experiments.logged_model_params, _children(world.logged, "params", "model_id", "model_id"))
    put(
        experiments.logged_model_metrics,
        [
            {
                **_only(experiments.logged_model_metrics, point),
                **_stored(point["value"]),
                "model_id": model["model_id"],
                "dataset_name": point["dataset"]["name"] if point["dataset"] else "",
                "dataset_digest": point["dataset"]["digest"] if point["dataset"] else "",
            }
            for model in world.logged
            for point in model["points"]
        ],
    )


def _only(table: Any, row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key in table.c}


def insert_peers(session: PeerSession, world: World) -> None:
    """Puts the same world into the tables of MLflow, through its own classes."""
    from mlflow.store.model_registry.dbmodels import models as registry
    from mlflow.store.tracking.dbmodels import models as tracking

    for e in world.experiments:
        row = {key: e[key] for key in ("experiment_id", "name", "creation_time", "last_update_time")}
        tags = [tracking.SqlExperimentTag(key=k, value=v) for k, v in e["tags"].items()]
        session.merge(tracking.SqlExperiment(**row, lifecycle_stage="active", artifact_location="x", tags=tags))
    for d in world.datasets:
        session.add(
            tracking.SqlDataset(
                dataset_uuid=str(d["id"]),
                experiment_id=0,
                name=d["name"],
                digest=d["digest"],
                dataset_source_type="s",
                dataset_source="{}",
            )
        )
    session.flush()
    for run in world.runs:
        columns = ("user_id", "status", "start_time", "end_time", "artifact_uri", "experiment_id")
        session.add(
            tracking.SqlRun(
                run_uuid=run["run_id"],
                name=run["run_name"],
                **{key: run[key] for key in columns},
                lifecycle_stage="active",
                source_type="LOCAL",
                tags=[
                    tracking.SqlTag(key=k, value=v)
                    for k, v in {**run["tags"], "mlflow.runName": run["run_name"]}.items()
                ],
                params=[tracking.SqlParam(key=k, value=v) for k, v in run["params"].items()],
                latest_metrics=[
                    tracking.SqlLatestMetric(key=k, timestamp=1, step=0, **_stored(v))
                    for k, v in run["metrics"].items()
                ],
            )
        )
        for dataset, context in run["inputs"].items():
            uuid = f"{run['id']}-{dataset}"
            session.add(
                tracking.SqlInput(
                    input_uuid=uuid,
                    source_type="DATASET",
                    source_id=str(dataset),
                    destination_type="RUN",
                    destination_id=run["run_id"],
                )
            )
            session.add(tracking.SqlInputTag(input_uuid=uuid, name=DATASET_CONTEXT_TAG, value=context))
    for model in world.models:
        tags = [registry.SqlRegisteredModelTag(key=k, value=v) for k, v in model["tags"].items()]
        times = {"creation_time": 1, "last_updated_time": model["last_updated_timestamp"]}
        session.add(registry.SqlRegisteredModel(name=model["name"], registered_model_tags=tags, **times))
        session.flush()
        for v in model["versions"]:
            session.add(
                registry.SqlModelVersion(
                    name=model["name"],
                    version=v["version"],
                    creation_time=v["creation_timestamp"],
                    last_updated_time=v["last_updated_timestamp"],
                    source=v["source"],
                    run_id=v["run_id"],
                    model_version_tags=[
                        registry.SqlModelVersionTag(key=k, value=value) for k, value in v["tags"].items()
                    ],
                )
            )
    for model in world.logged:
        columns = (
            "model_id",
            "experiment_id",
            "name",
            "creation_timestamp_ms",
            "last_updated_timestamp_ms",
            "model_type",
            "source_run_id",
        )
        in_experiment = {"experiment_id": model["experiment_id"]}
        session.add(
            tracking.SqlLoggedModel(
                **{key: model[key] for key in columns},
                artifact_location="x",
                status=2,
                tags=[
                    tracking.SqlLoggedModelTag(tag_key=k, tag_value=v, **in_experiment)
                    for k, v in model["tags"].items()
                ],
                params=[
                    tracking.SqlLoggedModelParam(param_key=k, param_value=v, **in_experiment)
                    for k, v in model["params"].items()
                ],
                metrics=[
                    tracking.SqlLoggedModelMetric(
                        metric_name=point["key"],
                        metric_timestamp_ms=point["timestamp"],
                        metric_step=point["step"],
                        metric_value=point["value"],
                        run_id=point["run_id"],
                        dataset_name=point["dataset"]["name"] if point["dataset"] else None,
                        dataset_digest=point["dataset"]["digest"] if point["dataset"] else None,
                        **in_experiment,
                    )
                    for point in model["points"]
                ],
            )
        )
    session.commit()
