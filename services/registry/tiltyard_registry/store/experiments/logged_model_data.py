"""What hangs on logged models: params, tags, metric points and registrations, one statement per kind and page."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from sqlalchemy import Column, RowMapping, select

from tiltyard_registry.rules.metrics import shown
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.experiments import logged_model_metrics, logged_model_params, logged_model_tags
from tiltyard_registry.tables.models import model_versions, registered_models


class LoggedModelInfo(TypedDict):
    """A logged model's own row as the wire shows it, with its tags and the versions that were registered from it."""

    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    status_message: str | None
    model_type: str
    source_run_id: str
    tags: list[dict[str, str]]
    registrations: list[dict[str, str]]


class LoggedModelData(TypedDict):
    """The params of a logged model, and the points of its metrics."""

    params: list[dict[str, str]]
    metrics: list[dict[str, Any]]


class LoggedModelRow(TypedDict):
    """A logged model with what hangs on it."""

    info: LoggedModelInfo
    data: LoggedModelData


async def with_data(session: Session, rows: Sequence[RowMapping]) -> list[LoggedModelRow]:
    """The logged models as the wire shows them, in the order of `rows`."""
    models: dict[str, LoggedModelRow] = {}
    for row in rows:
        hanging = {"experiment_id": str(row["experiment_id"]), "tags": [], "registrations": []}
        info = cast(LoggedModelInfo, {**row, **hanging})
        models[row["model_id"]] = {"info": info, "data": {"params": [], "metrics": []}}
    if models:
        tags = {model_id: model["info"]["tags"] for model_id, model in models.items()}
        params = {model_id: model["data"]["params"] for model_id, model in models.items()}
        await read_entries(session, tags, logged_model_tags.c.model_id)
        await read_entries(session, params, logged_model_params.c.model_id)
        await _read_metrics(session, models)
        await _read_registrations(session, models)
    return list(models.values())


async def read_entries(session: Session, lists: Mapping[Any, list[dict[str, str]]], owner: Column[Any]) -> None:
    """Reads params or tags into the lists of those whose ids are in the column `owner` of their table."""
    table = owner.table.c
    among = rowsets.among(session, owner, list(lists))
    statement = select(owner, table.key, table.value).where(among).order_by(owner, table.key)
    for owner_id, key, value in await session.execute(statement):
        lists[owner_id].append({"key": key, "value": value})


async def _read_metrics(session: Session, models: Mapping[str, LoggedModelRow]) -> None:
    table = logged_model_metrics.c
    statement = (
        select(logged_model_metrics)
        .where(rowsets.among(session, table.model_id, list(models)))
        .order_by(table.model_id, table.key, table.timestamp, table.step, table.value)
    )
    for row in (await session.execute(statement)).mappings():
        point = {
            "key": row["key"],
            "value": shown(row["value"], row["is_nan"]),
            "timestamp": row["timestamp"],
            "step": row["step"],
            "model_id": row["model_id"],
            "run_id": row["run_id"],
        }
        # Empty text is how the table says 'without a dataset'; the wire leaves the field out.
        point |= {name: row[name] for name in ("dataset_name", "dataset_digest") if row[name]}
        models[row["model_id"]]["data"]["metrics"].append(point)


async def _read_registrations(session: Session, models: Mapping[str, LoggedModelRow]) -> None:
    version = model_versions.c
    statement = (
        select(version.model_id, registered_models.c.name, version.version)
        .join(registered_models, registered_models.c.id == version.registered_model_id)
        .where(rowsets.among(session, version.model_id, list(models)))
        .order_by(version.model_id, registered_models.c.name, version.version)
    )
    for model_id, name, number in await session.execute(statement):
        models[model_id]["info"]["registrations"].append({"name": name, "version": str(number)})
