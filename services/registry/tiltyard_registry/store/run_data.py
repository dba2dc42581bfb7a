"""What hangs on runs: metrics, params, tags, inputs and outputs, one statement per kind for a whole page."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Executable, RowMapping, Table, and_, literal, null, select, union_all

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

_DATASET = ("name", "digest", "source_type", "source", "schema", "profile")


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
        statements = _statements(session.is_sqlite)
        parameters = rowsets.named(session, "runs", list(runs))
        _add_metrics(runs, await session.execute(statements.metrics, parameters))
        _add_entries(runs, "params", await session.execute(statements.params, parameters))
        _add_entries(runs, "tags", await session.execute(statements.tags, parameters))
        _add_datasets(runs, await session.execute(statements.datasets, parameters))
        _add_models(runs, await session.execute(statements.models, parameters))
    return list(runs.values())


def _empty(row: RowMapping) -> Row:
    return {
        "info": run_info(row),
        "data": {"metrics": [], "params": [], "tags": []},
        "inputs": {"dataset_inputs": [], "model_inputs": []},
        "outputs": {"model_outputs": []},
    }


class _Statements(NamedTuple):
    """One per kind, over the runs in the parameter `runs`; built once, for building costs more than asking."""

    metrics: Executable
    params: Executable
    tags: Executable
    datasets: Executable
    models: Executable


@cache
def _statements(is_sqlite: bool) -> _Statements:
    def among(column: ColumnElement[int]) -> ColumnElement[bool]:
        return rowsets.among_named(is_sqlite, column, "runs")

    def entries(table: Table) -> Executable:
        columns = (table.c.run, table.c.key, table.c.value)
        return select(*columns).where(among(table.c.run)).order_by(table.c.run, table.c.key)

    point, used, tag = latest_metrics.c, dataset_inputs.c, dataset_input_tags.c
    ins, outs = model_inputs.c, model_outputs.c
    return _Statements(
        metrics=select(point.run, point.key, point.value, point.is_nan, point.timestamp, point.step)
        .where(among(point.run))
        .order_by(point.run, point.key),
        params=entries(params),
        tags=entries(run_tags),
        datasets=select(used.run, datasets.c.id, *(datasets.c[name] for name in _DATASET), tag.key, tag.value)
        .select_from(dataset_inputs)
        .join(datasets, datasets.c.id == used.dataset_id)
        .outerjoin(dataset_input_tags, and_(tag.run == used.run, tag.dataset_id == used.dataset_id))
        .where(among(used.run))
        .order_by(used.run, used.dataset_id, tag.key),
        models=union_all(
            select(literal(0).label("is_output"), ins.run, ins.model_id, null().label("step")).where(among(ins.run)),
            select(literal(1), outs.run, outs.model_id, outs.step).where(among(outs.run)),
        ).order_by("is_output", "run", "step", "model_id"),
    )


def _add_metrics(runs: Mapping[int, Row], found: Iterable[Any]) -> None:
    for run, key, value, is_nan, timestamp, step in found:
        point = {"key": key, "value": shown(value, is_nan), "timestamp": timestamp, "step": step}
        runs[run]["data"]["metrics"].append(point)


def _add_entries(runs: Mapping[int, Row], kind: str, found: Iterable[Any]) -> None:
    for run, key, value in found:
        runs[run]["data"][kind].append({"key": key, "value": value})


def _add_datasets(runs: Mapping[int, Row], found: Iterable[Any]) -> None:
    """One row per tag, one without key for a dataset that has none, ordered by run and dataset."""
    last: tuple[int, int] | None = None
    for run, dataset_id, *fields, key, value in found:
        inputs = runs[run]["inputs"]["dataset_inputs"]
        if (run, dataset_id) != last:
            last = (run, dataset_id)
            inputs.append({"dataset": dict(zip(_DATASET, fields, strict=True)), "tags": []})
        if key is not None:
            inputs[-1]["tags"].append({"key": key, "value": value})


def _add_models(runs: Mapping[int, Row], found: Iterable[Any]) -> None:
    for is_output, run, model_id, step in found:
        if is_output:
            runs[run]["outputs"]["model_outputs"].append({"model_id": model_id, "step": step})
        else:
            runs[run]["inputs"]["model_inputs"].append({"model_id": model_id})
