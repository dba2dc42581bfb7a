"""Sessions: a read sees the database as it is, a write is one transaction.

    async with database.read() as session: ...
    async with database.write() as session: ...     # commits on leaving, rolls back on an exception

A door takes a session and never opens another inside it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Literal

from sqlalchemy import Executable, event, text
from sqlalchemy.engine import URL, CursorResult, RowMapping, make_url
from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    MissingGreenlet,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.util import greenlet_spawn

from tiltyard.errors import ResourceAlreadyExists, TemporarilyUnavailable
from tiltyard_registry.rules.quotas import UNLIMITED, Quotas

Row = dict[str, Any]
"""A row on its way out: names as the wire has them, plus the lists that hang on it."""

Found = Mapping[Any, Any]
"""A row as a statement gave it, or as much of one as is needed."""

_SQLITE_BUSY_TIMEOUT_MS = 30_000
_POOL_WAIT_S = 10
_CONNECT_TIMEOUT_S = 5
# A server that stopped answering without closing the connection is given up after this.
_COMMAND_TIMEOUT_S = 60
_RETRY_AFTER_S = 1.0
# Of PostgreSQL: lost connection, deadlock or failed serialization, out of resources, shut down or starting.
_PASSING_STATES = ("08", "40", "53", "57")


def now_ms() -> int:
    """The wall clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Session:
    """One connection, for the length of one request.

    `before_commit` holds what shall run last in the transaction, `after_commit` what shall run once it is
    durable, and never when it is rolled back. `events` are the registry's changes so far, not yet written.
    """

    __slots__ = ("after_commit", "before_commit", "connection", "events", "is_sqlite", "quotas", "request_id")

    def __init__(
        self, connection: AsyncConnection, *, request_id: str | None = None, quotas: Quotas = UNLIMITED
    ) -> None:
        self.connection = connection
        self.quotas = quotas
        self.is_sqlite = connection.dialect.name == "sqlite"
        self.request_id = request_id
        self.before_commit: list[Callable[[], Awaitable[None]]] = []
        self.after_commit: list[Callable[[], Awaitable[None]]] = []
        self.events: list[dict[str, Any]] = []

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """The SQL that the connection speaks."""
        return "sqlite" if self.is_sqlite else "postgresql"

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """The buffered result of one statement."""
        return await self.connection.execute(statement, parameters)

    async def one(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> RowMapping | None:
        """The first row as a mapping, or None."""
        return (await self.connection.execute(statement, parameters)).mappings().first()

    async def all(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[RowMapping]:
        """Every row as a mapping."""
        return (await self.connection.execute(statement, parameters)).mappings().all()

    async def scalar(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        return await self.connection.scalar(statement, parameters)

    async def driver(self) -> Any:
        """PostgreSQL's own connection below the session's, for the few statements where each layer counts."""
        return (await self.connection.get_raw_connection()).driver_connection

    async def lock(self, scope: str) -> None:
        """Holds every other writer of `scope` off until this transaction ends.

        SQLite has one writer at a time already; PostgreSQL takes an advisory lock.
        """
        if not self.is_sqlite:
            await self.connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:scope, 0))"), {"scope": scope}
            )


class Database:
    """Two engines over one database: reads that commit nothing, and writes in a transaction.

    On PostgreSQL they share one pool of `max_connections`; who finds it empty waits, then is told to come again.

    Every function in `listeners` is called after a commit that changed registry state.
    """

    def __init__(self, url: str, *, max_connections: int = 16, quotas: Quotas = UNLIMITED) -> None:
        self.url: URL = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.quotas = quotas
        self.listeners: list[Callable[[], None]] = []
        self._reads, self._writes = _engines(self.url, max_connections)

    @asynccontextmanager
    async def read(self, *, request_id: str | None = None) -> AsyncGenerator[Session]:
        """A session for reads only; each statement sees what is committed."""
        with unavailable_when_lost():
            async with self._reads.connect() as connection:
                yield Session(connection, request_id=request_id)

    @asynccontextmanager
    async def write(self, *, request_id: str | None = None) -> AsyncGenerator[Session]:
        """A session in one transaction: committed on leaving, rolled back on an exception.

        Raises:
            TemporarilyUnavailable: the database is away, or every connection stayed busy.
        """
        with unavailable_when_lost():
            async with self._writes.begin() as connection:
                session = Session(connection, request_id=request_id, quotas=self.quotas)
                yield session
                for callback in session.before_commit:
                    await callback()
        if session.events:
            for listener in self.listeners:
                listener()
        for callback in session.after_commit:
            await callback()

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
        except BaseException:
            # Whatever it was, nobody else shall find a half-read answer on it.
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

    @property
    def connections_in_use(self) -> int:
        """How many connections sessions hold now."""
        pools = {engine.pool for engine in (self._reads, self._writes)}
        return sum(pool.checkedout() for pool in pools if isinstance(pool, QueuePool))

    async def close(self) -> None:
        """Gives every connection back."""
        await self._reads.dispose()
        await self._writes.dispose()


@contextmanager
def already_exists(message: str) -> Iterator[None]:
    """Turns a name that somebody has, or takes at this moment, into `ResourceAlreadyExists`.

    The transaction cannot go on after it.
    """
    try:
        yield
    except IntegrityError:
        raise ResourceAlreadyExists(message) from None


class unavailable_when_lost:
    """Turns a lost database or an exhausted pool into `TemporarilyUnavailable`; other errors pass."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and _is_lost(error):
            raise TemporarilyUnavailable(
                "The registry's database does not answer. Try again shortly.", retry_after_s=_RETRY_AFTER_S
            ) from error


def _is_lost(error: BaseException) -> bool:
    cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else None
    if isinstance(cause, ValueError):
        # The driver refused a value before it asked the server: our mistake, whatever class it gives it.
        return False
    if isinstance(error, PoolTimeoutError | DisconnectionError | InterfaceError | OperationalError | OSError):
        return True
    refused = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(refused, "sqlstate", None) or "")
    return state[:2] in _PASSING_STATES or (isinstance(error, DBAPIError) and error.connection_invalidated)


def _engines(url: URL, max_connections: int) -> tuple[AsyncEngine, AsyncEngine]:
    if url.get_backend_name() == "sqlite":
        reads = create_async_engine(
            url, isolation_level="AUTOCOMMIT", pool_size=4, max_overflow=0, pool_timeout=_POOL_WAIT_S
        )
        # One writer a process: they queue in the pool in order of arrival, and not in SQLite's busy loop.
        writes = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=_SQLITE_BUSY_TIMEOUT_MS / 1000)
        event.listen(reads.sync_engine, "connect", configure_sqlite)
        event.listen(writes.sync_engine, "connect", configure_sqlite)
        event.listen(writes.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        return reads, writes
    arguments = {
        "timeout": _CONNECT_TIMEOUT_S,
        "command_timeout": _COMMAND_TIMEOUT_S,
        # Statements here are short: to compile one, or to start processes for it, takes longer than to run it.
        "server_settings": {
            "application_name": "tiltyard-registry",
            "jit": "off",
            "max_parallel_workers_per_gather": "0",
        },
    }
    # One pool for both. Reads in AUTOCOMMIT without a reset on return take half the round trips of a default
    # checkout, and a write ends its transaction before it gives its connection back.
    writes = create_async_engine(
        url,
        pool_reset_on_return=None,
        pool_size=max_connections,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_S,
        connect_args=arguments,
    )
    return writes.execution_options(isolation_level="AUTOCOMMIT"), writes


def configure_sqlite(connection: Any, _record: object) -> None:
    """Sets a new SQLite connection up: write-ahead log, foreign keys, patience, and transactions left to us."""
    # Left alone, the driver would open a deferred transaction of its own before the first write.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_SQLITE_BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
