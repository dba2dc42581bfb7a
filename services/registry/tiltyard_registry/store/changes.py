"""Waiting for registry state to change, in this process or in any other over the same database.

A notice only wakes: who was woken reads the state again. So notices may be too many, but never too few:

    seen = changes.seen
    while (state := await read()) == known and clock() < deadline:
        seen = await changes.wait(seen, deadline - clock())
"""

import asyncio
import contextlib
import logging
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tiltyard_registry.store.engines import POSTGRESQL_ARGUMENTS, Connections
from tiltyard_registry.store.events import CHANNEL
from tiltyard_registry.store.session import Database

POLL_S = 0.1
_RECONNECT_S = 1.0
_KEEP_ALIVE_S = 30.0

log = logging.getLogger(__name__)


class Changes:
    """Counts the changes of registry state that this process has heard of."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen = 0
        self._changed = asyncio.Event()
        self._waiting = 0
        self._someone_waits = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def seen(self) -> int:
        """How many changes were heard of so far. Read it before the state, and wait for more than it."""
        return self._seen

    async def start(self) -> None:
        """Begins to listen."""
        self._database.listeners.append(self.notify)
        self._task = asyncio.create_task(self._poll() if self._database.is_sqlite else self._listen())

    async def stop(self) -> None:
        """Stops listening and wakes everyone who waits."""
        with contextlib.suppress(ValueError):
            self._database.listeners.remove(self.notify)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.notify()

    def notify(self) -> None:
        """Wakes everyone who waits."""
        self._seen += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self, seen: int, timeout_s: float) -> int:
        """The count as soon as it differs from `seen`, or after `timeout_s`."""
        if self._seen == seen and timeout_s > 0:
            self._waiting += 1
            self._someone_waits.set()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                pass
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._someone_waits.clear()
        return self._seen

    async def _poll(self) -> None:
        # SQLite tells no one, but counts the commits of others; the count costs no read of the file's pages.
        engine = create_async_engine(self._database.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        known: int | None = None
        try:
            while True:
                try:
                    async with engine.connect() as connection:
                        while True:
                            version = await connection.scalar(text("PRAGMA data_version"))
                            # The first count wakes too: what came before it was not heard of.
                            if version != known:
                                self.notify()
                            known = version
                            await self._someone_waits.wait()
                            await asyncio.sleep(POLL_S)
                except Exception:
                    log.warning("cannot watch the database for changes, trying again", exc_info=True)
                    known = None
                    await asyncio.sleep(_RECONNECT_S)
        finally:
            await engine.dispose()

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except Exception as error:
                log.warning("lost the connection that listens for changes (%s), connecting again", type(error).__name__)
            await asyncio.sleep(_RECONNECT_S)

    async def _listen_once(self) -> None:
        engine = create_async_engine(
            self._database.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=POSTGRESQL_ARGUMENTS
        )
        connections, lost = Connections(), asyncio.Event()
        connections.watch(engine)
        try:
            connection = engine.connect()
            await connection.start()
            try:
                raw: Any = (await connection.get_raw_connection()).driver_connection
                raw.add_termination_listener(lambda _connection: lost.set())
                await raw.add_listener(CHANNEL, lambda *_: self.notify())
                # What was announced while nobody listened was missed.
                self.notify()
                while not lost.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_KEEP_ALIVE_S):
                            await lost.wait()
                            break
                    # A connection that died without a word is found by using it.
                    async with asyncio.timeout(_KEEP_ALIVE_S):
                        await raw.execute("SELECT 1")
            finally:
                # Without a goodbye: the server may be silent, and there is nothing to lose.
                connections.terminate()
                with contextlib.suppress(Exception):
                    await connection.close()
        finally:
            await engine.dispose(close=False)
