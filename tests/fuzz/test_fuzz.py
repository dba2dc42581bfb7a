"""A slice of the attack that `python -m tests.fuzz` makes for minutes."""

from pathlib import Path

import pytest

from tests.fuzz.finding import Finding, told
from tests.fuzz.good_models import QUICK
from tests.fuzz.session import Session

SEED = 20
CASES = 50
# Each good model is spoilt once, but for those of libraries that take long to import.
LOADS = 11


@pytest.mark.timeout(1200)
def test_hostile_bodies_and_models_are_refused_and_stop_nothing(tmp_path: Path) -> None:
    """Whatever is sent or loaded, both services answer without a 5xx, in valid JSON, and live on."""
    with Session(tmp_path, SEED, QUICK) as session:
        session.attack(lambda number: number >= CASES, loads_until=lambda number: number >= LOADS)
        assert [session.case(number) for number in range(30)] == [session.case(number) for number in range(30)]
    assert not session.findings, "\n".join(told(session.findings))
    statuses = {outcome for _, outcome in session.counts}
    assert {"200", "400", "413", "415"} <= statuses
    assert any(outcome.startswith("refused") for outcome in statuses)
    for watch in session.watches.values():
        assert watch.memory


def test_the_worst_findings_are_told_first() -> None:
    """However many there are, each kind is counted and shown once, crashes and stalls before the rest."""
    findings = [Finding("5xx", f"case {number}") for number in range(50)] + [
        Finding("stall", "a"),
        Finding("crash", "b"),
    ]
    lines = list(told(findings))
    assert lines[0] == "52 findings:"
    assert [line.split()[-1] for line in lines[1:4]] == ["crash", "stall", "5xx"]
    assert lines[4:] == ["WRONG crash: b", "WRONG stall: a", "WRONG 5xx: case 0"]


def test_what_stalls_together_is_narrowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of cases that stall only together, those are named without which they do not."""
    monkeypatch.setattr(Session, "_stall_again_s", lambda _self, numbers, **_: float({5, 6} <= set(numbers)))
    session = Session.__new__(Session)
    assert session._smallest(list(range(1, 9))) == [5, 6]
