"""What is read most, as JSON text, each in one statement: a run, and a version by its alias."""

from tiltyard.names import MAX_ALIAS_CHARS, is_latest, parse_model_name
from tiltyard_registry.rules.access import SEE, Principal, Privilege
from tiltyard_registry.store import access
from tiltyard_registry.store.runs.run_json import RUN
from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.engines import READ_TIMEOUT_S
from tiltyard_registry.store.sql.json_text import nested_sql, select_sql
from tiltyard_registry.tables.models import registered_models
from tiltyard_registry.tables.runs import runs

_BY_RUN_ID = select_sql(nested_sql({"run": RUN}), "runs WHERE run_id = $1")
_VERSION = """
SELECT (SELECT json_strip_nulls(row_to_json(shown))::text FROM (SELECT
  registered_models.name, v.version::text AS version, v.creation_timestamp, v.last_updated_timestamp, v.current_stage,
  v.source, v.status,
  coalesce((SELECT json_agg(row_to_json(t)) FROM (
     SELECT key, value FROM model_version_tags
     WHERE registered_model_id = v.registered_model_id AND version = v.version ORDER BY key) AS t), '[]') AS tags,
  coalesce((SELECT json_agg(n.alias ORDER BY n.alias) FROM registered_model_aliases AS n
     WHERE n.registered_model_id = v.registered_model_id AND n.version = v.version), '[]') AS aliases,
  coalesce(v.description, '') AS description, coalesce(v.run_id, '') AS run_id, coalesce(v.run_link, '') AS run_link,
  v.status_message, v.model_id, v.user_id) AS shown)
FROM registered_models
JOIN registered_model_aliases AS a ON a.registered_model_id = registered_models.id
JOIN model_versions AS v ON v.registered_model_id = registered_models.id AND v.version = a.version
WHERE registered_models.name = $1 AND a.alias = $2"""


async def read_run(database: Database, who: Principal, run_id: str) -> bytes | None:
    """The reply `{"run": …}`; None when there is no such run that they may read.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    condition, values = access.visible_sql(who, runs, Privilege.READ, 2)
    async with database.driver() as connection:
        with unavailable_when_lost():
            found: str | None = await connection.fetchval(
                _BY_RUN_ID + condition, run_id, *values, timeout=READ_TIMEOUT_S
            )
    return None if found is None else found.encode()


async def read_version(database: Database, who: Principal, name: str, alias: str) -> bytes | None:
    """The reply `{"model_version": …}` of the version that an alias names; None when there is none that they may see.

    Raises:
        InvalidParameterValue: as `aliases.get_model_version_by_alias`.
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    shown = parse_model_name(name).shown
    condition, values = access.visible_sql(who, registered_models, SEE, 3)
    if is_latest(alias) or len(alias) > MAX_ALIAS_CHARS:
        return None
    async with database.driver() as connection:
        with unavailable_when_lost():
            found = await connection.fetchval(_VERSION + condition, shown, alias, *values, timeout=READ_TIMEOUT_S)
    return None if found is None else f'{{"model_version":{found}}}'.encode()
