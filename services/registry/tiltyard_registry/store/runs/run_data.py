"""What hangs on runs: metrics, params, tags, inputs and outputs, one statement per kind for a whole page."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NotRequired, TypedDict, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    RowMapping,
    Select,
    Table,
    and_,
    any_,
    bindparam,
    literal,
    literal_column,
    null,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tiltyard_registry.rules.metrics import shown
from tiltyard_registry.store.sql.json_text import Fields
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.store.sql.sqlite import numbered
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection
from tiltyard_registry.tables.runs import (
    dataset_input_tags,
    dataset_inputs,
    datasets,
    latest_metrics,
    model_inputs,
    model_outputs,
    params,
    run_tags,
    runs,
)

# Of SQLite: the data of more runs is read, and made a text, in a thread.
MOST_AT_ONCE = 10

# What the wire shows, field by field, and the columns it is read from; both ways of answering are made of these.
INFO = {
    "run_uuid": runs.c.run_id,
    "run_id": runs.c.run_id,
    "experiment_id": runs.c.experiment_id,
    "run_name": runs.c.run_name,
    "user_id": runs.c.user_id,
    "status": runs.c.status,
    "start_time": runs.c.start_time,
    "artifact_uri": runs.c.artifact_uri,
    "lifecycle_stage": runs.c.lifecycle_stage,
    "end_time": runs.c.end_time,
}
POINT = {name: latest_metrics.c[name] for name in ("key", "value", "timestamp", "step")}
PARAM = {name: params.c[name] for name in ("key", "value")}
TAG = {name: run_tags.c[name] for name in ("key", "value")}
DATASET = {name: datasets.c[name] for name in ("name", "digest", "source_type", "source", "schema", "profile")}
DATASET_TAG = {name: dataset_input_tags.c[name] for name in ("key", "value")}
MODEL_INPUT = {"model_id": model_inputs.c.model_id}
MODEL_OUTPUT = {name: model_outputs.c[name] for name in ("model_id", "step")}


class RunInfo(TypedDict, total=False):
    """A run's own row as the wire shows it; what is null is left out."""

    run_uuid: str
    run_id: str
    experiment_id: str
    run_name: str
    user_id: str
    status: str
    start_time: int
    artifact_uri: str
    lifecycle_stage: str
    end_time: int


class RunRow(TypedDict):
    """A run with what hangs on it, kind by kind: the fields of each are those of the tables above."""

    info: RunInfo
    data: dict[str, list[dict[str, Any]]]
    inputs: dict[str, list[dict[str, Any]]]
    outputs: NotRequired[dict[str, list[dict[str, Any]]]]


def run_info(row: Mapping[str, Any] | RowMapping) -> RunInfo:
    """The run's own row as the wire shows it."""
    filled = _filled(INFO, [row[column.name] for column in INFO.values()])
    return cast(RunInfo, filled | {"experiment_id": str(row["experiment_id"])})


def _filled(fields: Fields, values: Sequence[Any]) -> dict[str, Any]:
    return {name: value for name, value in zip(fields, values, strict=True) if value is not None}


async def with_data(session: Session, rows: Sequence[RowMapping]) -> list[RunRow]:
    """The runs as the wire shows them, in the order of `rows`."""
    if session.is_sqlite:
        return await session.sqlite(partial(in_sqlite, rows), is_brief=len(rows) <= MOST_AT_ONCE)
    found = {row["id"]: _empty(row) for row in rows}
    if found:
        for add, statement in zip(_ADD, _OF_MANY, strict=True):
            add(found, await session.execute(statement, {"runs": list(found)}))
    return list(found.values())


def in_sqlite(rows: Sequence[Mapping[str, Any] | RowMapping], connection: InlineConnection) -> list[RunRow]:
    """The runs as `with_data` shows them; on the connection itself, for so many rows that each layer counts."""
    found = {row["id"]: _empty(row) for row in rows}
    asked = numbered(rows[0]["id"] if len(rows) == 1 else json.dumps([*found]))
    for add, statement in zip(_ADD, _OF_ONE_IN_SQLITE if len(rows) == 1 else _OF_MANY_IN_SQLITE, strict=True):
        add(found, connection.execute(statement, asked))
    return list(found.values())


def _empty(row: Mapping[str, Any] | RowMapping) -> RunRow:
    return {
        "info": run_info(row),
        "data": {"metrics": [], "params": [], "tags": []},
        "inputs": {"dataset_inputs": [], "model_inputs": []},
        "outputs": {"model_outputs": []},
    }


def _statements(among: Callable[[ColumnElement[int]], ColumnElement[bool]]) -> list[Select[Any] | CompoundSelect[Any]]:
    """One per kind, in the order of `_ADD`, over the runs whose ids are `among` them."""

    def entries(table: Table, fields: Fields) -> Select[Any]:
        return select(table.c.run, *fields.values()).where(among(table.c.run)).order_by(table.c.run, table.c.key)

    point, used, tag = latest_metrics.c, dataset_inputs.c, dataset_input_tags.c
    ins, outs = model_inputs.c, model_outputs.c
    return [
        select(point.run, point.is_nan, *POINT.values()).where(among(point.run)).order_by(point.run, point.key),
        entries(params, PARAM),
        entries(run_tags, TAG),
        select(used.run, datasets.c.id, *DATASET.values(), *DATASET_TAG.values())
        .select_from(dataset_inputs)
        .join(datasets, datasets.c.id == used.dataset_id)
        .outerjoin(dataset_input_tags, and_(tag.run == used.run, tag.dataset_id == used.dataset_id))
        .where(among(used.run))
        .order_by(used.run, used.position, used.dataset_id, tag.key),
        union_all(
            select(literal(0).label("is_output"), ins.run, ins.model_id, null().label("step")).where(among(ins.run)),
            select(literal(1), outs.run, outs.model_id, outs.step).where(among(outs.run)),
        ).order_by("is_output", "run", "step", "model_id"),
    ]


def _add_metrics(runs: Mapping[int, RunRow], found: Iterable[Any]) -> None:
    for run, is_nan, *fields in found:
        point = dict(zip(POINT, fields, strict=True))
        point["value"] = shown(point["value"], is_nan)
        runs[run]["data"]["metrics"].append(point)


def _add_entries(kind: str, runs: Mapping[int, RunRow], found: Iterable[Any]) -> None:
    for run, key, value in found:
        runs[run]["data"][kind].append({"key": key, "value": value})


def _add_datasets(runs: Mapping[int, RunRow], found: Iterable[Any]) -> None:
    """One row per tag, one without key for a dataset that has none, ordered by run and dataset."""
    last: tuple[int, int] | None = None
    for run, dataset_id, *fields, key, value in found:
        inputs = runs[run]["inputs"]["dataset_inputs"]
        if (run, dataset_id) != last:
            last = (run, dataset_id)
            inputs.append({"dataset": _filled(DATASET, fields), "tags": []})
        if key is not None:
            inputs[-1]["tags"].append({"key": key, "value": value})


def _add_models(runs: Mapping[int, RunRow], found: Iterable[Any]) -> None:
    for is_output, run, model_id, step in found:
        if is_output:
            runs[run]["outputs"]["model_outputs"].append({"model_id": model_id, "step": step})
        else:
            runs[run]["inputs"]["model_inputs"].append({"model_id": model_id})


_ADD: tuple[Callable[[Mapping[int, RunRow], Iterable[Any]], None], ...] = (
    _add_metrics,
    partial(_add_entries, "params"),
    partial(_add_entries, "tags"),
    _add_datasets,
    _add_models,
)
# Built once, for building costs more than asking; for SQLite as its driver takes them.
_OF_MANY = _statements(lambda column: column == any_(bindparam("runs", type_=ARRAY(BigInteger))))
_OF_MANY_IN_SQLITE, _OF_ONE_IN_SQLITE = (
    [str(statement.compile(compile_kwargs={"literal_binds": True})) for statement in _statements(among)]
    for among in (
        lambda column: column.in_(text("SELECT value FROM json_each(?1)")),
        lambda column: column == literal_column("?1"),
    )
)
