"""`python -m tiltyard_registry.store.migrations 'what changes'` drafts the next migration.

It holds what `tables.py` has and the migrations lack, to be read, corrected and committed together with `HEAD`.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from alembic import command
from sqlalchemy import Connection

from tiltyard_registry.store.migrations import HEAD, configuration, upgrade
from tiltyard_registry.store.sql.sqlite import sqlite_engine


async def _draft(database_url: str, message: str) -> None:
    def write(connection: Connection) -> None:
        number = f"{int(HEAD) + 1:04}"
        command.revision(configuration(connection), message, autogenerate=True, rev_id=number)

    engine = sqlite_engine(database_url)
    async with engine.connect() as connection:
        await connection.run_sync(write)
    await engine.dispose()


with tempfile.TemporaryDirectory() as folder:
    url = f"sqlite:///{Path(folder) / 'current.db'}"
    upgrade(url)
    asyncio.run(_draft(url, " ".join(sys.argv[1:])))
