"""A piece of work that one process at a time does, over one database. A process that dies gives its lease back."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.engines import CLOSE_TIMEOUT_S, POSTGRESQL_ARGUMENTS, Connections, close
from tiltyard_registry.store.sql.locked_files import FileLocks

_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")


@asynccontextmanager
async def lease(database: Database, name: str) -> AsyncGenerator[bool]:
    """Whether this caller alone holds the lease of that name until it leaves; False when somebody else does.

    It holds no transaction. On PostgreSQL it is a connection of its own, on SQLite a lock by a file beside it.

    Raises:
        TemporarilyUnavailable: the database does not answer.
    """
    if database.is_sqlite:
        # A holder of its own: others of this process are kept out too.
        with closing(FileLocks(Path(f"{database.url.database}.leases"))) as locks, locks.tried(name) as held:
            yield held
        return
    engine = create_async_engine(
        database.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=POSTGRESQL_ARGUMENTS
    )
    connections = Connections()
    connections.watch(engine)
    try:
        with unavailable_when_lost():
            connection = await engine.connect()
            is_held = bool(await connection.scalar(_TRY_LOCK, {"name": name}))
        try:
            yield is_held
        finally:
            # The lock goes with its connection.
            with suppress(TimeoutError, DBAPIError, OSError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await connection.close()
    finally:
        connections.terminate()
        await close(engine, connections)
