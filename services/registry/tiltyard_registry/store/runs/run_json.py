"""Runs as JSON text: where it can, the database writes the text and this process passes it on."""

from collections.abc import Sequence
from functools import partial

import msgspec
from sqlalchemy import RowMapping

from tiltyard_registry.store.runs.run_data import (
    DATASET,
    DATASET_TAG,
    INFO,
    MODEL_INPUT,
    MODEL_OUTPUT,
    MOST_AT_ONCE,
    PARAM,
    POINT,
    TAG,
    in_sqlite,
)
from tiltyard_registry.store.sql.json_text import EncodedJson, list_sql, nested_sql, object_sql, select_sql
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection

PART_RUNS = 1000

_TAGS_OF_INPUT = "dataset_input_tags WHERE run = dataset_inputs.run AND dataset_id = dataset_inputs.dataset_id"
_INPUT = nested_sql({"dataset": object_sql(DATASET), "tags": list_sql(object_sql(DATASET_TAG), _TAGS_OF_INPUT, "key")})
_INPUTS = "dataset_inputs JOIN datasets ON datasets.id = dataset_inputs.dataset_id WHERE run = runs.id"

# A look-up per run and kind: what a run has lies together in each table's key, and comes sorted out of it.
RUN = nested_sql(
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
_BY_IDS = select_sql(
    RUN, "unnest($1::bigint[]) WITH ORDINALITY AS page (id, place) JOIN runs USING (id) ORDER BY place"
)


async def runs_part(session: Session, rows: Sequence[RowMapping], next_page_token: str | None) -> EncodedJson:
    """The runs of these rows as the wire shows them, in their order."""
    now, later = rows[:PART_RUNS], rows[PART_RUNS:]
    if session.is_sqlite:
        text = await session.sqlite(partial(_in_sqlite, now), is_brief=len(now) <= MOST_AT_ONCE)
    else:
        ids = [row["id"] for row in now]
        found = await session.ask(lambda connection: connection.fetch(_BY_IDS, ids))
        text = b",".join(run.encode() for (run,) in found)
    if not later:
        return EncodedJson(text, next_page_token=next_page_token)
    return EncodedJson(text, lambda session: runs_part(session, later, next_page_token))


def _in_sqlite(rows: Sequence[RowMapping], connection: InlineConnection) -> bytes:
    # One by one: a call of the encoder holds the interpreter's lock.
    return b",".join(map(msgspec.json.encode, in_sqlite(rows, connection)))
