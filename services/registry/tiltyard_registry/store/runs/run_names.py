"""SQLite's index of the trigrams of run names, which is brought up to date some runs at a time."""

from functools import partial
from typing import Any

from sqlalchemy import text

from tiltyard_registry.search.trigrams import is_supported
from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.sqlite import numbered
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection

AT_ONCE = 100
"""So many names are indexed by one transaction, for others wait for it."""

_CREATE = text(
    "CREATE VIRTUAL TABLE IF NOT EXISTS run_name_trigrams "
    "USING fts5(run_name, content='', columnsize=0, detail='none', tokenize='trigram')"
)
_LAG = text(
    "SELECT coalesce((SELECT max(id) FROM runs), 0) > upto OR EXISTS (SELECT 1 FROM run_names_stale) "
    "FROM run_names_indexed"
)
_NEXT = "SELECT max(id) FROM (SELECT id FROM runs WHERE id > (SELECT upto FROM run_names_indexed) ORDER BY id LIMIT ?1)"
_ADD = (
    "INSERT INTO run_name_trigrams (rowid, run_name) SELECT id, run_name FROM runs "
    "WHERE id > (SELECT upto FROM run_names_indexed) AND id <= ?1"
)
_INDEXED = "UPDATE run_names_indexed SET upto = ?1"
# Trigrams of the name before stay: they lead to a run whose name is looked at and does not fit.
_ADD_STALE = (
    "INSERT INTO run_name_trigrams (rowid, run_name) SELECT id, run_name FROM runs "
    "WHERE id IN (SELECT run FROM run_names_stale ORDER BY run LIMIT ?1)"
)
_NOT_STALE = "DELETE FROM run_names_stale WHERE run IN (SELECT run FROM run_names_stale ORDER BY run LIMIT ?1)"


def is_kept(database: Database) -> bool:
    """Whether there is such an index: PostgreSQL has one of its own, and some builds of SQLite have none."""
    return database.is_sqlite and is_supported()


async def create_index(database: Database) -> None:
    """Makes the index where the SQLite that made the database could not."""
    async with database.write() as session:
        await session.execute(_CREATE)


async def lags(database: Database) -> bool:
    """Whether there are names that are not in the index."""
    async with database.read() as session:
        return bool(await session.scalar(_LAG))


async def index_some(database: Database, *, at_once: int = AT_ONCE) -> None:
    """Brings the index forward by `at_once` names; it lags no more when there were fewer.

    In a thread: now and then the index puts its parts together, and nobody knows how long that takes.
    """
    with unavailable_when_lost():
        await database.sqlite(partial(_index_some, numbered(at_once)), is_read=False, is_brief=False)


def _index_some(at_once: dict[str, Any], connection: InlineConnection) -> None:
    with connection.transaction():
        following = numbered(*connection.execute(_NEXT, at_once).fetchone())
        if following["1"] is not None:
            connection.execute(_ADD, following)
            connection.execute(_INDEXED, following)
        connection.execute(_ADD_STALE, at_once)
        connection.execute(_NOT_STALE, at_once)
