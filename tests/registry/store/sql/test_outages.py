"""A database that is silent, or whose disk is full: bounds hold, the log says why, health says so, nothing doubles."""

import asyncio
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Engine, event, text

from tests.fixtures.waiting import until
from tests.registry.api_app import MLFLOW, opened
from tests.registry.store.sql.silent_server import wire
from tests.registry.store_house import House
from tiltyard.errors import TemporarilyUnavailable
from tiltyard_registry.store.events.changes import Changes
from tiltyard_registry.store.sql import availability, database, engines
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.sqlite import sqlite_engine

RUNS = f"{MLFLOW}/runs"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds of a moment, in the place of seconds."""
    monkeypatch.setattr(database, "READ_TIMEOUT_S", 0.5)
    monkeypatch.setattr(engines, "CLOSE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(engines, "POSTGRESQL_ARGUMENTS", {**engines.POSTGRESQL_ARGUMENTS, "command_timeout": 0.5})


@pytest.mark.usefixtures("short")
async def test_a_silent_database_holds_up_neither_requests_nor_the_end(postgres_url: str) -> None:
    """Reads and writes are given up in their time, connections are not kept, and closing asks nobody."""
    async with wire(postgres_url) as line, asyncio.timeout(60):
        database = Database(line.url, max_connections=4)
        changes = Changes(database)
        await changes.start()
        for opening in (database.read, database.write):
            with pytest.raises(TemporarilyUnavailable):
                async with opening() as session:
                    await session.scalar(text("SELECT 1"))
                    line.cut.set()
                    await session.scalar(text("SELECT 1"))
            line.cut.clear()
        # Who goes on though the database was lost is not told that anything was stored.
        with pytest.raises(TemporarilyUnavailable):
            async with database.write() as session:
                await session.scalar(text("SELECT 1"))
                line.cut.set()
                with pytest.raises(TemporarilyUnavailable):
                    await session.scalar(text("SELECT 1"))
        with pytest.raises(TemporarilyUnavailable):
            async with database.driver() as driver:
                with availability.unavailable_when_lost():
                    await driver.fetchval("SELECT 1", timeout=0.2)
        line.cut.clear()
        assert database.connections_in_use == 0
        async with database.read() as session:
            assert await session.scalar(text("SELECT 1")) == 1
            line.cut.set()
        await changes.stop()
        await database.close()


async def test_bounds_are_those_that_are_promised() -> None:
    """Reads end after 10 s and writes after 15 s of silence, and readiness answers in less than two."""
    from tiltyard_registry.api import probes

    assert (engines.READ_TIMEOUT_S, engines.WRITE_TIMEOUT_S, probes._CHECK_TIMEOUT_S) == (10.0, 15.0, 1.5)
    assert engines.POSTGRESQL_ARGUMENTS["command_timeout"] == engines.WRITE_TIMEOUT_S


async def test_readiness_waits_for_no_goodbye(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a silent database it answers 503 when its own time is up, whatever its look at the database does then."""
    ended = asyncio.Event()

    async def unending(_self: Any, **_options: Any) -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            # As a driver that says goodbye to a server that does not answer.
            await asyncio.shield(ended.wait())
        return True

    async with opened(tmp_path, database_url=postgres_url) as api:

        async def ready() -> bool:
            return (await api.ask("GET", "/readyz")).status_code == 200

        await until(ready)
        monkeypatch.setattr("tiltyard_registry.api.probes._CHECK_TIMEOUT_S", 0.2)
        monkeypatch.setattr(Database, "ping", unending)
        answer = await api.ask("GET", "/readyz")
        assert answer.status_code == 503 and "does not answer" in answer.text and not ended.is_set()
        ended.set()


async def test_a_full_disk_is_said_everywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite's reason is in the log, callers and health hear of the disk; with space again all is well."""
    availability._told.clear()
    async with opened(tmp_path) as api:
        run_id = (await api.ok("POST", f"{RUNS}/create", {}))["run"]["info"]["run_id"]
        database: Database = api.app.state.database

        async def pages(limit: int) -> None:
            async with database.write() as session:
                await session.execute(text(f"PRAGMA max_page_count = {limit}"))

        logging.getLogger().addHandler(caplog.handler)
        try:
            await pages(1)
            tags = [{"key": f"k{n}", "value": "x" * 5000} for n in range(100)]
            answer = await api.ask("POST", f"{RUNS}/log-batch", {"run_id": run_id, "tags": tags})
            assert answer.status_code == 503 and "disk of the registry's database is full" in answer.json()["message"]
            assert "Try again shortly" not in answer.text and int(answer.headers["retry-after"]) >= 10
            assert any("SQLITE_FULL" in record.getMessage() for record in caplog.records)
            assert database.is_full
        finally:
            logging.getLogger().removeHandler(caplog.handler)

        def refuse(*arguments: Any) -> None:
            if arguments[2].startswith("UPDATE experiments"):
                raise full

        with pytest.raises(Exception) as caught:
            engine = sqlite_engine(database.url)
            async with engine.begin() as connection:
                await connection.execute(text("PRAGMA max_page_count = 1"))
                await connection.execute(text("CREATE TABLE too_much AS SELECT zeroblob(9000000)"))
        await engine.dispose()
        full = caught.value
        event.listen(Engine, "before_cursor_execute", refuse)
        health = await api.ask("GET", "/health")
        assert health.status_code == 503 and "full" in health.text
        assert (await api.ask("GET", "/livez")).status_code == 200
        event.remove(Engine, "before_cursor_execute", refuse)
        await pages(2**30)
        assert (await api.ask("GET", "/health")).status_code == 200
        await api.ok("POST", f"{RUNS}/log-batch", {"run_id": run_id, "tags": tags})


async def test_a_disk_without_space_is_full_though_a_small_write_finds_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's log has room for a probe, and for nothing that callers would write."""
    async with opened(tmp_path) as api:
        api.app.state.database.is_full = True
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=0))
            health = await api.ask("GET", "/health")
            assert health.status_code == 503 and "full" in health.text

        # A look at a slow disk may take longer than a look may take.
        async def is_well() -> bool:
            return (await api.ask("GET", "/health")).status_code == 200

        await until(is_well)


def test_a_full_disk_of_postgresql_is_one_too() -> None:
    """By its state; a lack of connections is not taken for it."""
    with pytest.raises(availability.DiskFull), availability.unavailable_when_lost():
        raise asyncpg.exceptions.DiskFullError("no space")
    with pytest.raises(TemporarilyUnavailable) as busy, availability.unavailable_when_lost():
        raise asyncpg.exceptions.TooManyConnectionsError("too many")
    assert not isinstance(busy.value, availability.DiskFull)


async def test_errors_of_a_callers_own_code_are_not_the_databases(house: House) -> None:
    """A file that is missing and a time-out within a session pass as they are; nothing of the transaction stays."""
    for error in (FileNotFoundError("x"), TimeoutError(), ConnectionResetError()):
        for opening in (house.database.read, house.database.write):
            with pytest.raises(type(error)) as raised:
                async with opening():
                    raise error
            assert raised.value is error
    assert house.database.connections_in_use == 0


async def test_a_connection_that_its_server_closed_is_made_anew(postgres_url: str, tmp_path: Path) -> None:
    """Nothing was asked of it yet, so no caller hears of it: not who writes by one statement, nor anybody else."""
    async with opened(tmp_path, database_url=postgres_url, max_connections=1) as api:
        run_id = (await api.ok("POST", f"{RUNS}/create", {}))["run"]["info"]["run_id"]
        database: Database = api.app.state.database

        async def cut_off() -> None:
            async with database.driver() as driver:
                pass
            driver.terminate()
            while not driver.is_closed():
                await asyncio.sleep(0)

        await cut_off()
        assert (await api.ok("POST", f"{RUNS}/create", {"run_name": "once"}))["run"]["info"]["run_name"] == "once"
        tag = {"run_id": run_id, "key": "k", "value": "v"}
        for path, body in (("set-tag", tag), ("log-parameter", tag), ("update", {"run_id": run_id, "run_name": "n"})):
            await cut_off()
            await api.ok("POST", f"{RUNS}/{path}", body)
        await cut_off()
        found = await api.ok("POST", f"{RUNS}/search", {"experiment_ids": ["0"], "filter": "run_name = 'once'"})
        assert len(found["runs"]) == 1 and database.connections_in_use == 0


@pytest.mark.parametrize("failure", [asyncpg.InterfaceError("lost"), RuntimeError("?"), KeyError("k")])
async def test_a_run_is_never_started_twice(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """When nobody can say whether the statement was done, it is a 500 and nothing is done again."""
    async with opened(tmp_path, database_url=postgres_url) as api:
        await api.ok("POST", f"{RUNS}/create", {})
        done = asyncpg.Connection.fetchval

        async def done_and_lost(self: Any, statement: str, *arguments: Any, **options: Any) -> Any:
            found = await done(self, statement, *arguments, **options)
            if "INSERT INTO runs" in statement:
                raise failure
            return found

        with monkeypatch.context() as patch:
            patch.setattr(asyncpg.Connection, "fetchval", done_and_lost)
            answer = await api.ask("POST", f"{RUNS}/create", {"run_name": "once"})
        assert answer.status_code == 500 and answer.json()["error_code"] == "INTERNAL_ERROR"
        found = await api.ok("POST", f"{RUNS}/search", {"experiment_ids": ["0"], "filter": "run_name = 'once'"})
        assert len(found["runs"]) == 1
