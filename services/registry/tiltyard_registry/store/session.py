"""Sessions: a read sees the database as it is, a write is one transaction.

    async with database.read() as session: ...
    async with database.write() as session: ...     # commits on leaving, rolls back on an exception

A door takes a session and never opens another inside it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Executable, text
from sqlalchemy.engine import URL, CursorResult, RowMapping, make_url
from sqlalchemy.exc import DBAPIError, MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.util import greenlet_spawn

from tiltyard.errors import TemporarilyUnavailable
from tiltyard_registry.rules.quotas import UNLIMITED, Quotas
from tiltyard_registry.store.availability import DiskFull, already_exists, unavailable_when_lost, unknown_when_lost
from tiltyard_registry.store.engines import (
    READ_TIMEOUT_S,
    Connections,
    close,
    configure_sqlite,
    engines,
)
from tiltyard_registry.store.scope_locks import ScopeLocks

__all__ = [
    "Database",
    "Found",
    "Row",
    "Session",
    "already_exists",
    "configure_sqlite",
    "now_ms",
    "unavailable_when_lost",
    "unknown_when_lost",
]

Row = dict[str, Any]
"""A row on its way out: names as the wire has them, plus the lists that hang on it."""

Found = Mapping[Any, Any]
"""A row as a statement gave it, or as much of one as is needed."""

T = TypeVar("T")

_POOL_WAIT_S = 10.0

_PROBE = text("UPDATE experiments SET experiment_id = experiment_id WHERE experiment_id = 0")


def now_ms() -> int:
    """The wall clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Session:
    """One connection, for the length of one request.

    `before_commit` holds what shall run last in the transaction, `after_commit` what shall run once it is
    durable, and never when it is rolled back. `events` are the registry's changes so far, not yet written, and
    `concerned` the models that they are of, by name; None when they may concern any.
    """

    __slots__ = (
        "_limit_s",
        "after_commit",
        "before_commit",
        "concerned",
        "connection",
        "events",
        "is_sqlite",
        "quotas",
        "request_id",
    )

    def __init__(
        self,
        connection: AsyncConnection,
        *,
        request_id: str | None = None,
        quotas: Quotas = UNLIMITED,
        limit_s: float | None = None,
    ) -> None:
        self.connection = connection
        self._limit_s = limit_s
        self.quotas = quotas
        self.is_sqlite = connection.dialect.name == "sqlite"
        self.request_id = request_id
        self.before_commit: list[Callable[[], Awaitable[None]]] = []
        self.after_commit: list[Callable[[], Awaitable[None]]] = []
        self.events: list[dict[str, Any]] = []
        self.concerned: set[str] | None = None

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """The SQL that the connection speaks."""
        return "sqlite" if self.is_sqlite else "postgresql"

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """The buffered result of one statement.

        Raises:
            TemporarilyUnavailable: the database is away, or does not answer in time.
        """
        return await self._asked(self.connection.execute(statement, parameters))

    async def ask(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """What `work` asks of PostgreSQL's own connection; bounds and errors are those of `execute`."""
        return await self._asked(work(await self.driver()))

    async def run_sync(self, work: Callable[[Connection], T]) -> T:
        """What a plain function asks of the connection; bounds and errors are those of `execute`."""
        return await self._asked(self.connection.run_sync(work))

    async def _asked(self, work: Awaitable[T]) -> T:
        try:
            if self._limit_s is None:
                return await work
            async with asyncio.timeout(self._limit_s):
                return await work
        except Exception as error:
            await _abandon(self.connection, error)
            with unavailable_when_lost():
                raise

    async def one(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> RowMapping | None:
        """The first row as a mapping, or None."""
        return (await self.execute(statement, parameters)).mappings().first()

    async def all(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[RowMapping]:
        """Every row as a mapping."""
        return (await self.execute(statement, parameters)).mappings().all()

    async def scalar(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        return (await self.execute(statement, parameters)).scalar()

    async def driver(self) -> Any:
        """PostgreSQL's own connection below the session's, for the few statements where each layer counts."""
        return (await self.connection.get_raw_connection()).driver_connection

    async def lock(self, scope: str) -> None:
        """Holds every other writer of `scope` off until this transaction ends.

        SQLite has one writer at a time already; PostgreSQL takes an advisory lock.
        """
        if not self.is_sqlite:
            await self.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:scope, 0))"), {"scope": scope})


class Database:
    """Two engines over one database: reads that commit nothing, and writes in a transaction.

    On PostgreSQL they share one pool of `max_connections`; who finds it empty waits, then is told to come again.

    Every function in `listeners` is called after a commit that changed registry state, with the names of the models
    concerned; None is any.
    """

    def __init__(self, url: str, *, max_connections: int = 16, quotas: Quotas = UNLIMITED) -> None:
        self.url: URL = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.quotas = quotas
        self.listeners: list[Callable[[set[str] | None], None]] = []
        self.is_full = False
        """Whether the last write found the disk full."""

        self.scopes = ScopeLocks(self.url)
        """Who may change or pin the files of a scope. They are taken before a session is opened."""

        self._connections = Connections()
        self._reads, self._writes = engines(self.url, max_connections, self._connections, _POOL_WAIT_S)

    @asynccontextmanager
    async def read(self, *, request_id: str | None = None) -> AsyncGenerator[Session]:
        """A session for reads only; each statement sees what is committed.

        Raises:
            TemporarilyUnavailable: the database is away, or every connection stayed busy.
        """
        async with _connected(self._reads) as connection:
            yield Session(connection, request_id=request_id, limit_s=None if self.is_sqlite else READ_TIMEOUT_S)

    @asynccontextmanager
    async def write(self, *, request_id: str | None = None) -> AsyncGenerator[Session]:
        """A session in one transaction: committed on leaving, rolled back on an exception.

        Raises:
            TemporarilyUnavailable: the database is away, or every connection stayed busy, or the disk is full.
        """
        try:
            async with _connected(self._writes) as connection:
                with unavailable_when_lost():
                    transaction = await connection.begin()
                session = Session(connection, request_id=request_id, quotas=self.quotas)
                try:
                    yield session
                    with unavailable_when_lost():
                        for callback in session.before_commit:
                            await callback()
                except BaseException:
                    # Of a connection that is lost the server rolls back by itself.
                    with suppress(DBAPIError, OSError):
                        await transaction.rollback()
                    raise
                await self._commit(connection, transaction)
        except DiskFull:
            self.is_full = True
            raise
        self.is_full = False
        if session.events:
            for listener in self.listeners:
                listener(session.concerned)
        for callback in session.after_commit:
            await callback()

    async def _commit(self, connection: AsyncConnection, transaction: AsyncTransaction) -> None:
        try:
            await transaction.commit()
        except Exception as error:
            await _abandon(connection, error)
            with unknown_when_lost():
                raise

    @asynccontextmanager
    async def driver(self) -> AsyncGenerator[Any]:
        """PostgreSQL's own connection, out of the pool of reads: for the few statements where each layer counts.

        Raises:
            TemporarilyUnavailable: the database is away, or every connection stayed busy.
        """
        with unavailable_when_lost():
            pooled = await self._taken()
        try:
            yield pooled.driver_connection
        except BaseException as error:
            # Whatever it was, nobody else shall find a half-read answer on it.
            if isinstance(error, OSError) and pooled.driver_connection is not None:
                pooled.driver_connection.terminate()
            await greenlet_spawn(pooled.invalidate)
            raise
        finally:
            # Nothing is reset on return, so nothing is waited for.
            pooled.close()

    async def _taken(self) -> PoolProxiedConnection:
        pool = self._reads.sync_engine.pool
        if isinstance(pool, QueuePool) and pool.checkedin():
            # One that lies there is taken without a greenlet, which would cost more than most statements.
            with suppress(MissingGreenlet):
                return pool.connect()
        return await self._reads.raw_connection()

    async def ping(self, *, timeout_s: float = 1.5) -> bool:
        """Whether the database answers within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s), self.read() as session:
                await session.scalar(text("SELECT 1"))
        except (TemporarilyUnavailable, TimeoutError):
            return False
        return True

    async def can_write(self) -> bool:
        """Whether the disk has space: known from the last write, and tried again when that found none."""
        if self.is_full:
            with suppress(DiskFull):
                async with self.write() as session:
                    await session.execute(_PROBE)
        return not self.is_full

    @property
    def connections_in_use(self) -> int:
        """How many connections sessions hold now."""
        pools = {engine.pool for engine in (self._reads, self._writes)}
        return sum(pool.checkedout() for pool in pools if isinstance(pool, QueuePool))

    async def close(self) -> None:
        """Gives every connection back, within seconds though the database does not answer."""
        await self.scopes.close()
        for engine in (self._reads, self._writes):
            await close(engine, self._connections)


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    """A connection of the engine's pool, given back on leaving."""
    connection = engine.connect()
    with unavailable_when_lost():
        await connection.start()
    try:
        yield connection
    finally:
        # A caller that is cancelled must not take a connection with it.
        await asyncio.shield(asyncio.ensure_future(_given_back(connection)))


async def _given_back(connection: AsyncConnection) -> None:
    with suppress(DBAPIError, OSError):
        await connection.close()


async def _abandon(connection: AsyncConnection, error: Exception) -> None:
    """Has the pool forget a connection whose server does not answer; nobody waits for a goodbye from it."""
    # Time-outs are errors of the system too.
    if isinstance(error, OSError) and connection.dialect.name != "sqlite":
        with suppress(Exception):
            raw = await connection.get_raw_connection()
            if raw.driver_connection is not None:
                raw.driver_connection.terminate()
            await connection.invalidate()
