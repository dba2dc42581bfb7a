"""A run as JSON text: one statement of PostgreSQL, or one visit to SQLite."""

from functools import partial

import msgspec

from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.store import access
from tiltyard_registry.store.runs.run_data import shown_run
from tiltyard_registry.store.runs.run_json import RUN
from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.engines import READ_TIMEOUT_S
from tiltyard_registry.store.sql.json_text import nested_sql, select_sql
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection
from tiltyard_registry.tables.runs import runs

_BY_RUN_ID = select_sql(nested_sql({"run": RUN}), "runs WHERE run_id = $1")
_ROW = select_sql(", ".join(column.name for column in runs.c), "runs WHERE run_id = ?1")


async def read_run(database: Database, who: Principal, run_id: str) -> bytes | None:
    """The reply `{"run": …}`; None when there is no such run that they may read.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    condition, values = access.visible_sql(who, runs, Privilege.READ, 2, is_sqlite=database.is_sqlite)
    if database.is_sqlite:
        return await database.sqlite(partial(_read, _ROW + condition, [run_id, *values]), is_read=True)
    async with database.driver() as connection:
        with unavailable_when_lost():
            found: str | None = await connection.fetchval(
                _BY_RUN_ID + condition, run_id, *values, timeout=READ_TIMEOUT_S
            )
    return None if found is None else found.encode()


def _read(statement: str, values: list[object], connection: InlineConnection) -> bytes | None:
    with connection.transaction("BEGIN"):
        row = connection.execute(statement, values).fetchone()
        if row is None:
            return None
        run = shown_run(dict(zip(runs.c.keys(), row, strict=True)), connection.execute)
    return msgspec.json.encode({"run": run})
