"""A slice of the attack that `python -m tests.fuzz` makes for minutes."""

from pathlib import Path

import pytest

from tests.fuzz.session import Session

SEED = 20
CASES = 200
LOADS = 16


@pytest.mark.bench
def test_hostile_bodies_and_models_are_refused_and_stop_nothing(tmp_path: Path) -> None:
    """Whatever is sent or loaded, both services answer without a 5xx, in valid JSON, and live on."""
    with Session(tmp_path, SEED) as session:
        session.attack(lambda number: number >= CASES, loads_until=lambda number: number >= LOADS)
        assert [session.case(number) for number in range(30)] == [session.case(number) for number in range(30)]
    assert session.findings == []
    statuses = {outcome for _, outcome in session.counts}
    assert {"200", "400", "413", "415", "loaded"} <= statuses
