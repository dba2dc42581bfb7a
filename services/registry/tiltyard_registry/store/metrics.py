"""Metrics: an append-only history of points per key, and the newest point of each."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, literal, select, tuple_

from tiltyard.errors import BadRequest, InvalidParameterValue
from tiltyard_registry.rules import access
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.rules.metrics import Point, newest, shown
from tiltyard_registry.search import PageToken, query_digest
from tiltyard_registry.store import rowsets
from tiltyard_registry.store.runs import find_run
from tiltyard_registry.store.session import Row, Session
from tiltyard_registry.tables import latest_metrics, logged_model_metrics, logged_models, metrics

MAX_PAGE = 1_000_000

_POINT = ("key", "timestamp", "step", "value", "is_nan")
_AGE = ("step", "timestamp", "value", "is_nan")
_PLACE = (metrics.c.timestamp, metrics.c.step, metrics.c.value, metrics.c.is_nan)
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


async def get_history(
    session: Session,
    who: Principal,
    run_id: str,
    metric_key: str,
    *,
    max_results: int | None = None,
    page_token: str | None = None,
) -> tuple[list[Row], str | None]:
    """Every point of a metric in the order of time, step and value, and the token of the next page if there is one.

    Without `max_results` all of them. A key that was never logged has no points.

    Raises:
        ResourceDoesNotExist: there is no such run.
        InvalidParameterValue: `max_results` is below 1, or the token is not one of this history.
    """
    access.require(who, Action.READ, f"run {run_id}")
    if max_results is not None and max_results < 1:
        raise InvalidParameterValue(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be a positive integer."
        )
    run = await find_run(session, run_id)
    query = query_digest("metric history", run_id, metric_key)
    statement = select(*_PLACE).where(metrics.c.run == run["id"], metrics.c.key == metric_key).order_by(*_PLACE)
    if page_token:
        statement = statement.where(tuple_(*_PLACE) > tuple_(*_read_place(page_token, query)))
    if max_results is not None:
        statement = statement.limit(min(max_results, MAX_PAGE) + 1)
    found = (await session.execute(statement)).all()
    token = None
    if max_results is not None and len(found) > min(max_results, MAX_PAGE):
        found = found[:-1]
        timestamp, step, value, is_nan = found[-1]
        # As text, for JSON has no infinities and its readers round.
        token = PageToken.encode((timestamp, step, value.hex(), int(is_nan)), query=query)
    rows = [
        {"key": metric_key, "value": shown(value, is_nan), "timestamp": timestamp, "step": step}
        for timestamp, step, value, is_nan in found
    ]
    return rows, token


def _read_place(token: str, query: str) -> tuple[ColumnElement[Any], ...]:
    place = PageToken.decode(token, query=query, columns=(int, int, str, int))
    assert isinstance(place, tuple)  # noqa: S101 - what decode returns when columns are named
    timestamp, step, value, is_nan = place
    try:
        values = (timestamp, step, float.fromhex(str(value)), bool(is_nan))
    except (ValueError, OverflowError):
        raise InvalidParameterValue("Invalid page token: it is not one that this server gave out.") from None
    return tuple(literal(value, column.type) for value, column in zip(values, _PLACE, strict=True))


def _columns(points: Sequence[Point], names: tuple[str, ...]) -> dict[str, list[object]]:
    return {name: [getattr(point, name) for point in points] for name in names}


async def _check_models(session: Session, model_ids: set[str]) -> None:
    statement = select(logged_models.c.model_id).where(
        rowsets.among(session, logged_models.c.model_id, sorted(model_ids))
    )
    missing = model_ids - set((await session.execute(statement)).scalars())
    if missing:
        raise BadRequest(f"Logged model with ID '{min(missing)[:80]}' not found; a metric names it as 'model_id'.")
