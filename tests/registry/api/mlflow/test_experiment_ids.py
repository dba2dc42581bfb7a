"""Experiment ids of 64 bits: those that came with an import are reached by every call, and no new one follows them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic import command
from sqlalchemy import Connection, delete, insert, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.registry.api_app import MLFLOW, OWN, opened
from tests.registry.store_house import House
from tiltyard_registry.store import migrations
from tiltyard_registry.store.experiments import experiments
from tiltyard_registry.store.runs import runs as run_doors
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.sqlite import sqlite_engine
from tiltyard_registry.tables.experiments import experiments as rows

IDS = [690606685351533641, 2**31, 2**63 - 1]
SEARCH = {"max_results": 10}


async def _imported(database: Database, *ids: int) -> None:
    """Puts experiments there with ids of their own, as an import does."""
    async with database.write() as session:
        for number in ids:
            location = f"mlflow-artifacts:/{number}"
            values = {"experiment_id": number, "name": f"of {number}", "artifact_location": location}
            await session.execute(insert(rows).values(**values, creation_time=1, last_update_time=1))
        await experiments.free_new_ids(session)


async def test_an_id_of_64_bits_is_reached_by_every_call(database_url: str, tmp_path: Path) -> None:
    """Whatever a client does with an experiment, it does with one of the longest ids."""
    async with opened(tmp_path, database_url=database_url) as api:
        await _imported(api.app.state.database, *IDS)
        for number in map(str, IDS):
            at = {"experiment_id": number}
            many = {"experiment_ids": [number], **SEARCH}
            found = await api.ok("GET", f"{MLFLOW}/experiments/get", params=at)
            assert found["experiment"]["experiment_id"] == number
            await api.ok("POST", f"{MLFLOW}/experiments/update", {**at, "new_name": f"renamed {number}"})
            await api.ok("POST", f"{MLFLOW}/experiments/set-experiment-tag", {**at, "key": "k", "value": "v"})
            run = (await api.ok("POST", f"{MLFLOW}/runs/create", at))["run"]["info"]
            assert run["experiment_id"] == number and run["artifact_uri"].startswith(f"mlflow-artifacts:/{number}/")
            dataset = {"name": "d", "digest": "1", "source_type": "code", "source": "{}"}
            inputs = {"run_id": run["run_id"], "datasets": [{"dataset": dataset}]}
            await api.ok("POST", f"{MLFLOW}/runs/log-inputs", inputs)
            assert len((await api.ok("POST", f"{MLFLOW}/runs/search", many))["runs"]) == 1
            summaries = await api.ok("POST", f"{MLFLOW}/experiments/search-datasets", {"experiment_ids": [number]})
            assert summaries["dataset_summaries"][0]["experiment_id"] == number
            await api.ok("POST", f"{MLFLOW}/logged-models", {**at, "name": "m"})
            assert len((await api.ok("POST", f"{MLFLOW}/logged-models/search", many))["models"]) == 1
            table = await api.ask("GET", f"{OWN}/runs.csv", params=at)
            assert table.text.count("\n") == 2
            bulk = {**at, "max_timestamp_millis": run["start_time"]}
            assert (await api.ok("POST", f"{MLFLOW}/databricks/runs/delete-runs", bulk))["runs_deleted"] == 1
            await api.ok("POST", f"{MLFLOW}/experiments/delete", at)
            await api.ok("POST", f"{MLFLOW}/experiments/restore", at)
        new = (await api.ok("POST", f"{MLFLOW}/experiments/create", {"name": "next"}))["experiment_id"]
        assert int(new) < 100
        await api.ok("GET", f"{MLFLOW}/experiments/get", params={"experiment_id": new})
        assert (await api.refused("GET", f"{MLFLOW}/experiments/get?experiment_id={2**63}"))[0] == 404


async def test_new_ids_follow_one_another_beside_long_ones(house: House) -> None:
    """Each new id is one more than the last, whatever was imported, and is not given again when it is purged."""
    first = int(await house.do(experiments.create_experiment, "first"))
    await _imported(house.database, *IDS)
    second = int(await house.do(experiments.create_experiment, "second"))
    third = int(await house.do(experiments.create_experiment, "third"))
    assert (second, third) == (first + 1, first + 2)
    async with house.database.write() as session:
        await session.execute(delete(rows).where(rows.c.experiment_id == third))
    assert int(await house.do(experiments.create_experiment, "fourth")) == third + 1


def _at_revision(connection: Connection, revision: str) -> None:
    command.upgrade(migrations.configuration(connection), revision)


async def test_older_databases_take_long_ids_too(empty_database_url: str) -> None:
    """A database of the first schema keeps its rows, counts on from its own ids, and takes ids of 64 bits."""
    is_sqlite = empty_database_url.startswith("sqlite")
    engine = (sqlite_engine if is_sqlite else create_async_engine)(empty_database_url)
    async with engine.begin() as connection:
        await connection.run_sync(_at_revision, "0001")
        old = "INSERT INTO experiments (experiment_id, name, artifact_location, creation_time, last_update_time) "
        await connection.execute(text(old + "VALUES (7, 'old', 'mlflow-artifacts:/7', 1, 1)"))
        if is_sqlite:
            await connection.execute(text(old + f"VALUES ({IDS[0]}, 'long', 'mlflow-artifacts:/long', 1, 1)"))
        else:
            await connection.execute(text("SELECT setval('experiments_experiment_id_seq', 7)"))
    await engine.dispose()
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, migrations.upgrade, empty_database_url)
    house = House(empty_database_url, "memory:///")
    await _imported(house.database, *IDS[1:])
    assert int(await house.do(experiments.create_experiment, "new")) == 8
    for number in (7, 8, IDS[1], IDS[2]):
        await house.do(run_doors.create_run, str(number))
    async with house.database.read() as session:
        names = {row["name"] for row in await session.all(select(rows.c.name))}
    assert {"Default", "old", "new"} <= names
    await house.database.close()
