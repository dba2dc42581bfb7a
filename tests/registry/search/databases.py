"""One world of rows in our tables, on SQLite and on PostgreSQL, asked the same question at once."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from tests.fixtures.databases import sqlite_url_of
from tests.registry.search.rows import World, insert_ours
from tiltyard_registry.search import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    Page,
    Scope,
    compile_filter,
    order_terms,
)
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables import experiments, models, runs

# What identifies a row, and what pages are cut by.
LISTINGS: dict[str, Select[Any]] = {
    RUNS.name: select(runs.runs.c.run_id, runs.runs.c.start_time),
    EXPERIMENTS.name: select(experiments.experiments),
    REGISTERED_MODELS.name: select(models.registered_models.c.name, models.registered_models.c.last_updated_timestamp),
    MODEL_VERSIONS.name: select(
        models.registered_models.c.name,
        models.model_versions.c.version,
        models.model_versions.c.creation_timestamp,
        models.model_versions.c.last_updated_timestamp,
    ).join(models.registered_models, models.registered_models.c.id == models.model_versions.c.registered_model_id),
    LOGGED_MODELS.name: select(experiments.logged_models),
}
IDENTITY: dict[str, tuple[str, ...]] = {
    RUNS.name: ("run_id",),
    EXPERIMENTS.name: ("experiment_id",),
    REGISTERED_MODELS.name: ("name",),
    MODEL_VERSIONS.name: ("name", "version"),
    LOGGED_MODELS.name: ("model_id",),
}


class SearchedDatabases:
    """Answers by dialect. Rows are shown as what identifies them."""

    def __init__(self, runner: asyncio.Runner, databases: dict[str, Database]) -> None:
        self._runner = runner
        self._databases = databases

    def listing(
        self, scope: Scope, text: str | None, order: Sequence[Any] | None = None, **more: Any
    ) -> dict[str, list[Any]]:
        """Every row that `text` lets through, in order."""
        found = {}
        for dialect, database in self._databases.items():
            statement = LISTINGS[scope.name]
            clause = compile_filter(scope, text, dialect=dialect, **more)  # type: ignore[arg-type]
            if clause is not None:
                statement = statement.where(clause)
            ordered = statement.order_by(*(term.clause for term in order_terms(scope, order, dialect=dialect)))  # type: ignore[arg-type]
            rows = self._runner.run(_rows(database, ordered))
            found[dialect] = [_identity(scope, row) for row in rows]
        return found

    def page(self, dialect: str, scope: Scope, **asked: Any) -> tuple[list[Any], str | None]:
        """One page of one database, and the token of the next."""
        page = Page(scope, dialect=dialect, **asked)  # type: ignore[arg-type]
        rows, token = self._runner.run(
            page.read(LISTINGS[scope.name], lambda statement: _rows(self._databases[dialect], statement))
        )
        return [_identity(scope, row) for row in rows], token

    def execute(self, dialect: str, statement: Any) -> None:
        """Changes rows of one database."""

        async def change() -> None:
            async with self._databases[dialect].write() as session:
                await session.execute(statement)

        self._runner.run(change())


def _identity(scope: Scope, row: Any) -> Any:
    values = tuple(row[key] for key in IDENTITY[scope.name])
    return values if len(values) > 1 else values[0]


async def _rows(database: Database, statement: Select[Any]) -> Sequence[Any]:
    async with database.read() as session:
        return await session.all(statement)


async def _load(database: Database, world: World) -> None:
    async with database.write() as session:
        await session.connection.run_sync(insert_ours, world)


@contextmanager
def searched_databases(
    world: World, folder: Path, sqlite_template: Path, postgres_server: Any
) -> Iterator[SearchedDatabases]:
    """`world` in a database of each kind, until the end of the block."""
    sqlite = folder / "tiltyard.db"
    sqlite.write_bytes(sqlite_template.read_bytes())
    postgres_url = postgres_server.create_database(migrated=True)
    with asyncio.Runner() as runner:
        databases = {"sqlite": Database(sqlite_url_of(sqlite)), "postgresql": Database(postgres_url)}
        for database in databases.values():
            runner.run(_load(database, world))
        yield SearchedDatabases(runner, databases)
        for database in databases.values():
            runner.run(database.close())
    postgres_server.drop_database(postgres_url)
