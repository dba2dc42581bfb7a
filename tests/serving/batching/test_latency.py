"""What predictions will take is learnt from those that were made."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard_serving.batching.latency import LatencyEstimate


@given(fixed_us=st.floats(1, 1000), row_us=st.floats(0.001, 100), sizes=st.lists(st.integers(1, 4096), min_size=1))
def test_what_is_expected_is_rather_too_much(fixed_us: float, row_us: float, sizes: list[int]) -> None:
    """For a model whose calls and rows cost the same each time, never less than half of what it will take."""
    pace = LatencyEstimate()
    for rows in sizes:
        pace.observe(rows, 1e-6 * (fixed_us + row_us * rows))
    for rows in (*sizes, 2 * max(sizes), 16 * max(sizes)):
        assert pace.expected_s(rows) >= 0.5e-6 * (fixed_us + row_us * rows)


@given(fixed_us=st.floats(1, 1000), row_us=st.floats(0.001, 100), sizes=st.lists(st.integers(1, 4096), min_size=1))
def test_the_least_is_rather_too_little(fixed_us: float, row_us: float, sizes: list[int]) -> None:
    """Whatever was predicted, nobody is thought to wait for more than twice of what it will take."""
    pace = LatencyEstimate()
    for rows in sizes:
        pace.observe(rows, 1e-6 * (fixed_us + row_us * rows))
    for rows in (1, *sizes, 2 * max(sizes), 16 * max(sizes)):
        assert pace.least_s(rows) <= 2.01e-6 * (fixed_us + row_us * rows)


def test_what_single_rows_take_says_little_about_many() -> None:
    """A call that takes its time whatever it gets is known to; what grows with the rows is known by two sizes."""
    pace = LatencyEstimate()
    assert pace.least_s(1000) == 0
    for _ in range(20):
        pace.observe(1, 0.1)
    assert pace.least_s(1000) == pytest.approx(0.1)
    pace.observe(1000, 0.1)
    assert pace.least_s(100_000) == pytest.approx(0.1)
    growing = LatencyEstimate()
    growing.observe(2, 0.002)
    growing.observe(16, 0.016)
    assert growing.least_s(1600) > 0.8


def test_nobody_knows_before_the_first_prediction() -> None:
    """Nor below the fewest rows that were predicted."""
    pace = LatencyEstimate()
    assert (pace.expected_s(1), pace.seconds_per_row) == (math.inf, 0)
    pace.observe(64, 0.001)
    assert pace.expected_s(1) == math.inf
    assert pace.expected_s(64) == 0.001


def test_what_held_up_one_prediction_is_not_believed_at_once() -> None:
    """One that took a thousand times as long counts as ten times; when they all do, that is soon known."""
    pace = LatencyEstimate()
    pace.observe(8, 0.0001)
    pace.observe(8, 0.1)
    assert pace.expected_s(8) < 0.0003
    for _ in range(40):
        pace.observe(8, 0.1)
    assert 0.09 < pace.expected_s(8) <= 0.1


def test_predictions_made_at_once_share_the_processors() -> None:
    """A row that keeps one of two threads busy for a second keeps the others waiting for half of one."""
    alone, beside = LatencyEstimate(), LatencyEstimate()
    alone.observe(10, 1.0)
    beside.observe(10, 2.0, among=2)
    assert alone.seconds_per_row == beside.seconds_per_row


_ROWS, _SECONDS = st.integers(0, 1 << 20), st.just(0.0) | st.floats(1e-12, 100)


@given(seen=st.lists(st.tuples(_ROWS, _SECONDS), max_size=8), rows=_ROWS)
def test_no_wait_is_longer_than_the_rows_say(seen: list[tuple[int, float]], rows: int) -> None:
    """What is far from the longest wait by its rows alone need not be looked at more closely."""
    pace = LatencyEstimate()
    for predicted, seconds in seen:
        pace.observe(predicted, seconds)
    assert pace.least_s(rows) <= 2 * max(1, rows) * pace.most_s_per_row * (1 + 1e-9)
