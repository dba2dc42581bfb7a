"""The history of a metric of one run: every point, oldest first, part by part, whatever its length."""

from functools import partial
from typing import Any, NamedTuple

import msgspec

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.metrics import shown
from tiltyard_registry.search import PageToken, query_digest
from tiltyard_registry.store.runs.run_data import POINT
from tiltyard_registry.store.runs.runs import find_run
from tiltyard_registry.store.sql.json_text import EncodedJson, object_sql, select_sql
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.store.sql.sqlite import numbered
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection
from tiltyard_registry.tables.runs import metrics

MAX_PAGE = 1_000_000
PART_POINTS = 10_000
# Of SQLite: more of them are read, and made a text, in a thread.
_MOST_AT_ONCE = 200

_POINT = {name: metrics.c[name] for name in POINT}


class _Place(NamedTuple):
    """A point's place in a history; the fields are columns, in the order that they sort by."""

    timestamp: int
    step: int
    value: float
    is_nan: bool


_BEFORE_ALL = _Place(-1, 0, 0.0, False)

_NAMES = ", ".join(_Place._fields)
_BEHIND = "metrics WHERE run = {0}1 AND key = {0}2 AND ({1}) > ({0}3, {0}4, {0}5, {0}6) ORDER BY {1} LIMIT {0}7 + 1"
_POINTS = select_sql(_NAMES, _BEHIND.format("?", _NAMES))
# The text of so many points, and the place of the last of them if others follow it.
_FOUND = select_sql("*", _BEHIND.format("$", _NAMES))
_TEXT = (
    """
WITH found AS MATERIALIZED ($found), page AS MATERIALIZED (SELECT * FROM found LIMIT $7)
SELECT (SELECT string_agg($point, ',') FROM page AS metrics), last.*
FROM (SELECT count(*) > $7 AS is_cut FROM found) AS size
LEFT JOIN LATERAL (SELECT $place FROM page OFFSET $7 - 1) AS last ON is_cut
""".replace("$found", _FOUND)
    .replace("$point", object_sql(_POINT))
    .replace("$place", _NAMES)
)


async def get_history(
    session: Session,
    who: Principal,
    run_id: str,
    metric_key: str,
    *,
    max_results: int | None = None,
    page_token: str | None = None,
) -> EncodedJson:
    """The points of a metric in the order of time, step and value, and the token of the next page if there is one.

    Without `max_results` all of them. A key that was never logged has no points.

    Raises:
        ResourceDoesNotExist: there is no such run.
        InvalidParameterValue: `max_results` is below 1, or the token is not one of this history.
    """
    if max_results is not None and max_results < 1:
        raise InvalidParameterValue(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be a positive integer."
        )
    run = await find_run(session, who, Privilege.READ, run_id)
    history = _History(run["id"], metric_key, query_digest("metric history", run_id, metric_key))
    place = _read_place(page_token, history.query) if page_token else _BEFORE_ALL
    return await history.part(session, place, None if max_results is None else min(max_results, MAX_PAGE))


class _History(NamedTuple):
    run: int
    key: str
    query: str
    """The digest that its tokens carry."""

    async def part(self, session: Session, behind: _Place, left: int | None) -> EncodedJson:
        """The points behind a place: no more than are `left` on the caller's page, nor than one part holds."""
        count = PART_POINTS if left is None else min(left, PART_POINTS)
        text, last = await (self._points if session.is_sqlite else self._text)(session, behind, count)
        if last is None:
            return EncodedJson(text)
        if count == left:
            # As text, for JSON has no infinities and its readers round.
            position = (last.timestamp, last.step, last.value.hex(), int(last.is_nan))
            return EncodedJson(text, next_page_token=PageToken.encode(position, query=self.query))
        return EncodedJson(text, lambda session: self.part(session, last, left and left - count))

    async def _text(self, session: Session, behind: _Place, count: int) -> tuple[bytes, _Place | None]:
        text, *last = await session.ask(
            lambda connection: connection.fetchrow(_TEXT, self.run, self.key, *behind, count)
        )
        return (text or "").encode(), None if last[0] is None else _Place(*last)

    async def _points(self, session: Session, behind: _Place, count: int) -> tuple[bytes, _Place | None]:
        points = partial(_points, (self.run, self.key, *behind, count))
        return await session.sqlite(points, is_brief=count <= _MOST_AT_ONCE)


def _points(asked: tuple[Any, ...], connection: InlineConnection) -> tuple[bytes, _Place | None]:
    _, key, *_, count = asked
    found = connection.execute(_POINTS, numbered(*asked)).fetchall()
    points = [
        {"key": key, "value": shown(value, is_nan), "timestamp": timestamp, "step": step}
        for timestamp, step, value, is_nan in found[:count]
    ]
    return msgspec.json.encode(points)[1:-1], _Place(*found[count - 1]) if len(found) > count else None


def _read_place(token: str, query: str) -> _Place:
    timestamp, step, value, is_nan = PageToken.decode(token, query=query, columns=(int, int, str, int))
    try:
        return _Place(int(timestamp), int(step), float.fromhex(str(value)), bool(is_nan))
    except (ValueError, OverflowError):
        raise InvalidParameterValue("Invalid page token: it is not one that this server gave out.") from None
