"""A few points of a history that is too long to be read, found by its index: no point in between is looked at.

The index orders a history by time and step. It is halved again and again between two points that are known, at the
middle of their times (or of their steps, where they have one time), and the points next to each middle are looked up:
as many look-ups as points are wanted, whatever the length of the history and however its points lie.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import TextClause, text

from tiltyard_registry.store.sql.session import Session

_MAX_LEVELS = 128
_LEAST = -(2**63) + 1

_OF_HISTORY = "FROM metrics WHERE run = :run AND key = :key"
FIRST = text("SELECT timestamp, step $of_history ORDER BY timestamp, step LIMIT 1".replace("$of_history", _OF_HISTORY))
LAST = text(
    "SELECT timestamp, step $of_history ORDER BY timestamp DESC, step DESC LIMIT 1".replace("$of_history", _OF_HISTORY)
)
_BEFORE = f"{_OF_HISTORY} AND (timestamp, step) < ($time, $step) ORDER BY timestamp DESC, step DESC LIMIT 1"
_BEHIND = f"{_OF_HISTORY} AND (timestamp, step) >= ($time, $step) ORDER BY timestamp, step LIMIT 1"
_PROBE_POSTGRESQL = """
SELECT before.timestamp, before.step, behind.timestamp, behind.step FROM $wanted
CROSS JOIN LATERAL (SELECT timestamp, step $before) AS before
CROSS JOIN LATERAL (SELECT timestamp, step $behind) AS behind"""
_PROBE_SQLITE = """
SELECT (SELECT json_array(timestamp, step) $before), (SELECT json_array(timestamp, step) $behind) FROM $wanted"""
# The order of the tables is the order of the look-ups.
_POINTS = """
SELECT metrics.step, metrics.timestamp, metrics.value, metrics.is_nan FROM $wanted CROSS JOIN metrics
WHERE metrics.run = :run AND metrics.key = :key AND metrics.timestamp = $time AND metrics.step = $step
ORDER BY metrics.step, metrics.timestamp, metrics.value, metrics.is_nan LIMIT :most"""


def _statement(template: str, *, is_sqlite: bool) -> TextClause:
    """A statement over the places that its parameters give, as rows `wanted`."""
    if is_sqlite:
        wanted = "json_each(:places) AS wanted"
        time, step = "json_extract(wanted.value, '$[0]')", "json_extract(wanted.value, '$[1]')"
    else:
        wanted = "unnest(CAST(:times AS bigint[]), CAST(:steps AS bigint[])) AS wanted (timestamp, step)"
        time, step = "wanted.timestamp", "wanted.step"
    statement = template.replace("$before", _BEFORE).replace("$behind", _BEHIND).replace("$wanted", wanted)
    return text(statement.replace("$time", time).replace("$step", step))


# By whether it is SQLite that is asked.
PROBE = {
    is_sqlite: _statement((_PROBE_POSTGRESQL, _PROBE_SQLITE)[is_sqlite], is_sqlite=is_sqlite)
    for is_sqlite in (False, True)
}
POINTS = {is_sqlite: _statement(_POINTS, is_sqlite=is_sqlite) for is_sqlite in (False, True)}


class Place(NamedTuple):
    """Where points lie in a history; of one time and step there may be several."""

    timestamp: int
    step: int


class _History(NamedTuple):
    session: Session
    run: int
    key: str

    async def end(self, *, last: bool) -> Place | None:
        row = await self.session.one(LAST if last else FIRST, {"run": self.run, "key": self.key})
        return None if row is None else Place(row["timestamp"], row["step"])

    async def probe(self, middles: Sequence[Place]) -> list[tuple[Place, Place]]:
        """For each middle the last point before it and the first at or behind it. Of both there must be one."""
        found = (await self.session.execute(PROBE[self.session.is_sqlite], self._asked(middles))).all()
        if self.session.is_sqlite:
            return [(Place(*json.loads(row[0])), Place(*json.loads(row[1]))) for row in found]
        return [(Place(*row[:2]), Place(*row[2:])) for row in found]

    def _asked(self, places: Sequence[Place]) -> dict[str, Any]:
        of_history = {"run": self.run, "key": self.key}
        if self.session.is_sqlite:
            return {**of_history, "places": json.dumps(places)}
        return {
            **of_history,
            "times": [place.timestamp for place in places],
            "steps": [place.step for place in places],
        }

    async def first_step(self, step: int, low: Place, high: Place) -> Place:
        """The first place from `low` on whose step is at least `step`, or `high`; where steps rise with time."""
        while low.step < step and low < high:
            before, behind = (await self.probe([_middle(low, high)]))[0]
            if behind.step < step:
                low = behind
            elif before.step < step:
                return behind
            else:
                high = before
        return low

    async def points(self, places: Sequence[Place], most: int) -> list[tuple[int, int, float, bool]]:
        asked = {**self._asked(places), "most": most}
        found = (await self.session.execute(POINTS[self.session.is_sqlite], asked)).all()
        return [(row[0], row[1], row[2], bool(row[3])) for row in found]


async def sample(
    session: Session, run: int, key: str, count: int, *, steps: tuple[int, int] | None = None
) -> list[tuple[int, int, float, bool]]:
    """About `count` points `(step, timestamp, value, is_nan)` over the history's time, by step, its ends among them.

    Within `steps`, both included; where steps do not rise with time, some points of that interval may be passed over.
    """
    history = _History(session, run, key)
    first, last = await history.end(last=False), await history.end(last=True)
    if first is None or last is None:
        return []
    if steps is not None:
        low = await history.first_step(steps[0], first, last)
        high = await history.first_step(steps[1], low, last)
        first, last = low, high
    places = await _spread(history, first, last, count)
    points = await history.points(places, count + 2)
    return [point for point in points if steps is None or steps[0] <= point[0] <= steps[1]]


async def _spread(history: _History, first: Place, last: Place, count: int) -> list[Place]:
    found = {first, last}
    intervals = [(first, last)]
    for _ in range(_MAX_LEVELS):
        intervals = [(low, high) for low, high in intervals if low < high]
        # No more than are wanted, evenly of all.
        left = (count - len(found) + 1) // 2
        if len(intervals) > left:
            intervals = [intervals[at * len(intervals) // left] for at in range(max(0, left))]
        if not intervals:
            break
        answers = await history.probe([_middle(low, high) for low, high in intervals])
        halved = []
        for (low, high), (before, behind) in zip(intervals, answers, strict=True):
            found |= {before, behind}
            halved += [(low, before), (behind, high)]
        intervals = halved
    return sorted(found)


def _middle(low: Place, high: Place) -> Place:
    """A place behind `low`, and not behind `high`."""
    if high.timestamp > low.timestamp:
        return Place((low.timestamp + high.timestamp + 1) // 2, _LEAST)
    return Place(low.timestamp, (low.step + high.step + 1) // 2)
