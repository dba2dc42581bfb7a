"""The start of a run: one statement of PostgreSQL, or one visit to SQLite."""

import uuid
from collections.abc import Sequence
from functools import cache

from asyncpg.exceptions import PostgresError

from tiltyard.errors import InternalError, TiltyardError
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.entries import Entry
from tiltyard_registry.rules.experiments import below, parse_experiment_id
from tiltyard_registry.rules.limits import check_entries
from tiltyard_registry.rules.runs import NewRun, new_run
from tiltyard_registry.store import access
from tiltyard_registry.store.runs.run_data import RunRow
from tiltyard_registry.store.runs.runs import first_row, started
from tiltyard_registry.store.sql.array_text import array_parameter, array_texts
from tiltyard_registry.store.sql.availability import unknown_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import now_ms
from tiltyard_registry.store.sql.sqlite import numbered
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection
from tiltyard_registry.tables.experiments import experiments

# As `rules.experiments.below` for a location that is neither all slashes nor has a query.
_START = """
WITH experiment AS (
  SELECT experiment_id, rtrim(artifact_location, '/') || '/' || $2 || '/artifacts' AS artifact_uri FROM experiments
  WHERE experiment_id = $1 AND lifecycle_stage = 'active'
    AND rtrim(artifact_location, '/') <> '' AND strpos(artifact_location, '?') = 0{allowed}
), run AS (
  INSERT INTO runs (run_id, experiment_id, run_name, user_id, status, start_time, artifact_uri, lifecycle_stage)
  SELECT $2, experiment_id, $3, $4, 'RUNNING', $5, artifact_uri, 'active' FROM experiment RETURNING id
), tags AS (
  INSERT INTO run_tags (run, key, value) SELECT run.id, new.* FROM run, unnest({keys}, {values}) AS new
)
SELECT artifact_uri FROM experiment"""

_EXPERIMENT = "SELECT artifact_location FROM experiments WHERE experiment_id = ?1 AND lifecycle_stage = 'active'"
_COLUMNS = tuple(first_row("", 0, NewRun("", "", 0, []), ""))
_INTO_RUNS = "INSERT INTO runs ({}) VALUES ({})"
_RUN = _INTO_RUNS.format(", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS)))
_TAG = "INSERT INTO run_tags (run, key, value) VALUES (?, ?, ?)"
_MOST_AT_ONCE = 50


class OutcomeUnknown(InternalError):
    """A write failed so that nobody can say whether it was done; it must not be done again."""


async def start_run(
    database: Database,
    who: Principal,
    experiment_id: str,
    *,
    user_id: str = "",
    run_name: str | None = None,
    start_time: int | None = None,
    tags: Sequence[Entry] = (),
) -> RunRow | None:
    """The new run, as `runs.create_run` gives it; None when none is started, and that says why.

    Raises:
        InvalidParameterValue: as `runs.create_run`.
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
        OutcomeUnknown: the statement failed so that nobody can say whether the run was started.
    """
    check_entries(database.quotas, "tags", len(tags))
    new = new_run(user_id, run_name, now_ms() if start_time is None else start_time, tags)
    number, run_id = parse_experiment_id(experiment_id), uuid.uuid4().hex
    start = _start_in_sqlite if database.is_sqlite else _start_in_postgresql
    artifact_uri = await start(database, who, number, run_id, new)
    return None if artifact_uri is None else started(first_row(run_id, number, new, artifact_uri), new)


async def _start_in_sqlite(
    database: Database, who: Principal, experiment_id: int, run_id: str, new: NewRun
) -> str | None:
    allowed, values = access.visible_sql(who, experiments, Privilege.EDIT, 2, is_sqlite=True)

    def start(connection: InlineConnection) -> str | None:
        with connection.transaction():
            location = connection.execute(_EXPERIMENT + allowed, numbered(experiment_id, *values)).fetchone()
            if location is None:
                return None
            uri = below(*location, run_id, "artifacts")
            row = first_row(run_id, experiment_id, new, uri)
            run = connection.execute(_RUN, list(row.values())).lastrowid
            connection.executemany(_TAG, [(run, *tag) for tag in new.tags])
        return uri

    return await database.sqlite(start, is_read=False, is_brief=len(new.tags) <= _MOST_AT_ONCE)


async def _start_in_postgresql(
    database: Database, who: Principal, experiment_id: int, run_id: str, new: NewRun
) -> str | None:
    allowed, values = access.visible_sql(who, experiments, Privilege.EDIT, 8, is_sqlite=False)
    tags = array_texts(("text", "text"), new.tags)
    asked = (experiment_id, run_id, new.run_name, new.user_id, new.start_time, *tags, *values)
    async with database.driver() as connection:
        try:
            with unknown_when_lost():
                uri: str | None = await connection.fetchval(_statement(allowed), *asked)
        except (TiltyardError, PostgresError, ValueError):
            # The server, or the driver before it asked, refused the statement: nothing was done.
            raise
        except Exception as error:
            # The run may have been started: nobody shall start another one here.
            raise OutcomeUnknown("Whether the run was started is not known. See the server's log.") from error
    return uri


@cache
def _statement(allowed: str) -> str:
    return _START.format(allowed=allowed, keys=array_parameter(6, "text"), values=array_parameter(7, "text"))
