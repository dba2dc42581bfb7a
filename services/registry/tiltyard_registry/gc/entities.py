"""What can be purged, as data: its rows, how it is named, and since when it is deleted."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, and_, func, select, update

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.experiments import DEFAULT_EXPERIMENT_ID, parse_experiment_id
from tiltyard_registry.rules.lifecycle import DELETED, PURGING
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Found, Session
from tiltyard_registry.tables.experiments import experiments, logged_model_metrics, logged_models
from tiltyard_registry.tables.runs import metrics, runs


@dataclass(frozen=True, slots=True)
class Entity:
    """One kind of thing: `key` orders its rows, `name` is its id on the wire, `uri` leads to its files.

    `points` are the columns, of which the first is the key, that order the rows which may be millions.
    """

    title: str
    table: Table
    key: Column[Any]
    name: Column[Any]
    uri: Column[Any]
    deleted_ms: ColumnElement[int]
    points: tuple[Column[Any], ...] = ()

    @property
    def is_purging(self) -> ColumnElement[bool]:
        """Its removal has begun."""
        return self.table.c.lifecycle_stage == PURGING

    def is_due(self, before_ms: int) -> ColumnElement[bool]:
        """It was deleted before that time. The default experiment never is, for clients rely on its being there."""
        due = and_(self.table.c.lifecycle_stage == DELETED, self.deleted_ms < before_ms)
        return and_(due, self.key != DEFAULT_EXPERIMENT_ID) if self is EXPERIMENTS else due


RUNS = Entity(
    "run",
    runs,
    runs.c.id,
    runs.c.run_id,
    runs.c.artifact_uri,
    func.coalesce(runs.c.deleted_time, runs.c.end_time, runs.c.start_time),
    (metrics.c.run, metrics.c.key, metrics.c.timestamp),
)
LOGGED_MODELS = Entity(
    "logged model",
    logged_models,
    logged_models.c.model_id,
    logged_models.c.model_id,
    logged_models.c.artifact_uri,
    # A deleted logged model changes no more, so this is when it was deleted, as upstream has it too.
    logged_models.c.last_updated_timestamp_ms,
    (
        logged_model_metrics.c.model_id,
        logged_model_metrics.c.run_id,
        logged_model_metrics.c.key,
        logged_model_metrics.c.timestamp,
    ),
)
EXPERIMENTS = Entity(
    "experiment",
    experiments,
    experiments.c.experiment_id,
    experiments.c.experiment_id,
    experiments.c.artifact_location,
    experiments.c.last_update_time,
)


async def mark(session: Session, noun: Entity, where: ColumnElement[bool], limit: int) -> None:
    """Begins the removal of up to `limit` more. Restoring finds them no longer."""
    chosen = select(noun.key.label("key")).where(where).order_by(noun.key).limit(limit).subquery()
    last = select(func.max(chosen.c.key)).scalar_subquery()
    # The condition is said twice: whoever restored one while this waited for the row shall keep it. Joined to its own
    # rows it would be compared pair by pair where the database takes them for few.
    await session.execute(update(noun.table).where(noun.key <= last, where).values(lifecycle_stage=PURGING))


async def named(session: Session, noun: Entity, names: list[str], before_ms: int | None) -> ColumnElement[bool]:
    """The condition that selects exactly these.

    Raises:
        InvalidParameterValue: one is missing, not deleted, or was deleted at or after `before_ms`.
    """
    wanted: list[Any] = [parse_experiment_id(name) for name in names] if noun is EXPERIMENTS else list(names)
    found = await session.all(
        select(noun.name.label("name"), noun.table.c.lifecycle_stage, noun.deleted_ms.label("deleted_ms")).where(
            rowsets.among(session, noun.name, wanted)
        )
    )
    by_name = {row["name"]: row for row in found}
    for name, key in zip(names, wanted, strict=True):
        _check(noun, name, key, by_name.get(key), before_ms)
    return rowsets.among(session, noun.name, wanted)


def _check(noun: Entity, name: str, key: Any, row: Found | None, before_ms: int | None) -> None:
    shown = f"{noun.title.capitalize()} '{name[:80]}'"
    if row is None:
        raise InvalidParameterValue(f"{shown} does not exist.")
    if row["lifecycle_stage"] == PURGING:
        return
    if row["lifecycle_stage"] != DELETED:
        raise InvalidParameterValue(f"{shown} is not in the deleted lifecycle stage, so it cannot be purged.")
    if noun is EXPERIMENTS and key == DEFAULT_EXPERIMENT_ID:
        raise InvalidParameterValue("The default experiment cannot be purged.")
    if before_ms is not None and row["deleted_ms"] >= before_ms:
        raise InvalidParameterValue(f"{shown} was deleted too recently for the age that was asked for.")
