"""Waiting for registry state to change, in this process or in any other over the same database.

A notice only wakes: who was woken reads the state again. So notices may be too many, but never too few. Who waits for
certain models is woken by changes of these alone, so a change costs as much as there are waiters whom it concerns:

    seen = changes.seen
    while (state := await read()) == known and clock() < deadline:
        seen = await changes.wait(seen, deadline - clock(), models={"m"})
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection
from typing import Any

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from tiltyard_registry.store.events.outbox import CHANNEL, Concerned, concerned_by, names_of
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.engines import POSTGRESQL_ARGUMENTS, Connections
from tiltyard_registry.store.sql.sqlite import sqlite_engine
from tiltyard_registry.tables.events import events

POLL_S = 0.1
_MOST_EVENTS = 1_000
_RECONNECT_S = 1.0
_KEEP_ALIVE_S = 30.0

_LAST_EVENT = select(func.coalesce(func.max(events.c.id), 0))
_EVENTS_SINCE = (
    select(events.c.id, events.c.registered_model_id, events.c.name, events.c.before, events.c.after)
    .where(events.c.id > bindparam("last"))
    .order_by(events.c.id)
    .limit(_MOST_EVENTS)
)

log = logging.getLogger(__name__)


class Changes:
    """Counts the changes of registry state that this process has heard of."""

    def __init__(self, database: Database, *, most_remembered: int = 10_000) -> None:
        """`most_remembered`: of so many models the last change is known; of others it is assumed that they changed."""
        self._database = database
        self._most_remembered = most_remembered
        self._seen = 0
        # When, by the count, any model and each of the last changed was changed last; others not after `_forgotten`.
        self._any_changed = 0
        self._changed: dict[str, int] = {}
        self._forgotten = 0
        self._everything: set[asyncio.Event] = set()
        self.waiters: dict[str, set[asyncio.Event]] = {}
        """Who waits for each model, by its name; there is no name that nobody waits for."""

        self._waiting = 0
        self._someone_waits = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_heard = self._database.is_sqlite
        """Whether what changes is heard of at once, as it is while the connection that listens is there."""

    @property
    def seen(self) -> int:
        """How many changes were heard of so far. Read it before the state, and wait for more than it."""
        return self._seen

    @property
    def seen_of_all(self) -> int:
        """`seen` at the last change that may concern anything, and not certain models alone."""
        return self._any_changed

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

    def notify(self, models: Concerned = None) -> None:
        """Wakes everyone who waits for one of these models, by the names that they had or have; None is everyone."""
        self._seen += 1
        if models is None:
            self._any_changed = self._seen
            woken = [self._everything, *self.waiters.values()]
        else:
            for name in models:
                # The longest unchanged comes first.
                self._changed.pop(name, None)
                self._changed[name] = self._seen
            while len(self._changed) > self._most_remembered:
                self._forgotten = self._changed.pop(next(iter(self._changed)))
            woken = [self._everything, *(self.waiters[name] for name in models if name in self.waiters)]
        for waiters in woken:
            for waiter in waiters:
                waiter.set()

    async def wait(self, seen: int, timeout_s: float, models: Collection[str] | None = None) -> int:
        """The count as soon as there was a change since `seen`, of one of `models` if given, or after `timeout_s`."""
        if timeout_s > 0 and not self.changed_since(seen, models):
            waiter = asyncio.Event()
            places = [self._everything] if models is None else [self.waiters.setdefault(name, set()) for name in models]
            for place in places:
                place.add(waiter)
            self._waiting += 1
            self._someone_waits.set()
            try:
                async with asyncio.timeout(timeout_s):
                    await waiter.wait()
            except TimeoutError:
                pass
            finally:
                for place in places:
                    place.discard(waiter)
                for name in models or ():
                    if not self.waiters.get(name, True):
                        del self.waiters[name]
                self._waiting -= 1
                if not self._waiting:
                    self._someone_waits.clear()
        return self._seen

    def changed_since(self, seen: int, models: Collection[str] | None) -> bool:
        """Whether any of `models` may have changed since the count was `seen`; None is any model."""
        if models is None:
            return self._seen != seen
        return max(self._any_changed, self._forgotten) > seen or any(
            self._changed.get(name, 0) > seen for name in models
        )

    async def _poll(self) -> None:
        # SQLite tells no one, but counts the commits of others; the count costs no read of the file's pages.
        engine = sqlite_engine(self._database.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        known: int | None = None
        last = 0
        try:
            while True:
                try:
                    async with engine.connect() as connection:
                        while True:
                            version = await connection.scalar(text("PRAGMA data_version"))
                            if known is None:
                                last = await _last_event(connection)
                                # The first count wakes too: what came before it was not heard of.
                                self.notify()
                            elif version != known:
                                last = await self._tell_of_events(connection, last)
                            known = version
                            await self._someone_waits.wait()
                            await asyncio.sleep(POLL_S)
                except Exception:
                    log.warning("cannot watch the database for changes, trying again", exc_info=True)
                    known = None
                    await asyncio.sleep(_RECONNECT_S)
        finally:
            await engine.dispose()

    async def _tell_of_events(self, connection: AsyncConnection, last: int) -> int:
        """Wakes those whom the events behind `last` concern, and gives the last of them."""
        rows = (await connection.execute(_EVENTS_SINCE, {"last": last})).all()
        if rows:
            concerned: set[str] | None = set()
            for row in rows:
                names = names_of(row.registered_model_id, row.name, row.before, row.after)
                concerned = None if names is None or concerned is None else concerned | names
            self.notify(None if len(rows) == _MOST_EVENTS else concerned)
            last = rows[-1].id if len(rows) < _MOST_EVENTS else await _last_event(connection)
        return last

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
                await raw.add_listener(CHANNEL, lambda *notice: self.notify(concerned_by(notice[-1])))
                # What was announced while nobody listened was missed.
                self.notify()
                self.is_heard = True
                while not lost.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_KEEP_ALIVE_S):
                            await lost.wait()
                            break
                    # A connection that died without a word is found by using it.
                    async with asyncio.timeout(_KEEP_ALIVE_S):
                        await raw.execute("SELECT 1")
            finally:
                self.is_heard = False
                # Without a goodbye: the server may be silent, and there is nothing to lose.
                connections.terminate()
                with contextlib.suppress(Exception):
                    await connection.close()
        finally:
            await engine.dispose(close=False)


async def _last_event(connection: AsyncConnection) -> int:
    return int(await connection.scalar(_LAST_EVENT) or 0)
