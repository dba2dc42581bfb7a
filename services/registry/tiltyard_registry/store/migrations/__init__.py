"""The schema of the database, brought up to date in one transaction.

`upgrade` may be called by any number of processes at once, and killed at any moment: PostgreSQL serialises the
callers by an advisory lock, SQLite by its write lock, both take DDL back with the transaction, and so the
schema is always one of the old and the new.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.store.sql.sqlite import make_private, registry_engine

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0006"
"""The newest revision; a test holds it equal to the newest file in `versions`."""

_LOCK = 0x7469_6C74_7961_7264  # 'tiltyard'
_REVISION = text("SELECT version_num FROM alembic_version")


def upgrade(database_url: str) -> None:
    """Brings the schema to `HEAD`, from empty in under a second; a current or newer one is left alone.

    Not to be called from within a running event loop.

    Raises:
        TemporarilyUnavailable: the database does not answer.
    """
    asyncio.run(_with_engine(database_url))


async def is_current(session: Session) -> bool:
    """Whether the database of `session` has the schema that this code expects, or a newer one."""
    return await session.run_sync(_is_current)


def configuration(connection: Connection) -> "Config":
    """Alembic's configuration for a command over `connection`, in the transaction that it is in."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


async def _with_engine(database_url: str) -> None:
    engine = _engine(database_url)
    try:
        with unavailable_when_lost():
            async with engine.begin() as connection:
                await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _engine(database_url: str) -> AsyncEngine:
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, poolclass=NullPool)
    if url.database:
        with unavailable_when_lost():
            make_private(url.database)
    return registry_engine(url, begin="BEGIN EXCLUSIVE", poolclass=NullPool)


def _is_current(connection: Connection) -> bool:
    if not inspect(connection).has_table("alembic_version"):
        return False
    # Migrations only add, so this release goes on working over the schema of a newer one.
    return max(connection.scalars(_REVISION).all(), default="") >= HEAD


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    if _is_current(connection):
        return
    # Alembic costs more to import than a current schema costs to recognise.
    from alembic import command

    command.upgrade(configuration(connection), "head")
