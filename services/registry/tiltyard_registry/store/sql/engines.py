"""The engines of a database: how its connections are made, how long they may take, and how they end."""

import asyncio
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError, MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool
from sqlalchemy.util.concurrency import in_greenlet

from tiltyard_registry.store.sql.sqlite import registry_engine, without_checkpoints
from tiltyard_registry.store.sql.turns import LimitedTurn

READ_TIMEOUT_S = 10.0
"""A read of a server that stopped answering without closing the connection is given up after this."""

WRITE_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 2.0
# Threads that read many rows want the interpreter's lock for each of them, and so does the event loop: of two at once
# neither is faster, and the loop waits three times as long. One that takes longer than this holds up no other.
_THREAD_TURN_S = 0.1
_CONNECT_TIMEOUT_S = 5

POSTGRESQL_ARGUMENTS: dict[str, Any] = {
    "timeout": _CONNECT_TIMEOUT_S,
    "command_timeout": WRITE_TIMEOUT_S,
    # Statements here are short: to compile one, or to start processes for it, takes longer than to run it.
    "server_settings": {
        "application_name": "tiltyard-registry",
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
    },
}


class Connections:
    """The driver's connections to PostgreSQL that are open, for who must end them without asking the server."""

    def __init__(self) -> None:
        self._open: WeakSet[Any] = WeakSet()

    def watch(self, engine: AsyncEngine) -> None:
        """Knows every connection that the engine will make."""
        event.listen(engine.sync_engine, "connect", lambda adapted, _: self._open.add(adapted.driver_connection))

    def terminate(self) -> None:
        """Ends all of them at once, whether or not anybody answers."""
        for connection in list(self._open):
            connection.terminate()


class AtHand:
    """Connections that stay out of their pool between two statements of the driver's own.

    To take one from the pool and to give it back costs more than many a statement. Whoever opens a session asks for
    them back first, and where the pool is empty none is kept, so nobody waits for a connection that only lies here.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.sync_engine
        self._kept: list[PoolProxiedConnection] = []

    def take(self) -> PoolProxiedConnection | None:
        """One that is open, if there is any."""
        while self._kept:
            pooled = self._kept.pop()
            driver: Any = pooled.driver_connection
            if driver is not None and not driver.is_closed():
                return pooled
            pooled.close()
        return None

    def keep(self, pooled: PoolProxiedConnection) -> None:
        """Keeps a connection that was taken, or gives it back to the pool where somebody may be waiting for it."""
        pool = self._engine.pool
        if isinstance(pool, QueuePool) and pool.checkedout() < pool.size():
            self._kept.append(pooled)
        else:
            pooled.close()

    def give_back(self) -> None:
        """Gives all of them back to the pool."""
        while self._kept:
            self._kept.pop().close()

    def __len__(self) -> int:
        return len(self._kept)


def engines(
    url: URL, max_connections: int, connections: Connections, pool_wait_s: float
) -> tuple[AsyncEngine, AsyncEngine]:
    """The engine of reads, in AUTOCOMMIT, and that of writes; who finds no connection waits for so long."""
    if url.get_backend_name() == "sqlite":
        reads = registry_engine(
            url, isolation_level="AUTOCOMMIT", pool_size=4, max_overflow=0, pool_timeout=pool_wait_s
        )
        turns = LimitedTurn(_THREAD_TURN_S)
        event.listen(reads.sync_engine, "connect", lambda connection, _: setattr(connection, "turns", turns))
        # One writer a process, who comes when it is their turn.
        writes = registry_engine(url, begin="BEGIN IMMEDIATE", pool_size=1, max_overflow=0)
        event.listen(writes.sync_engine, "connect", without_checkpoints)
        return reads, writes
    # One pool for both. Reads in AUTOCOMMIT without a reset on return take half the round trips of a default
    # checkout, and a write ends its transaction before it gives its connection back.
    writes = create_async_engine(
        url,
        pool_reset_on_return=None,
        pool_size=max_connections,
        max_overflow=0,
        pool_timeout=pool_wait_s,
        connect_args=POSTGRESQL_ARGUMENTS,
    )
    connections.watch(writes)
    event.listen(writes.sync_engine, "checkout", _refuse_closed)
    return writes.execution_options(isolation_level="AUTOCOMMIT"), writes


def _refuse_closed(_adapted: object, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Has the pool connect anew in the place of a connection that its server has closed, and nobody has asked of."""
    driver: Any = record.driver_connection
    if driver is None or driver.is_closed():
        # Without a greenlet the pool cannot connect; the connection goes all the same, and the next try can.
        raise (DisconnectionError if in_greenlet() else MissingGreenlet)("The server has closed this connection.")


async def close(engine: AsyncEngine, connections: Connections) -> None:
    """Gives an engine's connections back; those of a server that does not answer are ended without it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await engine.dispose()
            return
    connections.terminate()
    await engine.dispose(close=False)


async def abandon(connection: AsyncConnection, error: Exception) -> None:
    """Has the pool forget a connection whose server does not answer; nobody waits for a goodbye from it."""
    # Time-outs are errors of the system too.
    if isinstance(error, OSError) and connection.dialect.name != "sqlite":
        with suppress(Exception):
            raw = await connection.get_raw_connection()
            if raw.driver_connection is not None:
                raw.driver_connection.terminate()
            await connection.invalidate()
