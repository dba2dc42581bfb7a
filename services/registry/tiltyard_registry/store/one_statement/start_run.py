"""The start of a run, in one statement."""

from asyncpg.exceptions import PostgresError

from tiltyard.errors import TiltyardError
from tiltyard_registry.rules.runs import NewRun
from tiltyard_registry.store.one_statement.log_batch import OutcomeUnknown
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import unknown_when_lost

# As `rules.experiments.below` for a location that is neither all slashes nor has a query.
_START = """
WITH experiment AS (
  SELECT experiment_id, rtrim(artifact_location, '/') || '/' || $2 || '/artifacts' AS artifact_uri FROM experiments
  WHERE experiment_id = $1 AND lifecycle_stage = 'active'
    AND rtrim(artifact_location, '/') <> '' AND strpos(artifact_location, '?') = 0
), run AS (
  INSERT INTO runs (run_id, experiment_id, run_name, user_id, status, start_time, artifact_uri, lifecycle_stage)
  SELECT $2, experiment_id, $3, $4, 'RUNNING', $5, artifact_uri, 'active' FROM experiment RETURNING id
), tags AS (
  INSERT INTO run_tags (run, key, value) SELECT run.id, new.* FROM run, unnest($6::text[], $7::text[]) AS new
)
SELECT artifact_uri FROM experiment"""


async def start(database: Database, experiment_id: int, run_id: str, new: NewRun) -> str | None:
    """The artifact URI of the run that is started now; None when it is not.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
        OutcomeUnknown: the statement failed so that nobody can say whether the run was started.
    """
    keys, values = zip(*new.tags, strict=True)
    async with database.driver() as connection:
        try:
            with unknown_when_lost():
                uri: str | None = await connection.fetchval(
                    _START, experiment_id, run_id, new.run_name, new.user_id, new.start_time, keys, values
                )
        except (TiltyardError, PostgresError, ValueError):
            # The server, or the driver before it asked, refused the statement: nothing was done.
            raise
        except Exception as error:
            # The run may have been started: nobody shall start another one here.
            raise OutcomeUnknown("Whether the run was started is not known. See the server's log.") from error
    return uri
