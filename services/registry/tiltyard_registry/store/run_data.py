"""What hangs on runs: metrics, params, tags, inputs and outputs, one statement per kind for a whole page."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, and_, literal, null, select, union_all

from tiltyard_registry.rules.metrics import shown
from tiltyard_registry.store import rowsets
from tiltyard_registry.store.session import Row, Session
from tiltyard_registry.tables import (
    dataset_input_tags,
    dataset_inputs,
    datasets,
    latest_metrics,
    model_inputs,
    model_outputs,
    params,
    run_tags,
)


def run_info(row: Mapping[str, Any] | RowMapping) -> Row:
    """The run's own row as the wire shows it."""
    return {
        "run_uuid": row["run_id"],
        "run_id": row["run_id"],
        "experiment_id": str(row["experiment_id"]),
        "run_name": row["run_name"],
        "user_id": row["user_id"],
        "status": row["status"],
        "start_time": row["start_time"],
        "end_time": row["end_time"],
        "artifact_uri": row["artifact_uri"],
        "lifecycle_stage": row["lifecycle_stage"],
    }


async def with_data(session: Session, rows: Sequence[RowMapping]) -> list[Row]:
    """The runs as the wire shows them: `{info, data, inputs, outputs}`, in the order of `rows`."""
    runs = {row["id"]: _empty(row) for row in rows}
    if runs:
        await _read_metrics(session, runs)
        await _read_entries(session, runs, params, "params")
        await _read_entries(session, runs, run_tags, "tags")
        await _read_datasets(session, runs)
        await _read_models(session, runs)
    return list(runs.values())


def _empty(row: RowMapping) -> Row:
    return {
        "info": run_info(row),
        "data": {"metrics": [], "params": [], "tags": []},
        "inputs": {"dataset_inputs": [], "model_inputs": []},
        "outputs": {"model_outputs": []},
    }


async def _read_metrics(session: Session, runs: Mapping[int, Row]) -> None:
    table = latest_metrics.c
    statement = (
        select(table.run, table.key, table.value, table.is_nan, table.timestamp, table.step)
        .where(rowsets.among(session, table.run, list(runs)))
        .order_by(table.run, table.key)
    )
    for run, key, value, is_nan, timestamp, step in await session.execute(statement):
        runs[run]["data"]["metrics"].append(
            {"key": key, "value": shown(value, is_nan), "timestamp": timestamp, "step": step}
        )


async def _read_entries(session: Session, runs: Mapping[int, Row], table: Any, kind: str) -> None:
    statement = (
        select(table.c.run, table.c.key, table.c.value)
        .where(rowsets.among(session, table.c.run, list(runs)))
        .order_by(table.c.run, table.c.key)
    )
    for run, key, value in await session.execute(statement):
        runs[run]["data"][kind].append({"key": key, "value": value})


async def _read_datasets(session: Session, runs: Mapping[int, Row]) -> None:
    inputs, tags = dataset_inputs.c, dataset_input_tags
    statement = (
        select(inputs.run, datasets, tags.c.key, tags.c.value)
        .join(datasets, datasets.c.id == inputs.dataset_id)
        .outerjoin(tags, and_(tags.c.run == inputs.run, tags.c.dataset_id == inputs.dataset_id))
        .where(rowsets.among(session, inputs.run, list(runs)))
        .order_by(inputs.run, inputs.dataset_id, tags.c.key)
    )
    last: tuple[int, int] | None = None
    for row in (await session.execute(statement)).mappings():
        found = runs[row["run"]]["inputs"]["dataset_inputs"]
        if (row["run"], row["id"]) != last:
            last = (row["run"], row["id"])
            names = ("name", "digest", "source_type", "source", "schema", "profile")
            found.append({"dataset": {name: row[name] for name in names}, "tags": []})
        if row["key"] is not None:
            found[-1]["tags"].append({"key": row["key"], "value": row["value"]})


async def _read_models(session: Session, runs: Mapping[int, Row]) -> None:
    ins, outs = model_inputs.c, model_outputs.c
    statement = union_all(
        select(literal(0).label("is_output"), ins.run, ins.model_id, null().label("step")).where(
            rowsets.among(session, ins.run, list(runs))
        ),
        select(literal(1), outs.run, outs.model_id, outs.step).where(rowsets.among(session, outs.run, list(runs))),
    ).order_by("is_output", "run", "step", "model_id")
    for is_output, run, model_id, step in await session.execute(statement):
        if is_output:
            runs[run]["outputs"]["model_outputs"].append({"model_id": model_id, "step": step})
        else:
            runs[run]["inputs"]["model_inputs"].append({"model_id": model_id})
