"""What is logged to a run, as one statement of PostgreSQL: one round trip, all or nothing.

These doors take rows in the same order as those of `runs.log_batch` (params, points, newest points, tags, each by
key), so that no two writers wait for each other in a circle.
"""

from collections.abc import Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from asyncpg.exceptions import NotNullViolationError, UniqueViolationError

from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.entries import (
    Entry,
    check_param,
    check_params,
    check_run_tag,
    check_run_tags,
    last_of_each,
)
from tiltyard_registry.rules.metrics import GivenPoint, Point, check_batch, check_points, newest
from tiltyard_registry.rules.runs import RUN_NAME_TAG
from tiltyard_registry.store import access
from tiltyard_registry.store.sql.availability import unknown_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.runs import runs

# Inserts whose rows are of the one run in `run`; {after} holds an insert back until the one before it has ended.
_PARAMS = """
INSERT INTO params (run, key, value)
SELECT run.id, new.* FROM run, unnest({0}::text[], {1}::text[]) AS new WHERE {after}
ON CONFLICT (run, key) DO UPDATE SET value = NULL WHERE params.value <> excluded.value"""
_METRICS = """
INSERT INTO metrics (run, key, timestamp, step, value, is_nan)
SELECT run.id, new.* FROM run, unnest({0}::text[], {1}::bigint[], {2}::bigint[], {3}::float8[], {4}::bool[]) AS new
WHERE {after}"""
_METRICS_NOT_THERE = _METRICS + " ON CONFLICT DO NOTHING"
_LATEST = """
INSERT INTO latest_metrics AS old (run, key, timestamp, step, value, is_nan)
SELECT run.id, new.* FROM run, unnest({0}::text[], {1}::bigint[], {2}::bigint[], {3}::float8[], {4}::bool[]) AS new
WHERE {after}
ON CONFLICT (run, key) DO UPDATE
SET timestamp = excluded.timestamp, step = excluded.step, value = excluded.value, is_nan = excluded.is_nan
WHERE (excluded.step, excluded.timestamp, excluded.value, excluded.is_nan)
    > (old.step, old.timestamp, old.value, old.is_nan)"""
_TAGS = """
INSERT INTO run_tags (run, key, value)
SELECT run.id, new.* FROM run, unnest({0}::text[], {1}::text[]) AS new WHERE {after}
ON CONFLICT (run, key) DO UPDATE SET value = excluded.value"""

_LOG = (
    "WITH run AS (SELECT id FROM runs WHERE run_id = $1 AND lifecycle_stage = 'active'{allowed}){inserts} "
    "SELECT id FROM run"
)
_INSERT = ", {name} AS ({insert} RETURNING 1)"
_AFTER = "(SELECT count(*) FROM {name}) >= 0"

# To look for each point first takes a third of such a batch's time, and hardly ever finds one.
_MANY_POINTS = 100

_BY_PLACE = itemgetter(0, 2, 3, 1, 4)


async def log_batch(
    database: Database,
    who: Principal,
    run_id: str,
    metrics: Sequence[GivenPoint] = (),
    params: Sequence[Entry] = (),
    tags: Sequence[Entry] = (),
) -> bool:
    """Whether all of it is stored; if not, nothing is, and `runs.log_batch` says why.

    Raises:
        InvalidParameterValue: as `runs.log_batch`.
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    check_batch(len(metrics), len(params), len(tags))
    return await _log(database, who, run_id, check_points(metrics), check_params(params), check_run_tags(tags))


async def log_metric(database: Database, who: Principal, run_id: str, point: Point) -> bool:
    """Whether a checked point is stored; otherwise as `log_batch`."""
    return await _log(database, who, run_id, metrics=[point])


async def log_param(database: Database, who: Principal, run_id: str, key: str, value: str) -> bool:
    """Whether the param is stored; otherwise as `log_batch`."""
    return await _log(database, who, run_id, params=[check_param(key, value)])


async def set_tag(database: Database, who: Principal, run_id: str, key: str, value: str) -> bool:
    """Whether the tag is stored; otherwise as `log_batch`."""
    return await _log(database, who, run_id, tags=[check_run_tag(key, value)])


async def _log(
    database: Database,
    who: Principal,
    run_id: str,
    metrics: Sequence[Point] = (),
    params: Sequence[Entry] = (),
    tags: Sequence[Entry] = (),
) -> bool:
    # A new name of the run and points of logged models are rows of other tables too.
    if any(tag.key == RUN_NAME_TAG for tag in tags) or any(point.model_id for point in metrics):
        return False
    values: list[Any] = [run_id]
    if params:
        values += zip(*sorted(params), strict=True)
    if metrics:
        values += _columns(sorted(set(metrics), key=_BY_PLACE)) + _columns(newest(metrics))
    if tags:
        values += zip(*last_of_each(tags), strict=True)
    allowed, grantees = access.visible_sql(who, runs, Privilege.EDIT, len(values) + 1)
    values += grantees
    points = [_METRICS, _METRICS_NOT_THERE] if len(metrics) >= _MANY_POINTS else [_METRICS_NOT_THERE]
    async with database.driver() as connection:
        for insert in points:
            statement = _statement(bool(params), insert if metrics else "", bool(tags), allowed)
            with unknown_when_lost():
                try:
                    return await connection.fetchval(statement, *values) is not None
                except UniqueViolationError:
                    # A point that was there; so each is looked for.
                    continue
                except NotNullViolationError:
                    # A param that has another value already; see `_PARAMS`.
                    break
    return False


@cache
def _statement(params: bool, points: str, tags: bool, allowed: str) -> str:
    """The statement for a batch that has these: it answers with the run's row, or with none.

    `points` is how points are inserted, empty when there are none.
    """
    metrics = bool(points)
    asked = {"constants": (params, _PARAMS, 2), "points": (metrics, points, 5), "latest": (metrics, _LATEST, 5)}
    inserts, after, number = "", "true", 2
    for name, (is_asked, insert, columns) in (asked | {"tags": (tags, _TAGS, 2)}).items():
        if is_asked:
            numbers = [f"${at}" for at in range(number, number + columns)]
            inserts += _INSERT.format(name=name, insert=insert.format(*numbers, after=after))
            after, number = _AFTER.format(name=name), number + columns
    return _LOG.format(allowed=allowed, inserts=inserts)


def _columns(points: Sequence[Point]) -> list[Sequence[object]]:
    keys, values, times, steps, are_nan, *_ = zip(*points, strict=True)
    return [keys, times, steps, values, are_nan]
