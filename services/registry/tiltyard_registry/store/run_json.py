"""Runs, and a version, as JSON text: where it can, the database writes the text and this process passes it on."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import RowMapping

from tiltyard_registry.store.availability import unavailable_when_lost
from tiltyard_registry.store.engines import READ_TIMEOUT_S
from tiltyard_registry.store.json_text import list_sql, nested_sql, object_sql, select_sql
from tiltyard_registry.store.parts import Part
from tiltyard_registry.store.run_data import (
    DATASET,
    DATASET_TAG,
    INFO,
    MODEL_INPUT,
    MODEL_OUTPUT,
    PARAM,
    POINT,
    TAG,
    with_data,
)
from tiltyard_registry.store.session import Database, Session

PART_RUNS = 1000

_TAGS_OF_INPUT = "dataset_input_tags WHERE run = dataset_inputs.run AND dataset_id = dataset_inputs.dataset_id"
_INPUT = nested_sql({"dataset": object_sql(DATASET), "tags": list_sql(object_sql(DATASET_TAG), _TAGS_OF_INPUT, "key")})
_INPUTS = "dataset_inputs JOIN datasets ON datasets.id = dataset_inputs.dataset_id WHERE run = runs.id"

# A look-up per run and kind: what a run has lies together in each table's key, and comes sorted out of it.
_RUN = nested_sql(
    {
        "info": object_sql(INFO),
        "data": nested_sql(
            {
                "metrics": list_sql(object_sql(POINT), "latest_metrics WHERE run = runs.id", "key"),
                "params": list_sql(object_sql(PARAM), "params WHERE run = runs.id", "key"),
                "tags": list_sql(object_sql(TAG), "run_tags WHERE run = runs.id", "key"),
            }
        ),
        "inputs": nested_sql(
            {
                "dataset_inputs": list_sql(_INPUT, _INPUTS, "dataset_inputs.position, dataset_id"),
                "model_inputs": list_sql(object_sql(MODEL_INPUT), "model_inputs WHERE run = runs.id", "model_id"),
            }
        ),
        "outputs": nested_sql(
            {
                "model_outputs": list_sql(
                    object_sql(MODEL_OUTPUT), "model_outputs WHERE run = runs.id", "step, model_id"
                ),
            }
        ),
    }
)
_BY_RUN_ID = select_sql(nested_sql({"run": _RUN}), "runs WHERE run_id = $1")
_BY_IDS = select_sql(
    _RUN, "unnest($1::bigint[]) WITH ORDINALITY AS page (id, place) JOIN runs USING (id) ORDER BY place"
)
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


async def run_text(database: Database, run_id: str) -> bytes | None:
    """The reply `{"run": …}`; None when there is no such run.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    async with database.driver() as connection:
        with unavailable_when_lost():
            found: str | None = await connection.fetchval(_BY_RUN_ID, run_id, timeout=READ_TIMEOUT_S)
    return None if found is None else found.encode()


async def runs_part(session: Session, rows: Sequence[RowMapping], next_page_token: str | None) -> Part:
    """The runs of these rows as the wire shows them, in their order."""
    now, later = rows[:PART_RUNS], rows[PART_RUNS:]
    if session.is_sqlite:
        text = msgspec.json.encode(await with_data(session, now))[1:-1]
    else:
        ids = [row["id"] for row in now]
        found = await session.ask(lambda connection: connection.fetch(_BY_IDS, ids))
        text = b",".join(run.encode() for (run,) in found)
    if not later:
        return Part(text, next_page_token=next_page_token)
    return Part(text, lambda session: runs_part(session, later, next_page_token))


async def version_text(database: Database, name: str, alias: str) -> bytes | None:
    """The reply `{"model_version": …}` of the version that an alias names; None when there is none.

    `name` is the model's shown name.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    async with database.driver() as connection:
        with unavailable_when_lost():
            found = await connection.fetchval(_VERSION, name, alias, timeout=READ_TIMEOUT_S)
    return None if found is None else f'{{"model_version":{found}}}'.encode()
