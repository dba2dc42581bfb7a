"""Points of a long history are chosen by the index: few look-ups, whatever its length and however its points lie."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, TextClause, event, insert, select

from tests.registry.store_house import House
from tiltyard_registry.store.runs import chart_histories, metric_samples, runs
from tiltyard_registry.tables.runs import metrics
from tiltyard_registry.tables.runs import runs as run_rows


async def history(house: House, points: Sequence[tuple[int, int]]) -> tuple[str, int]:
    """The id and the number of a run with these points, `(timestamp, step)`, of the metric m."""
    run_id = (await house.do(runs.create_run, "0"))["info"]["run_id"]
    async with house.database.write() as session:
        run = await session.scalar(select(run_rows.c.id).where(run_rows.c.run_id == run_id))
        rows = [
            {"run": run, "key": "m", "timestamp": at, "step": step, "value": 1.0, "is_nan": False}
            for at, step in points
        ]
        for start in range(0, len(rows), 10_000):
            await session.execute(insert(metrics), rows[start : start + 10_000])
    return run_id, run


async def sampled(house: House, run: int, count: int, **options: Any) -> list[tuple[int, int]]:
    """The chosen points as `(timestamp, step)`."""
    async with house.database.read() as session:
        return [point[1::-1] for point in await metric_samples.sample(session, run, "m", count, **options)]


LONG = 12_000
SHAPES = {
    "one after the other": [(1_700_000_000_000 + n * 10, n) for n in range(LONG)],
    "all at one time": [(5, n) for n in range(LONG)],
    "at two times": [(5 + (n >= LONG // 2), n) for n in range(LONG)],
    "bursts": [(1_700_000_000_000 + (n // 4_000) * 10**9 + n % 4_000, n) for n in range(LONG)],
    "without steps": [(n, 0) for n in range(LONG)],
    "far steps": [(n // 1000, n * 10**12) for n in range(LONG)],
}


@pytest.fixture(autouse=True)
def long_is_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A history counts as long when it takes a moment to write."""
    monkeypatch.setattr(chart_histories, "EXACT_POINTS", LONG // 2)


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_long_history_is_thinned_out_by_look_ups(house: House, shape: str) -> None:
    """As many points as asked, its ends among them and none far from the next; statements read only what they find."""
    points = SHAPES[shape]
    run_id, run = await history(house, points)
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    found = await sampled(house, run, 500)
    event.remove(Engine, "before_cursor_execute", note)
    assert len(statements) < 70
    assert not any("row_number" in statement or "count(" in statement for statement in statements)
    assert 400 <= len(found) <= 502 and {points[0], points[-1]} <= set(found) <= set(points)
    by_place = {point: number for number, point in enumerate(points)}
    numbers = sorted(by_place[point] for point in found)
    gaps = [behind - before for before, behind in pairwise(numbers)]
    assert max(gaps) < LONG // 10
    rows = await house.see(chart_histories.get_sampled_histories, [run_id], "m", max_results=100)
    assert 80 <= len(rows) <= 102 and [row["step"] for row in rows] == sorted(row["step"] for row in rows)


async def test_an_interval_of_steps_is_found_by_look_ups_too(house: House) -> None:
    """Where steps rise with time, every chosen point lies within, and the interval is filled."""
    run_id, _ = await history(house, SHAPES["one after the other"])
    rows = await house.see(
        chart_histories.get_sampled_histories, [run_id], "m", start_step=6_000, end_step=6_999, max_results=200
    )
    steps = [row["step"] for row in rows]
    assert 150 <= len(steps) <= 202 and (steps[0], steps[-1]) == (6_000, 6_999)


async def test_several_long_histories_share_the_points(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer has more points than one page, and a short history beside a long one is whole."""
    monkeypatch.setattr(chart_histories, "MAX_POINTS", 1_000)
    ids = [(await history(house, SHAPES["one after the other"]))[0], (await history(house, [(1, 1), (2, 2)]))[0]]
    rows = await house.see(chart_histories.get_sampled_histories, ids, "m")
    assert len(rows) <= 1_004
    assert [row["step"] for row in rows if row["run_id"] == ids[1]] == [1, 2]


PLACES = st.tuples(st.integers(0, 6) | st.integers(0, 2**62), st.integers(-3, 3) | st.integers(-(2**62), 2**62))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(PLACES, min_size=1, max_size=25))
async def test_of_a_short_history_nothing_is_passed_over(house: House, points: set[tuple[int, int]]) -> None:
    """However its points lie, all are found where many more are wanted."""
    _, run = await history(house, sorted(points))
    assert sorted(await sampled(house, run, 100)) == sorted(points)


STATEMENTS = [metric_samples.PROBE[True], metric_samples.POINTS[True], metric_samples.FIRST, metric_samples.LAST]


@pytest.mark.parametrize("of", STATEMENTS, ids=["probe", "points", "first", "last"])
async def test_each_look_up_goes_by_the_index(sqlite_url: str, tmp_path: Any, of: TextClause) -> None:
    """The plan searches the history's key with time, or its beginning; it never scans."""
    house = House(sqlite_url, str(tmp_path / "artifacts"))
    statement = str(of)
    async with house.database.read() as session:
        asked = {"run": 1, "key": "m", "places": "[]", "most": 1}
        names = {name: value for name, value in asked.items() if f":{name}" in statement}
        plan = await session.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", names)
        steps = [row["detail"] for row in plan.mappings()]
    searches = [step for step in steps if "metrics" in step]
    assert searches and all("SEARCH" in step and "key=?" in step for step in searches), steps
    assert not any("TEMP B-TREE" in step for step in steps) or of is metric_samples.POINTS[True]
    await house.database.close()
