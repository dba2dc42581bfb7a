"""Migrations: what they make, who may run them at once, and a kill in the middle."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, select, text

from tests.fixtures.databases import BACKENDS, sqlite_url_of
from tiltyard_registry.store import migrations
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.all_tables import metadata
from tiltyard_registry.tables.events import events
from tiltyard_registry.tables.experiments import experiments
from tiltyard_registry.tables.namespaces import catalogs, schemas

T = TypeVar("T")

# Migrates, but stops for ever when the last table has been made, before the commit.
_STOPS_IN_THE_MIDDLE = """
import sys, time
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tiltyard_registry.store.migrations import upgrade

@event.listens_for(Engine, "before_cursor_execute")
def stop(connection, cursor, statement, *_):
    if statement.startswith("INSERT INTO experiments"):
        print("in the middle", flush=True)
        time.sleep(600)

upgrade(sys.argv[1])
"""


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that holds nothing at all, on each backend."""
    if request.param == "sqlite":
        return sqlite_url_of(tmp_path / "empty.db")
    create: Callable[..., str] = request.getfixturevalue("new_postgres_url")
    return create(migrated=False)


def _upgrade(url: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(migrations.upgrade, url).result()


async def _look(url: str, look: Callable[[Connection], T]) -> T:
    database = Database(url)
    try:
        async with database.read() as session:
            return await session.connection.run_sync(look)
    finally:
        await database.close()


async def _is_current(url: str) -> bool:
    database = Database(url)
    try:
        async with database.read() as session:
            return await migrations.is_current(session)
    finally:
        await database.close()


async def test_an_empty_database_becomes_current_within_a_second(empty_url: str) -> None:
    """From nothing to the newest schema, with what exists from the start; once more changes nothing."""
    assert not await _is_current(empty_url)
    started = time.process_time()
    _upgrade(empty_url)
    assert time.process_time() - started < 1
    assert await _is_current(empty_url)
    _upgrade(empty_url)
    database = Database(empty_url)
    async with database.read() as session:
        query = select(catalogs.c.name, schemas.c.name.label("schema")).join_from(schemas, catalogs)
        found = {(row["name"], row["schema"]) for row in await session.all(query)}
        (default,) = await session.all(select(experiments))
    await database.close()
    assert found == {("main", "default"), ("workspace", "default")}
    assert (default["experiment_id"], default["name"]) == (0, "Default")
    assert default["artifact_location"] == "mlflow-artifacts:/0"


@pytest.mark.filterwarnings("ignore:Computed :UserWarning")
async def test_the_migrations_make_the_tables_that_the_code_knows(empty_url: str) -> None:
    """Migrated, a database has the columns, keys, indexes and defaults that `tables.py` would make, and no other."""
    _upgrade(empty_url)
    assert await _look(empty_url, _differences) == []
    migrated = await _look(empty_url, _structure)
    database = Database(empty_url)
    async with database.write() as session:
        await session.connection.run_sync(
            lambda connection: (metadata.drop_all(connection), metadata.create_all(connection))
        )
    await database.close()
    assert migrated == await _look(empty_url, _structure)


def _differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True, "include_name": _is_of_tables}
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def _is_of_tables(name: str | None, *_: object) -> bool:
    """Whether something is of the tables, and not of the index of names, which is none that SQLAlchemy knows."""
    return not str(name).startswith(("run_name_trigrams", "run_names_", "ix_runs_name_trigrams"))


def _structure(connection: Connection) -> dict[str, object]:
    """Every table as the database describes it, in no particular order of its parts."""
    look = inspect(connection)
    structure: dict[str, object] = {}
    for table in metadata.tables:
        # A computed column is described with what follows it on SQLite, and as the database rewrote it on PostgreSQL.
        columns = [{**column, "computed": "computed" in column} for column in look.get_columns(table)]
        indexes = [index for index in look.get_indexes(table) if _is_of_tables(index["name"])]
        parts = [*columns, *look.get_foreign_keys(table), *indexes]
        parts += [look.get_pk_constraint(table), *look.get_unique_constraints(table)]
        structure[table] = sorted(repr(sorted(part.items(), key=lambda item: item[0])) for part in parts)
    if connection.dialect.name == "sqlite":
        autoincrement = "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%' ORDER BY name"
        structure["autoincrement"] = list(connection.exec_driver_sql(autoincrement).scalars())
    return structure


_FIRST_EVENTS = (
    ("set_registered_model_alias", "champion", 1, None, '{"version": 1}'),
    ("set_registered_model_alias", "champion", 12, '{"version": 1}', '{"version": 12}'),
    ("delete_registered_model_alias", "champion", 12, '{"version": 12}', None),
    ("import_model_version", None, 2, None, '{"version": "two"}'),
    ("create_registered_model", None, None, None, '{"name": "m"}'),
)
_INSERT = text(
    'INSERT INTO events (time, principal, action, registered_model_id, name, alias, version, "before", "after") '
    "VALUES (1, 'alice', :action, 7, 'm', :alias, :version, :before, :after)"
)


async def test_events_of_the_release_before_say_what_an_alias_named(empty_url: str) -> None:
    """Those that were written over the old schema, and those that it goes on writing during the upgrade."""
    rows = [dict(zip(("action", "alias", "version", "before", "after"), one, strict=True)) for one in _FIRST_EVENTS]

    def old(connection: Connection) -> None:
        command.upgrade(migrations.configuration(connection), "0003")
        connection.execute(_INSERT, rows)

    database = Database(empty_url)
    async with database.write() as session:
        await session.run_sync(old)
    await database.close()
    _upgrade(empty_url)
    database = Database(empty_url)
    async with database.write() as session:
        await session.execute(_INSERT, rows)
        moves = await session.all(select(events.c.from_version, events.c.to_version).order_by(events.c.id))
    await database.close()
    told = [(None, 1), (1, 12), (12, None), (None, None), (None, None)]
    assert [tuple(move.values()) for move in moves] == told * 2


def test_the_code_knows_which_revision_is_the_newest() -> None:
    """`HEAD` is the newest file, and the files follow one upon the other."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert script.get_heads() == [migrations.HEAD]


async def test_concurrent_starters_wait_for_each_other(empty_url: str) -> None:
    """Three processes migrate one empty database at once: all succeed, the rows are there once."""
    command = [sys.executable, "-c", f"from tiltyard_registry.store.migrations import upgrade; upgrade({empty_url!r})"]
    starters = [await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE) for _ in range(3)]
    for starter in starters:
        _, errors = await starter.communicate()
        assert starter.returncode == 0, errors.decode()
    assert await _is_current(empty_url)
    database = Database(empty_url)
    async with database.read() as session:
        assert len(await session.all(select(schemas))) == 2
    await database.close()


async def test_a_kill_in_the_middle_leaves_the_old_schema(empty_url: str) -> None:
    """kill -9 when every table is made but nothing committed: nothing is there, and the next start succeeds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _STOPS_IN_THE_MIDDLE, empty_url), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"in the middle\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert not await _is_current(empty_url)
    assert await _look(empty_url, lambda connection: inspect(connection).get_table_names()) == []
    _upgrade(empty_url)
    assert await _is_current(empty_url)


async def test_a_newer_schema_serves_an_older_release(sqlite_url: str) -> None:
    """During an upgrade the old release starts and serves over the new schema, and does not touch it."""
    database = Database(sqlite_url)
    async with database.write() as session:
        await session.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert await _is_current(sqlite_url)
    _upgrade(sqlite_url)
    async with database.write() as session:
        assert await session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
        await session.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    await database.close()
    assert not await _is_current(sqlite_url)
