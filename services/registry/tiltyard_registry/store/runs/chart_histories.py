"""Histories of one metric over several runs, as charts read them: thinned out by the database, never loaded whole."""

from collections.abc import Sequence
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, and_, func, literal, or_, select, union

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.keys import check_int64
from tiltyard_registry.rules.metrics import shown
from tiltyard_registry.store import access
from tiltyard_registry.store.runs import metric_samples
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.runs import metrics, runs

MAX_RUNS = 100
MAX_POINTS = 25_000
MAX_POINTS_PER_RUN = 2_500
EXACT_POINTS = 50_000
"""Up to so many points are all looked at to choose among them."""

_POINT = (metrics.c.run, metrics.c.step, metrics.c.timestamp, metrics.c.value, metrics.c.is_nan)


class PointRow(TypedDict):
    """A point of one metric of a run; a value without a number is a text."""

    key: str
    value: float | str
    timestamp: int
    step: int
    run_id: str


async def get_histories(
    session: Session, who: Principal, run_ids: Sequence[str], metric_key: str, *, max_results: int | None = None
) -> list[PointRow]:
    """The points of a metric of these runs, by run id and then oldest first, at most 25,000 altogether.

    A run that does not exist has no points.

    Raises:
        InvalidParameterValue: no run, too many runs, or `max_results` is below 1.
    """
    _check_runs(run_ids, "GetMetricHistoryBulk")
    if max_results is not None and max_results < 1:
        raise InvalidParameterValue(f"Invalid value {max_results} for parameter 'max_results': expected 1 or more.")
    statement = (
        select(runs.c.run_id, *_POINT[1:])
        .join_from(metrics, runs, metrics.c.run == runs.c.id)
        .where(_asked(session, who, run_ids), metrics.c.key == metric_key)
        .order_by(runs.c.run_id, metrics.c.timestamp, metrics.c.step, metrics.c.value, metrics.c.is_nan)
        .limit(min(max_results or MAX_POINTS, MAX_POINTS))
    )
    return [_row(metric_key, *found) for found in (await session.execute(statement)).all()]


async def get_sampled_histories(
    session: Session,
    who: Principal,
    run_ids: Sequence[str],
    metric_key: str,
    *,
    start_step: int | None = None,
    end_step: int | None = None,
    max_results: int | None = None,
) -> list[PointRow]:
    """Points of a metric at steps that all these runs share, evenly spaced over `[start_step, end_step]`.

    At most `max_results` steps (2,500 when absent), and besides them the first and last of each run, so that
    lines in one chart begin and end where they do. A run that logged more than 2,500 points at those steps is
    thinned out in the same way, point by point.

    Beyond 50,000 points nobody reads them all: each run is then thinned out by itself, evenly over its time, to its
    share of 25,000 points at most.

    Raises:
        InvalidParameterValue: no run, too many runs, a bound without the other, or `max_results` out of range.

    Source: mlflow/store/tracking/abstract_store.py, `get_metric_history_bulk_interval`, tag v3.17.2.
    """
    _check_runs(run_ids, "GetMetricHistoryBulkInterval")
    if max_results is not None and not 1 <= max_results <= MAX_POINTS_PER_RUN:
        raise InvalidParameterValue(f"max_results must be between 1 and {MAX_POINTS_PER_RUN}.")
    within = _interval(start_step, end_step)
    known = {
        row["id"]: row["run_id"]
        for row in await session.all(select(runs.c.id, runs.c.run_id).where(_asked(session, who, run_ids)))
    }
    by_run: dict[int, list[PointRow]] = {run: [] for run in known}
    asked = {run_id: run for run, run_id in known.items()}
    of_runs = and_(rowsets.among(session, metrics.c.run, sorted(known)), metrics.c.key == metric_key)
    some = select(metrics.c.run).where(of_runs).limit(EXACT_POINTS + 1).subquery()
    if await session.scalar(select(func.count()).select_from(some)) > EXACT_POINTS:
        count = min(max_results or MAX_POINTS_PER_RUN, max(1, MAX_POINTS // len(known)))
        interval = None if start_step is None or end_step is None else (start_step, end_step)
        for run, run_id in known.items():
            found = await metric_samples.sample(session, run, metric_key, count, steps=interval)
            by_run[run] = [_row(metric_key, run_id, *point) for point in found]
        return [row for run_id in dict.fromkeys(run_ids) if run_id in asked for row in by_run[asked[run_id]]]
    chosen = and_(of_runs, *within)
    steps = (await session.execute(_sampled_steps(chosen, max_results or MAX_POINTS_PER_RUN))).scalars().all()
    place = func.row_number().over(partition_by=metrics.c.run, order_by=_POINT[1:]) - 1
    total = func.count().over(partition_by=metrics.c.run)
    points = (
        select(*_POINT, place.label("place"), total.label("total"))
        .where(chosen, rowsets.among(session, metrics.c.step, steps))
        .subquery()
    )
    statement = (
        select(*(points.c[column.name] for column in _POINT))
        .where(_is_sampled(points.c.place, points.c.total, MAX_POINTS_PER_RUN))
        .order_by(*(points.c[column.name] for column in _POINT))
    )
    for run, *point in await session.execute(statement):
        by_run[run].append(_row(metric_key, known[run], *point))
    return [row for run_id in dict.fromkeys(run_ids) if run_id in asked for row in by_run[asked[run_id]]]


def _asked(session: Session, who: Principal, run_ids: Sequence[str]) -> ColumnElement[bool]:
    """Those of these runs that the caller may see."""
    named = rowsets.among(session, runs.c.run_id, sorted(set(run_ids)))
    return and_(named, *access.visible(who, access.RUNS, Privilege.READ))


def _sampled_steps(chosen: ColumnElement[bool], count: int) -> Any:
    steps = select(metrics.c.step).where(chosen).distinct().subquery()
    numbered = select(
        steps.c.step,
        (func.row_number().over(order_by=steps.c.step) - 1).label("place"),
        func.count().over().label("total"),
    ).subquery()
    ends = select(func.min(metrics.c.step).label("first"), func.max(metrics.c.step).label("last")).where(chosen)
    of_runs = ends.group_by(metrics.c.run).subquery()
    return union(
        select(numbered.c.step).where(_is_sampled(numbered.c.place, numbered.c.total, count)),
        select(of_runs.c.first),
        select(of_runs.c.last),
    )


def _is_sampled(place: ColumnElement[int], total: ColumnElement[int], count: int) -> ColumnElement[bool]:
    """Whether `place` (from 0) is one of `count` evenly spaced of `total`, or the last; all are when they are few.

    It is, when one of the multiples of total/count falls into [place, place + 1).
    """
    wanted = literal(count)
    return or_(total <= wanted, place == total - 1, (total - (place * wanted) % total) % total < wanted)


def _interval(start_step: int | None, end_step: int | None) -> list[ColumnElement[bool]]:
    if start_step is None and end_step is None:
        return []
    if start_step is None or end_step is None:
        raise InvalidParameterValue("If either start step or end step are specified, both must be specified.")
    if start_step > end_step:
        raise InvalidParameterValue(
            "end_step must be greater than start_step. "
            f"Found start_step={str(start_step)[:40]} and end_step={str(end_step)[:40]}."
        )
    first = check_int64(start_step, parameter="start_step")
    return [metrics.c.step.between(first, check_int64(end_step, parameter="end_step"))]


def _check_runs(run_ids: Sequence[str], request: str) -> None:
    if not run_ids:
        raise InvalidParameterValue(f"{request} request must specify at least one run_id.")
    if len(run_ids) > MAX_RUNS:
        raise InvalidParameterValue(
            f"{request} request must specify at most {MAX_RUNS} run_ids. Received {len(run_ids)} run_ids."
        )


def _row(key: str, run_id: str, step: int, timestamp: int, value: float, is_nan: bool) -> PointRow:
    return {"key": key, "value": shown(value, is_nan), "timestamp": timestamp, "step": step, "run_id": run_id}
