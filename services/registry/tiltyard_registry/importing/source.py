"""One snapshot of a database, read in streams: of the MLflow server's, or of ours to compare with it."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import ColumnElement, Connection, Select, event, inspect, literal, select, true
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.expression import TableClause

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.store.sql.sqlite import sqlite_engine

CHUNK_ROWS = 2000
"""So many rows are in memory at once, however many there are."""

DEFAULT_WORKSPACE = "default"

_REQUIRED = ("experiments", "runs", "params", "tags", "metrics", "registered_models", "model_versions")
_SQLITE, _POSTGRESQL = "sqlite", "postgresql"

Values = tuple[Any, ...]
"""One row: its values in the order of the columns that were asked for."""


class Snapshot:
    """What a database held when it was opened."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def stream(self, statement: Select[Any]) -> AsyncIterator[list[Values]]:
        """The rows in chunks of at most `CHUNK_ROWS`; no more than one chunk is held."""
        async with self._connection.stream(statement) as result:
            async for chunk in result.partitions(CHUNK_ROWS):
                yield [tuple(row) for row in chunk]

    async def all(self, statement: Select[Any]) -> list[Values]:
        """Every row, for what is known to be little."""
        return [tuple(row) for row in (await self._connection.execute(statement)).all()]

    async def scalar(self, statement: Select[Any]) -> Any:
        """The first column of the first row."""
        return await self._connection.scalar(statement)


class MLflowDatabase(Snapshot):
    """The tables of an MLflow server, whatever its release has of them. One workspace is read, and no other."""

    def __init__(self, connection: AsyncConnection, columns: Mapping[str, frozenset[str]], workspace: str) -> None:
        super().__init__(connection)
        self._columns = columns
        self._workspace = workspace

    def table(self, name: str) -> TableClause:
        """The table with the columns that it has."""
        return sql_table(name, *(sql_column(column) for column in sorted(self._columns.get(name, ()))))

    def has(self, name: str, column: str | None = None) -> bool:
        """Whether the release has the table, and the column in it."""
        return name in self._columns and (column is None or column in self._columns[name])

    def select(self, table: TableClause, names: Sequence[str]) -> Select[Any]:
        """The named columns of the workspace's rows; a column that the release lacks is null."""
        shown = [table.c[name] if name in table.c else literal(None).label(name) for name in names]
        return select(*shown).select_from(table).where(self.within(table))

    def within(self, table: TableClause) -> ColumnElement[bool]:
        """Whether a row belongs to the workspace that is read."""
        if "workspace" in table.c:
            return table.c.workspace == self._workspace
        if "experiment_id" in table.c and table.name != "experiments":
            experiments = self.table("experiments")
            return table.c.experiment_id.in_(select(experiments.c.experiment_id).where(self.within(experiments)))
        return true()

    async def other_workspaces(self) -> list[str]:
        """The workspaces, besides the one that is read, that hold experiments or models."""
        found: set[str] = set()
        for name in ("experiments", "registered_models"):
            table = self.table(name)
            if "workspace" in table.c:
                found |= {row[0] for row in await self.all(select(table.c.workspace).distinct())}
        return sorted(found - {self._workspace})


@asynccontextmanager
async def open_mlflow(url: str, *, workspace: str = DEFAULT_WORKSPACE) -> AsyncGenerator[MLflowDatabase]:
    """The MLflow server's database as it is now. Nothing is ever written to it.

    Raises:
        InvalidParameterValue: the URL names no PostgreSQL or SQLite database, it cannot be opened, or it holds no
            MLflow tables.
    """
    engine = _engine(_source_url(url))
    try:
        try:
            connection = await engine.connect()
        except (DBAPIError, OSError, TypeError) as error:
            cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
            raise InvalidParameterValue(f"The source database cannot be opened: {type(cause).__name__}.") from error
        try:
            yield MLflowDatabase(connection, await _columns_of(connection), workspace)
        finally:
            await connection.close()
    finally:
        await engine.dispose()


@asynccontextmanager
async def open_ours(url: str) -> AsyncGenerator[Snapshot]:
    """Our own database as it is now."""
    engine = _engine(make_url(url))
    try:
        async with engine.connect() as connection:
            yield Snapshot(connection)
    finally:
        await engine.dispose()


async def _columns_of(connection: AsyncConnection) -> dict[str, frozenset[str]]:
    try:
        columns = await connection.run_sync(_columns)
    except DBAPIError as error:
        raise InvalidParameterValue(f"The source cannot be read: {type(error.orig).__name__}.") from error
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise InvalidParameterValue(f"The source is no database of an MLflow server: no table {', '.join(missing)}.")
    return columns


def _columns(connection: Connection) -> dict[str, frozenset[str]]:
    found = inspect(connection).get_multi_columns()
    return {name: frozenset(column["name"] for column in columns) for (_, name), columns in found.items()}


def _source_url(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise InvalidParameterValue("The source database is not named by a URL (--from).") from None
    kind = url.drivername.partition("+")[0]
    if kind in ("postgres", _POSTGRESQL):
        url = url.set(drivername="postgresql+asyncpg")
        # The word of other drivers for the same thing.
        mode = url.query.get("sslmode")
        url = url.difference_update_query(["sslmode"])
        return url.update_query_dict({"ssl": mode}) if mode else url
    if kind != _SQLITE:
        raise InvalidParameterValue(
            f"A source of the kind '{kind}' cannot be read (--from): expected postgresql://… or sqlite:///…"
        )
    path = Path(url.database or "")
    if not path.is_file():
        raise InvalidParameterValue(f"There is no source database '{url.database or ''}' (--from).")
    # Read-only, so that looking at a database can neither create nor change it.
    return URL.create(_SQLITE, database=f"file:{quote(str(path.resolve()))}", query={"mode": "ro", "uri": "true"})


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() == _SQLITE:
        engine = sqlite_engine(url, poolclass=NullPool)
        # Without a transaction each statement would see another state.
        event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine
    return create_async_engine(
        url,
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
        connect_args={"timeout": 10, "server_settings": {"application_name": "tiltyard-import"}},
    )
