"""An MLflow server moves in, and the stock client finds everything again."""

import asyncio
import json
import shutil
import sqlite3
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateTable

from tests.conformance.iris import Iris
from tests.fixtures.services import StartService
from tests.importing.commands import imported, table
from tests.importing.conftest import Furnished
from tests.importing.mlflow_house import plain, seen

pytestmark = pytest.mark.slow

NOUNS = {
    *("experiments", "experiment tags", "datasets", "runs", "params", "run tags", "metric points", "latest metrics"),
    *("dataset inputs", "dataset input tags", "model inputs", "model outputs", "logged models"),
    *("logged-model params", "logged-model tags", "logged-model metrics"),
    *("registered models", "model versions", "model tags", "version tags", "aliases", "artifact files"),
}
RENAMED = {"two.parts": "two_parts_7c2d2dbb", "four.parts.of.name": "four_parts_of_name"}


def test_the_stock_client_finds_everything_again(
    furnished: Furnished,
    mlflow_package: ModuleType,
    iris: Iris,
    database_url: str,
    registry: StartService,
    tmp_path: Path,
) -> None:
    """Same runs, history, models and answers; versions have manifests; numbers go on behind the last one used."""
    server, house, _ = furnished
    root = tmp_path / "root"
    arguments = ("--database-url", database_url, "--artifact-root", root)
    done = imported("--from", server.database_url, "--artifacts", server.artifacts, *arguments)
    assert done.exit_code == 0, done.output
    compared = table(done.stdout)
    assert set(compared) == NOUNS and {verdict for *_, verdict in compared.values()} == {"yes"}
    assert all(f"'{there}' -> '{here}'" in done.stdout for there, here in RENAMED.items())

    service = registry("--database-url", database_url, "--artifact-root", str(root))
    there = {
        (*key[:1], *(RENAMED.get(word, word) for word in key[1:])): value
        for key, value in seen(mlflow_package, server.url).items()
    }
    here = seen(mlflow_package, service.url)
    assert set(there) == set(here)
    differing = {key for key in there if plain(there[key]) != plain(here[key])}
    # The models that could not keep their names differ by that, and their versions likewise.
    assert {key[1] for key in differing} == set(RENAMED.values()), differing

    client = mlflow_package.MlflowClient()
    loaded = mlflow_package.pyfunc.load_model(f"models:/{house.model}@champion")
    assert list(loaded.predict(iris.features)) == list(iris.answers)
    assert client.get_registered_model(house.model).aliases == {"champion": "1", "challenger": "2"}
    assert [m.value for m in client.get_metric_history(house.run_id, "odd")][3:] == [float("inf"), float("-inf")]
    assert client.get_run(house.run_id).inputs.dataset_inputs[0].tags[0].value == "training"
    source = client.get_model_version(house.model, "1").source
    assert client.create_model_version(house.model, source, model_id=house.model_id).version == "4"
    assert int(client.create_experiment("a new one")) > int(house.experiment_id)
    with urllib.request.urlopen(f"{service.url}/api/tiltyard/v1/resolve?uri=models:/{house.model}/1") as answer:
        resolved = json.load(answer)
    assert resolved["models"][0]["digest"].startswith("sha256:") and not resolved["models"][0]["external"]


def test_a_second_import_brings_what_came_later(
    furnished: Furnished, copied: Callable[..., Path], sqlite_url: str, tmp_path: Path
) -> None:
    """What is here already is not doubled and writes no event; what was added or moved there follows."""
    run = furnished.house.run_id
    arguments = ("--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    arguments += ("--artifacts", furnished.server.artifacts)
    first = imported("--from", f"sqlite:///{copied()}", *arguments)
    assert first.exit_code == 0, first.output
    ours = sqlite_url.removeprefix("sqlite+aiosqlite:///")
    with sqlite3.connect(ours) as database:
        events = database.execute("SELECT count(*) FROM events").fetchone()
    again = imported("--from", f"sqlite:///{copied()}", *arguments)
    assert table(again.stdout) == table(first.stdout)
    with sqlite3.connect(ours) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == events
    later = copied(
        f"INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES ('auc', 1, 9, '{run}', 9, 0)",
        f"UPDATE runs SET status = 'KILLED', name = 'said later' WHERE run_uuid = '{run}'",
        "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'",
    )
    third = imported("--from", f"sqlite:///{later}", *arguments)
    assert third.exit_code == 0, third.output
    assert table(third.stdout)["metric points"][1] == table(first.stdout)["metric points"][1] + 1
    with sqlite3.connect(ours) as database:
        assert database.execute("SELECT status, run_name FROM runs WHERE run_id = ?", (run,)).fetchone() == (
            "KILLED",
            "said later",
        )
        (moved,) = database.execute("SELECT before, after FROM events ORDER BY id DESC LIMIT 1").fetchall()
        assert [json.loads(side) for side in moved] == [{"version": 1}, {"version": 2}]


def test_files_that_are_here_already_are_pinned_where_they_are(
    furnished: Furnished, copied: Callable[..., Path], sqlite_url: str, tmp_path: Path
) -> None:
    """With the server's own root as ours nothing is copied; without any of its files versions are external."""
    root = shutil.copytree(furnished.server.artifacts, tmp_path / "root")
    done = imported("--from", f"sqlite:///{copied()}", "--database-url", sqlite_url, "--artifact-root", root)
    assert done.exit_code == 0 and "Model versions with a manifest: 2" in done.stdout, done.output
    assert "artifact files" not in table(done.stdout)


def test_without_files_versions_are_external(copied: Callable[..., Path], sqlite_url: str, tmp_path: Path) -> None:
    """They are recorded as they came, without a manifest, and the report says so."""
    done = imported(
        *("--from", f"sqlite:///{copied()}", "--database-url", sqlite_url, "--artifact-root", tmp_path / "empty")
    )
    assert done.exit_code == 0 and "without a manifest: 6 model versions" in done.stdout, done.output


def test_a_server_on_postgresql_moves_in(
    furnished: Furnished,
    copied: Callable[..., Path],
    new_postgres_url: Callable[..., str],
    sqlite_url: str,
    tmp_path: Path,
) -> None:
    """MLflow's own tables on PostgreSQL, with the same rows, give the same table of counts and checksums."""
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.model_registry.dbmodels import models as _registry  # noqa: F401 - fills the metadata
    from mlflow.store.tracking.dbmodels import models as _tracking  # noqa: F401

    path, url = copied(), new_postgres_url(migrated=False)

    async def fill() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            with sqlite3.connect(path) as source:
                source.row_factory = sqlite3.Row
                for its in Base.metadata.sorted_tables:
                    # SQLite lets a foreign key name columns that are not unique; PostgreSQL does not.
                    await connection.execute(CreateTable(its, include_foreign_key_constraints=[]))
                    rows = [dict(row) for row in source.execute(f'SELECT * FROM "{its.name}"')]
                    rows = [row | {name: bool(row[name]) for name in {"is_nan"} & row.keys()} for row in rows]
                    if rows:
                        await connection.execute(insert(its), rows)
        await engine.dispose()

    asyncio.run(fill())
    arguments = ("--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    done = imported("--from", url.replace("postgresql+asyncpg", "postgresql+psycopg2"), *arguments)
    assert done.exit_code == 0, done.output
    assert table(done.stdout)["runs"] == (3, 3, "yes")
    assert {verdict for *_, verdict in table(done.stdout).values()} == {"yes"}
