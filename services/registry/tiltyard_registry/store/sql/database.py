"""A database: its connections, its reads and its transactions."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.util import greenlet_spawn

from tiltyard.errors import TemporarilyUnavailable
from tiltyard_registry.rules.limits import UNLIMITED, Quotas
from tiltyard_registry.store.sql.availability import DiskFull, unavailable_when_lost, unknown_when_lost
from tiltyard_registry.store.sql.checkpoints import Checkpoints
from tiltyard_registry.store.sql.engines import READ_TIMEOUT_S, AtHand, Connections, abandon, close, engines
from tiltyard_registry.store.sql.scope_locks import ScopeLocks
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.store.sql.sqlite import connected
from tiltyard_registry.store.sql.sqlite_connection import BUSY_TIMEOUT_MS, InlineConnection, NotAtOnce
from tiltyard_registry.store.sql.turns import Turn

T = TypeVar("T")

POOL_WAIT_S = 10.0

_LEAST_FREE_BYTES = 1024 * 1024
_PROBE = text("UPDATE experiments SET experiment_id = experiment_id WHERE experiment_id = 0")


class Database:
    """Two engines over one database: reads that commit nothing, and writes in a transaction.

    On PostgreSQL they share one pool of `max_connections`; who finds it empty waits for `pool_wait_s`, then is told to
    come again.

    Every function in `listeners` is called after a commit that changed registry state, with the names of the models
    concerned; None is any.
    """

    def __init__(
        self, url: str, *, max_connections: int = 16, quotas: Quotas = UNLIMITED, pool_wait_s: float = POOL_WAIT_S
    ) -> None:
        self.url: URL = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.quotas = quotas
        self.listeners: list[Callable[[set[str] | None], None]] = []
        self.is_full = False
        """Whether the last write found the disk full."""

        self.scopes = ScopeLocks(self.url)
        """Who may change or pin the files of a scope. They are taken before a session is opened."""

        self._writing = Turn() if self.is_sqlite else None
        self._checkpoints = Checkpoints(str(self.url.database), self._writing) if self._writing else None
        self._here: InlineConnection | None = None
        self._connections = Connections()
        self._reads, self._writes = engines(self.url, max_connections, self._connections, pool_wait_s)
        self._at_hand = AtHand(self._reads)

    @asynccontextmanager
    async def read(self, *, request_id: str | None = None) -> AsyncGenerator[Session]:
        """A session for reads only; each statement sees what is committed.

        Raises:
            TemporarilyUnavailable: the database is away, or every connection stayed busy.
        """
        self._at_hand.give_back()
        async with _connected(self._reads) as connection:
            yield Session(connection, request_id=request_id, limit_s=None if self.is_sqlite else READ_TIMEOUT_S)

    @asynccontextmanager
    async def write(self, *, request_id: str | None = None) -> AsyncGenerator[Session]:
        """A session in one transaction: committed on leaving, rolled back on an exception.

        Raises:
            TemporarilyUnavailable: the database is away, or every connection stayed busy, or the disk is full.
        """
        self._at_hand.give_back()
        try:
            async with self._turn(), _connected(self._writes) as connection:
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
            await abandon(connection, error)
            with unknown_when_lost():
                raise
        self._committed()

    async def sqlite(self, work: Callable[[InlineConnection], T], *, is_read: bool, is_brief: bool = True) -> T:
        """What `work` does on a connection to SQLite: on the event loop if it is brief, else in a thread, in one go.

        Raises:
            TemporarilyUnavailable: every connection stayed busy.
            sqlite3.Error: as `work`, which then has changed nothing; or the database was locked for too long.
        """
        if is_brief and (is_read or self._is_writers_turn):
            with suppress(NotAtOnce):
                return self._at_once(work, is_read=is_read)
        if is_read:
            return await _aside(self._reads, work)
        async with self._turn():
            # Whoever wrote meanwhile is done.
            if is_brief:
                with suppress(NotAtOnce):
                    return self._at_once(work, is_read=False)
            given = await _aside(self._writes, work)
            self._committed()
            return given

    def _at_once(self, work: Callable[[InlineConnection], T], *, is_read: bool) -> T:
        if self._here is None:
            self._here = connected(str(self.url.database))
        given = self._here.at_once(work, is_read=is_read)
        if not is_read:
            self._committed()
        return given

    @property
    def _is_writers_turn(self) -> bool:
        return self._writing is not None and self._writing.is_free

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """SQLite has one writer at a time: those of this process wait for each other, and not for its lock.

        They wait on the event loop. For its lock they would have to in threads, each of which takes ten times as long.
        """
        if self._writing is None:
            yield
            return
        with unavailable_when_lost():
            await self._writing.come(BUSY_TIMEOUT_MS / 1000)
        try:
            yield
        finally:
            self._writing.leave()

    def _committed(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.committed()

    @asynccontextmanager
    async def driver(self) -> AsyncGenerator[Any]:
        """PostgreSQL's own connection, out of the pool of reads: for the few statements where each layer counts.

        Raises:
            TemporarilyUnavailable: the database is away, or every connection stayed busy.
        """
        with unavailable_when_lost():
            pooled = self._at_hand.take() or await self._taken()
        try:
            yield pooled.driver_connection
        except BaseException as error:
            # Whatever it was, nobody else shall find a half-read answer on it.
            if isinstance(error, OSError) and pooled.driver_connection is not None:
                pooled.driver_connection.terminate()
            try:
                await greenlet_spawn(pooled.invalidate)
            finally:
                pooled.close()
            raise
        # Nothing is reset on return, so nothing is waited for.
        self._at_hand.keep(pooled)

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
            async with asyncio.timeout(timeout_s):
                if self.is_sqlite:
                    with unavailable_when_lost():
                        await self.sqlite(lambda connection: connection.execute("SELECT 1"), is_read=True)
                    return True
                async with self.read() as session:
                    await session.scalar(text("SELECT 1"))
        except (TemporarilyUnavailable, TimeoutError):
            return False
        return True

    async def can_write(self) -> bool:
        """Whether the disk has space: known from the last write, and tried again when that found none."""
        # Of SQLite a small write may find room in a log that is there, and no other would.
        if self.is_full and not (self.is_sqlite and await asyncio.to_thread(_is_short_of_space, self.url)):
            with suppress(DiskFull):
                async with self.write() as session:
                    await session.execute(_PROBE)
        return not self.is_full

    @property
    def connections_in_use(self) -> int:
        """How many connections are at work now."""
        pools = {engine.pool for engine in (self._reads, self._writes)}
        return sum([pool.checkedout() for pool in pools if isinstance(pool, QueuePool)]) - len(self._at_hand)

    async def close(self) -> None:
        """Gives every connection back, within seconds though the database does not answer."""
        await self.scopes.close()
        if self._checkpoints is not None:
            await self._checkpoints.close()
        if self._here is not None:
            self._here.close()
        self._at_hand.give_back()
        for engine in (self._reads, self._writes):
            await close(engine, self._connections)


def _is_short_of_space(url: URL) -> bool:
    return shutil.disk_usage(Path(str(url.database)).parent).free < _LEAST_FREE_BYTES


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    """A connection of the engine's pool, given back on leaving."""
    connection = engine.connect()
    with unavailable_when_lost():
        await connection.start()
    try:
        yield connection
    finally:
        # What is whole goes back without a wait. Of the rest, a caller who is cancelled takes nothing along.
        closing = _given_back(connection)
        await (asyncio.shield(asyncio.ensure_future(closing)) if connection.invalidated else closing)


async def _aside(engine: AsyncEngine, work: Callable[[InlineConnection], T]) -> T:
    """What `work` does in a thread, on a connection of the engine's pool."""
    async with _connected(engine) as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        return cast(T, await driver.aside(partial(work, driver)))


async def _given_back(connection: AsyncConnection) -> None:
    with suppress(DBAPIError, OSError):
        await connection.close()
