"""A run as JSON text, in one statement."""

from tiltyard_registry.rules import access
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.store.runs.run_json import RUN
from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.engines import READ_TIMEOUT_S
from tiltyard_registry.store.sql.json_text import nested_sql, select_sql

_BY_RUN_ID = select_sql(nested_sql({"run": RUN}), "runs WHERE run_id = $1")


async def read_run(database: Database, who: Principal, run_id: str) -> bytes | None:
    """The reply `{"run": …}`; None when there is no such run.

    Raises:
        PermissionDenied: they may not read it.
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    access.require(who, Action.READ, f"run {run_id}")
    async with database.driver() as connection:
        with unavailable_when_lost():
            found: str | None = await connection.fetchval(_BY_RUN_ID, run_id, timeout=READ_TIMEOUT_S)
    return None if found is None else found.encode()
