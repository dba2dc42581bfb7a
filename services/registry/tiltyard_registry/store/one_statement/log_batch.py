"""What is logged to a run, all or nothing: one statement of PostgreSQL, or one visit to SQLite.

These doors take rows in the same order as those of `runs.log_batch` (params, points, newest points, tags, each by
key), so that no two writers wait for each other in a circle.
"""

import sqlite3
from collections.abc import Sequence
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

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
from tiltyard_registry.rules.metrics import GivenPoint, Point, check_batch, check_point, check_points, newest
from tiltyard_registry.rules.runs import RUN_NAME_TAG
from tiltyard_registry.store import access
from tiltyard_registry.store.sql.array_text import array_parameter, array_texts
from tiltyard_registry.store.sql.availability import unknown_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.sqlite import numbered
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection
from tiltyard_registry.tables.runs import runs

Rows = Sequence[tuple[object, ...]]
Batch = Sequence[tuple["_Insert", Rows]]


class _Insert(NamedTuple):
    """How rows of a run are inserted: into which columns beside `run`, and what becomes of rows that are there."""

    table: str
    columns: tuple[tuple[str, str], ...]
    conflict: str

    def of_postgresql(self, first: int, after: str) -> str:
        """The insert of one array per column, from the parameter `first` on, of the one run in `run`.

        `after` holds it back until the one before it has ended.
        """
        arrays = (array_parameter(first + at, kind) for at, kind in enumerate(self.kinds))
        return _INTO_POSTGRESQL.format(self.table, self._names, ", ".join(arrays), after, self.conflict)

    @property
    def of_sqlite(self) -> str:
        """The insert of one row."""
        return _INTO_SQLITE.format(self.table, self._names, ", ?" * len(self.columns), self.conflict)

    @property
    def kinds(self) -> list[str]:
        """The types of the columns."""
        return [kind for _, kind in self.columns]

    @property
    def _names(self) -> str:
        return ", ".join(name for name, _ in self.columns)


_INTO_POSTGRESQL = "INSERT INTO {} (run, {}) SELECT run.id, new.* FROM run, unnest({}) AS new WHERE {} {}"
_INTO_SQLITE = "INSERT INTO {} (run, {}) VALUES (?{}) {}"
_PAIR = (("key", "text"), ("value", "text"))
# As the fields of `Point` begin.
_POINT = (("key", "text"), ("value", "float8"), ("timestamp", "bigint"), ("step", "bigint"), ("is_nan", "bool"))
_PARAMS = _Insert(
    "params", _PAIR, "ON CONFLICT (run, key) DO UPDATE SET value = NULL WHERE params.value <> excluded.value"
)
_METRICS = _Insert("metrics", _POINT, "")
_METRICS_NOT_THERE = _Insert("metrics", _POINT, "ON CONFLICT DO NOTHING")
_LATEST = _Insert(
    "latest_metrics AS old",
    _POINT,
    "ON CONFLICT (run, key) DO UPDATE "
    "SET timestamp = excluded.timestamp, step = excluded.step, value = excluded.value, is_nan = excluded.is_nan "
    "WHERE (excluded.step, excluded.timestamp, excluded.value, excluded.is_nan) "
    "> (old.step, old.timestamp, old.value, old.is_nan)",
)
_TAGS = _Insert("run_tags", _PAIR, "ON CONFLICT (run, key) DO UPDATE SET value = excluded.value")

_RUN = "SELECT id FROM runs WHERE run_id = {0}1 AND lifecycle_stage = 'active'{1}"
_ALL = "WITH {} SELECT id FROM run"
_AFTER = "(SELECT count(*) FROM {}) >= 0"

# To look for each point first takes a third of such a batch's time, and hardly ever finds one.
_MANY_POINTS = 100
_MOST_AT_ONCE = 50
"""Of SQLite, rows that are inserted on the event loop."""

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


async def log_metric(database: Database, who: Principal, run_id: str, point: GivenPoint) -> bool:
    """Whether the point is stored; otherwise as `log_batch`."""
    return await _log(database, who, run_id, metrics=[check_point(point)])


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
    batch: list[tuple[_Insert, Rows]] = [
        (_PARAMS, sorted(params)),
        (_METRICS_NOT_THERE, sorted(set(metrics), key=_BY_PLACE)),
        (_LATEST, newest(metrics)),
        (_TAGS, last_of_each(tags)),
    ]
    batch = [(insert, rows) for insert, rows in batch if rows]
    store = _store_in_sqlite if database.is_sqlite else _store_in_postgresql
    return await store(database, who, run_id, batch)


async def _store_in_sqlite(database: Database, who: Principal, run_id: str, batch: Batch) -> bool:
    allowed, grantees = access.visible_sql(who, runs, Privilege.EDIT, 2, is_sqlite=True)

    def store(connection: InlineConnection) -> bool:
        with connection.transaction():
            run = connection.execute(_RUN.format("?", allowed), numbered(run_id, *grantees)).fetchone()
            for insert, rows in batch if run else ():
                width = len(insert.columns)
                connection.executemany(insert.of_sqlite, [(*run, *row[:width]) for row in rows])
        return run is not None

    is_brief = sum(len(rows) for _, rows in batch) <= _MOST_AT_ONCE
    try:
        return await database.sqlite(store, is_read=False, is_brief=is_brief)
    except sqlite3.IntegrityError:
        # A param that has another value already; see `_PARAMS`.
        return False


async def _store_in_postgresql(database: Database, who: Principal, run_id: str, batch: Batch) -> bool:
    values: list[Any] = [run_id]
    before: Rows = ()
    for insert, rows in batch:
        # Where each key comes once, the newest points are the points.
        values += values[-len(insert.columns) :] if rows == before else array_texts(insert.kinds, rows)
        before = rows
    allowed, grantees = access.visible_sql(who, runs, Privilege.EDIT, len(values) + 1, is_sqlite=False)
    inserts = tuple(insert for insert, _ in batch)
    ways = [inserts]
    if any(insert is _METRICS_NOT_THERE and len(rows) >= _MANY_POINTS for insert, rows in batch):
        ways.insert(0, tuple(_METRICS if insert is _METRICS_NOT_THERE else insert for insert in inserts))
    async with database.driver() as connection:
        for way in ways:
            with unknown_when_lost():
                try:
                    return await connection.fetchval(_statement(way, allowed), *values, *grantees) is not None
                except UniqueViolationError:
                    # A point that was there; so each is looked for.
                    continue
                except NotNullViolationError:
                    # A param that has another value already; see `_PARAMS`.
                    break
    return False


@cache
def _statement(inserts: tuple[_Insert, ...], allowed: str) -> str:
    """The statement of PostgreSQL for a batch of these: it answers with the run's row, or with none."""
    parts, after, number = [f"run AS ({_RUN.format('$', allowed)})"], "true", 2
    for insert in inserts:
        name = f"new_{len(parts)}"
        parts.append(f"{name} AS ({insert.of_postgresql(number, after)} RETURNING 1)")
        after, number = _AFTER.format(name), number + len(insert.columns)
    return _ALL.format(", ".join(parts))
