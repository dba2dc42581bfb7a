"""A run and a version as their JSON text, in one statement: PostgreSQL writes the text, this process passes it on.

Only what is common is answered here; whatever else there is to say about a request, the doors say it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from tiltyard_registry.rules.metrics import shown
from tiltyard_registry.store.session import Database

# Fields stand in the order of the wire's Structs, so that the text is the same, byte for byte. Metrics come as
# arrays: the two sides do not write every float alike.
_RUN = """
SELECT
  (SELECT json_strip_nulls(row_to_json(info))::text FROM (SELECT
     r.run_id AS run_uuid, r.run_id, r.experiment_id::text AS experiment_id, r.run_name, r.user_id, r.status,
     r.start_time, r.artifact_uri, r.lifecycle_stage, r.end_time) AS info),
  (SELECT string_agg(row_to_json(p)::text, ',') FROM (
     SELECT key, value FROM params WHERE run = r.id ORDER BY key) AS p),
  (SELECT string_agg(row_to_json(t)::text, ',') FROM (
     SELECT key, value FROM run_tags WHERE run = r.id ORDER BY key) AS t),
  m.keys, m.numbers, m.nans, m.times, m.steps
FROM runs AS r CROSS JOIN LATERAL (
  SELECT array_agg(key) AS keys, array_agg(value) AS numbers, array_agg(is_nan) AS nans,
         array_agg(timestamp) AS times, array_agg(step) AS steps
  FROM (SELECT * FROM latest_metrics WHERE run = r.id ORDER BY key) AS latest) AS m
WHERE r.run_id = $1
  AND NOT EXISTS (SELECT FROM dataset_inputs WHERE run = r.id)
  AND NOT EXISTS (SELECT FROM model_inputs WHERE run = r.id)
  AND NOT EXISTS (SELECT FROM model_outputs WHERE run = r.id)
"""

_VERSION = """
SELECT (SELECT json_strip_nulls(row_to_json(shown))::text FROM (SELECT
  m.name, v.version::text AS version, v.creation_timestamp, v.last_updated_timestamp, v.current_stage, v.source,
  v.status,
  coalesce((SELECT json_agg(row_to_json(t)) FROM (
     SELECT key, value FROM model_version_tags
     WHERE registered_model_id = v.registered_model_id AND version = v.version ORDER BY key) AS t), '[]') AS tags,
  coalesce((SELECT json_agg(n.alias ORDER BY n.alias) FROM registered_model_aliases AS n
     WHERE n.registered_model_id = v.registered_model_id AND n.version = v.version), '[]') AS aliases,
  coalesce(v.description, '') AS description, coalesce(v.run_id, '') AS run_id, coalesce(v.run_link, '') AS run_link,
  v.status_message, v.model_id, v.user_id) AS shown)
FROM registered_models AS m
JOIN registered_model_aliases AS a ON a.registered_model_id = m.id
JOIN model_versions AS v ON v.registered_model_id = m.id AND v.version = a.version
WHERE m.name = $1 AND a.alias = $2
"""

_EMPTY_LINKS = (
    '"inputs":{"dataset_inputs":[],"model_inputs":[]},"outputs":{"model_outputs":[]}'  # what has links is not here
)


async def run_text(database: Database, run_id: str) -> bytes | None:
    """The reply `{"run": …}` of a run without inputs and outputs; None when there is no such run.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    async with database.driver() as connection:
        found = await connection.fetchrow(_RUN, run_id)
    if found is None:
        return None
    info, params, tags, *points = found
    metrics = _metrics(points) if points[0] else "[]"
    data = f'"data":{{"metrics":{metrics},"params":[{params or ""}],"tags":[{tags or ""}]}}'
    return f'{{"run":{{"info":{info},{data},{_EMPTY_LINKS}}}}}'.encode()


async def version_text(database: Database, name: str, alias: str) -> bytes | None:
    """The reply `{"model_version": …}` of the version that an alias names; None when there is none.

    `name` is the model's shown name.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    async with database.driver() as connection:
        found = await connection.fetchval(_VERSION, name, alias)
    return None if found is None else f'{{"model_version":{found}}}'.encode()


def _metrics(points: Sequence[Any]) -> str:
    return msgspec.json.encode(
        [
            {"key": key, "value": shown(value, is_nan), "timestamp": timestamp, "step": step}
            for key, value, is_nan, timestamp, step in zip(*points, strict=True)
        ]
    ).decode()
