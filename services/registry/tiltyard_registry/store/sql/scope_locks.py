"""Who may change or pin the files of a scope: one at a time, over all processes, without any transaction.

A store may take minutes to list, complete or delete. Whoever asks it holds the scope meanwhile, and neither a
transaction nor a connection of the pool, so no other writer waits. Locks are taken before a session is opened, never
within one.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from tiltyard.errors import NothingDone
from tiltyard.storage.uninterrupted import uninterrupted
from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.engines import CLOSE_TIMEOUT_S, POSTGRESQL_ARGUMENTS
from tiltyard_registry.store.sql.locked_files import FileLocks
from tiltyard_registry.store.sql.turns import Turn

WAIT_S = 30.0
_LOOK_AGAIN_S = 0.02
_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"


class ScopeLocks:
    """The locks of one process over one database. A process that dies gives them back.

    On SQLite a lock is one of a file beside the database, on PostgreSQL an advisory lock of one connection that all
    of the process's share.
    """

    def __init__(self, url: URL) -> None:
        self._among_processes: _LockedFiles | _AdvisoryLocks
        if url.get_backend_name() == "sqlite":
            self._among_processes = _LockedFiles(Path(f"{url.database}.leases"))
        else:
            self._among_processes = _AdvisoryLocks(url)
        self._turns: dict[str, Turn] = {}

    @asynccontextmanager
    async def alone(self, scope: str, *, wait_s: float = WAIT_S) -> AsyncGenerator[None]:
        """Keeps everybody else out of the scope until it is left.

        Raises:
            NothingDone: others held it for `wait_s` seconds, or the database does not answer.
        """
        turn = self._turns.setdefault(scope, Turn())
        try:
            try:
                await turn.come(wait_s)
            except TimeoutError:
                raise _busy(scope) from None
            try:
                async with self._held(scope, wait_s):
                    yield
            finally:
                turn.leave()
        finally:
            if not turn.wanted:
                del self._turns[scope]

    def is_free(self, scope: str) -> bool:
        """Whether nobody of this process holds the scope or waits for it now."""
        return scope not in self._turns

    @asynccontextmanager
    async def _held(self, scope: str, wait_s: float) -> AsyncGenerator[None]:
        clock = asyncio.get_running_loop().time
        until = clock() + wait_s
        while True:
            async with self._among_processes.tried(scope) as is_held:
                if is_held:
                    yield
                    return
            if clock() > until:
                raise _busy(scope)
            await asyncio.sleep(_LOOK_AGAIN_S * (0.5 + random.random()))  # noqa: S311

    async def close(self) -> None:
        """Gives the connection back, if there is one."""
        await self._among_processes.close()


def _busy(scope: str) -> NothingDone:
    return NothingDone(f"The files at '{scope[:100]}' are being changed. Try again shortly.", retry_after_s=1.0)


class _LockedFiles:
    def __init__(self, folder: Path) -> None:
        self._locks = FileLocks(folder)

    @asynccontextmanager
    async def tried(self, scope: str) -> AsyncGenerator[bool]:
        with self._locks.tried(scope) as is_held:
            yield is_held

    async def close(self) -> None:
        self._locks.close()


class _AdvisoryLocks:
    """Locks of a connection, made when it is first needed and again when it is lost."""

    def __init__(self, url: URL) -> None:
        self._engine = create_async_engine(
            url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=POSTGRESQL_ARGUMENTS
        )
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        # The protocol has one question at a time.
        self._asking = asyncio.Lock()

    @asynccontextmanager
    async def tried(self, scope: str) -> AsyncGenerator[bool]:
        try:
            is_held, driver = await uninterrupted(self._try(scope))
        except asyncio.CancelledError:
            await uninterrupted(self._give_back(scope, self._driver))
            raise
        try:
            yield is_held
        finally:
            if is_held:
                await uninterrupted(self._give_back(scope, driver))

    async def _try(self, scope: str) -> tuple[bool, Any]:
        async with self._asking:
            with unavailable_when_lost():
                if self._driver is None or self._driver.is_closed():
                    await self._forget()
                    self._connection = await self._engine.connect()
                    self._driver = (await self._connection.get_raw_connection()).driver_connection
                try:
                    return bool(await self._driver.fetchval(_TRY_LOCK, scope)), self._driver
                except Exception:
                    # It may have been taken: with its connection it goes, and so do the others.
                    self._driver.terminate()
                    raise

    async def _give_back(self, scope: str, driver: Any) -> None:
        async with self._asking:
            # Of a connection that is lost the server has given them back itself.
            if driver is not None and driver is self._driver and not driver.is_closed():
                try:
                    await driver.fetchval(_UNLOCK, scope)
                except Exception:
                    driver.terminate()

    async def _forget(self) -> None:
        if self._connection is not None:
            with suppress(TimeoutError, DBAPIError, OSError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._connection.close()
        self._connection = self._driver = None

    async def close(self) -> None:
        if self._driver is not None and not self._driver.is_closed():
            self._driver.terminate()
        await self._forget()
        await self._engine.dispose()
