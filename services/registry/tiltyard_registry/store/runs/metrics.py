"""Metrics: an append-only history of points per key, and the newest point of each."""

from collections.abc import Sequence

from sqlalchemy import select

from tiltyard.errors import BadRequest
from tiltyard_registry.rules.metrics import Point, newest
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.experiments import logged_model_metrics, logged_models
from tiltyard_registry.tables.runs import latest_metrics, metrics

_POINT = ("key", "timestamp", "step", "value", "is_nan")
_AGE = ("step", "timestamp", "value", "is_nan")
_OF_MODEL = ("model_id", *_POINT, "dataset_name", "dataset_digest")


async def add_points(session: Session, run: int, run_id: str, points: Sequence[Point]) -> None:
    """Adds the points to the history, moves the newest of each key, and mirrors those of logged models.

    Points that are there already are left alone. Nothing is read first, so writers do not wait for each other
    except for the rows of a key they both write.

    Raises:
        BadRequest: a point names a logged model that does not exist.
    """
    if not points:
        return
    # One order for all, so that two batches with the same keys cannot wait for each other in a circle.
    ordered = sorted(points, key=lambda point: (point.key, point.timestamp, point.step, point.value, point.is_nan))
    await rowsets.insert_missing(session, metrics, {"run": run, **_columns(ordered, _POINT)})
    await rowsets.keep_newer(session, latest_metrics, {"run": run, **_columns(newest(points), _POINT)}, by=_AGE)
    of_models = sorted(point for point in points if point.model_id)
    if of_models:
        await _check_models(session, {point.model_id for point in of_models})
        await rowsets.insert_missing(
            session, logged_model_metrics, {"run_id": run_id, **_columns(of_models, _OF_MODEL)}
        )


def _columns(points: Sequence[Point], names: tuple[str, ...]) -> dict[str, list[object]]:
    return {name: [getattr(point, name) for point in points] for name in names}


async def _check_models(session: Session, model_ids: set[str]) -> None:
    statement = select(logged_models.c.model_id).where(
        rowsets.among(session, logged_models.c.model_id, sorted(model_ids))
    )
    missing = model_ids - set((await session.execute(statement)).scalars())
    if missing:
        raise BadRequest(f"Logged model with ID '{min(missing)[:80]}' not found; a metric names it as 'model_id'.")
