"""SQLite's index of the trigrams of run names, which is brought up to date some runs at a time."""

from sqlalchemy import text

from tiltyard_registry.search.trigrams import is_supported
from tiltyard_registry.store.sql.database import Database

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
_NEXT = text(
    "SELECT max(id) FROM (SELECT id FROM runs WHERE id > (SELECT upto FROM run_names_indexed) ORDER BY id LIMIT :count)"
)
_ADD = text(
    "INSERT INTO run_name_trigrams (rowid, run_name) SELECT id, run_name FROM runs "
    "WHERE id > (SELECT upto FROM run_names_indexed) AND id <= :next"
)
_INDEXED = text("UPDATE run_names_indexed SET upto = :next")
# Trigrams of the name before stay: they lead to a run whose name is looked at and does not fit.
_ADD_STALE = text(
    "INSERT INTO run_name_trigrams (rowid, run_name) SELECT id, run_name FROM runs "
    "WHERE id IN (SELECT run FROM run_names_stale ORDER BY run LIMIT :count)"
)
_NOT_STALE = text(
    "DELETE FROM run_names_stale WHERE run IN (SELECT run FROM run_names_stale ORDER BY run LIMIT :count)"
)


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


async def index_some(database: Database) -> None:
    """Brings the index forward by so many names; it lags no more when there were fewer."""
    async with database.write() as session:
        following = await session.scalar(_NEXT, {"count": AT_ONCE})
        if following is not None:
            await session.execute(_ADD, {"next": following})
            await session.execute(_INDEXED, {"next": following})
        await session.execute(_ADD_STALE, {"count": AT_ONCE})
        await session.execute(_NOT_STALE, {"count": AT_ONCE})
