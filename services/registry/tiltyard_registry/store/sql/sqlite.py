"""Engines over SQLite: the standard library's driver, below SQLAlchemy's asyncio interface."""

import os
import sqlite3
from contextlib import suppress
from functools import partial
from typing import Any, Self

from sqlalchemy import event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.base import SQLiteExecutionContext
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util.concurrency import await_

from tiltyard_registry.store.sql.sqlite_connection import InlineConnection

_DRIVER = "sqlite+inline"
_ARGUMENTS: dict[str, Any] = {
    "check_same_thread": False,
    "isolation_level": None,
    # Nobody waits for a lock on the event loop.
    "timeout": 0,
    "cached_statements": 512,
}


def numbered(*values: Any) -> dict[str, Any]:
    """What the marks `?1`, `?2`, … of a statement stand for: to its driver they are names."""
    return {str(number): value for number, value in enumerate(values, 1)}


def sqlite_engine(url: str | URL, **options: Any) -> AsyncEngine:
    """An engine over the SQLite database of `url`, whatever driver it names; `options` are SQLAlchemy's.

    Transactions are left to who uses it: the driver opens none of its own.
    """
    return create_async_engine(
        make_url(url).set(drivername=_DRIVER),
        connect_args={"factory": InlineConnection, **_ARGUMENTS},
        **{"poolclass": AsyncAdaptedQueuePool, **options},
    )


def registry_engine(url: str | URL, *, begin: str | None = None, **options: Any) -> AsyncEngine:
    """An engine over the registry's own database; `begin` opens its transactions.

    With `synchronous=NORMAL` no commit is lost when the process is killed; one that loses power may lose the last.
    """
    engine = sqlite_engine(url, **options)
    event.listen(engine.sync_engine, "connect", _configure)
    if begin is not None:
        event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def connected(path: str) -> InlineConnection:
    """A connection to the registry's own database, for who asks it without SQLAlchemy."""
    connection = InlineConnection(path, **_ARGUMENTS)
    _configure(connection, None)
    without_checkpoints(connection, None)
    return connection


def make_private(path: str) -> None:
    """Makes a SQLite file that is not there, for its owner alone; the files beside it get the mode that it has."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _configure(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.cursor().execute(f"PRAGMA {pragma}")


def without_checkpoints(connection: Any, _record: object) -> None:
    """Has the commits of a connection make no checkpoints, which others make then."""
    connection.cursor().execute("PRAGMA wal_autocheckpoint=0")


class _StreamCursor(sqlite3.Cursor):
    """A statement that a thread goes on with for each part of its rows."""

    connection: InlineConnection

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        await_(self.connection.aside(partial(super().execute, sql, parameters)))
        return self

    def fetchone(self) -> Any:
        return await_(self.connection.aside(super().fetchone))

    def fetchmany(self, size: int | None = None) -> list[Any]:
        return await_(self.connection.aside(partial(super().fetchmany, self.arraysize if size is None else size)))

    def fetchall(self) -> list[Any]:
        return await_(self.connection.aside(super().fetchall))


class _ExecutionContext(SQLiteExecutionContext):
    def create_server_side_cursor(self) -> Any:
        return self.root_connection.connection.cursor(_StreamCursor)


class InlineDialect(SQLiteDialect_pysqlite):
    """The standard library's SQLite for SQLAlchemy's asyncio engine."""

    driver = "inline"
    is_async = True
    supports_statement_cache = True
    supports_server_side_cursors = True
    execution_ctx_cls = _ExecutionContext


registry.register("sqlite.inline", __name__, InlineDialect.__name__)
