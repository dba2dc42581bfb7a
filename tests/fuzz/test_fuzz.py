"""A slice of the attack that `python -m tests.fuzz` makes for minutes."""

import threading
from pathlib import Path

import pytest

from tests.fuzz.__main__ import stays
from tests.fuzz.case import Case
from tests.fuzz.finding import Finding, told
from tests.fuzz.models.good_models import QUICK
from tests.fuzz.probe import busiest
from tests.fuzz.session import Session, faults
from tests.fuzz.watch import Slow, Watch

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
    """Each kind is counted and shown, crashes and stalls before the rest, and each of these: it can be sent again."""
    findings = [Finding("5xx", f"case {number}") for number in range(50)] + [
        *(Finding("stall", f"at case {number}") for number in range(30)),
        Finding("crash", "b"),
        Finding("crash", "b"),
    ]
    lines = list(told(findings))
    assert lines[0] == "82 findings:"
    assert [line.split()[-1] for line in lines[1:4]] == ["crash", "stall", "5xx"]
    assert lines[4:6] == ["WRONG crash: b", "WRONG stall: at case 0"]
    assert lines[34:36] == ["WRONG stall: at case 29", "WRONG 5xx: case 0"]
    assert lines[-1] == "  and 40 others like these"


def test_only_the_thread_that_ran_most_excuses_a_stall() -> None:
    """A thread that did nothing held no lock for long: that it waited for a processor makes no stall shorter."""
    before = {"holder": (5.0, 1.0), "idle": (0.0, 0.0)}
    after = {"holder": (5.4, 1.05), "idle": (0.01, 0.4), "new": (0.02, 0.3)}
    busy_s, turns_s = busiest(before, after)
    assert [busy_s, turns_s] == pytest.approx([0.4, 0.05])
    assert Slow(0.0, 0.5, 0.45, turns_s, busy_s).alone_s == pytest.approx(0.4)


def test_memory_is_told_by_what_stays_of_it() -> None:
    """What large requests take while they are under way is no growth; what is there without them is."""
    watch = Watch.__new__(Watch)
    watch._before_bytes = 100
    watch.memory = [(0.0, 100), (1.0, 90), (4.0, 900), (5.0, 300), (9.0, 310), (10.0, 320)]
    assert watch.growth_bytes(2) == [(0, 800), (200, 220)]
    assert stays([300] * 10) and stays([*[0] * 4, *[500] * 6])
    assert not stays(range(0, 2000, 200))


def test_each_case_that_stalls_alone_is_told_with_how_to_send_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all that was under way in a stall, every case that stalls again is a finding that names its options."""
    session = _after_stalls(monkeypatch, {1: 0.4, 2: 0.1, 3: 0.3})
    stalls = session.find_stalls()
    assert (stalls.alone_s, stalls.largest_s, stalls.unexplained) == ({1: 0.4, 3: 0.3}, 0.4, [])
    assert [finding.kind for finding in session.findings] == ["stall", "stall"]
    assert "0.40 s" in session.findings[0].what and "--seed 20 --case 1 (" in session.findings[0].what
    assert "--seed 20 --case 3 (" in session.findings[1].what


def test_what_there_is_no_time_to_send_again_is_told_by_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that finds more than it can send again hides none of it."""
    monkeypatch.setattr("tests.fuzz.session.AGAIN_S", -1.0)
    session = _after_stalls(monkeypatch, {1: 0.4, 2: 0.4})
    assert session.find_stalls().alone_s == {}
    assert session.findings == [Finding("unsent", "no time was left to send again what stalled together: 1, 2")]


def _after_stalls(monkeypatch: pytest.MonkeyPatch, stalls_s: dict[int, float]) -> Session:
    """A session in which these numbers were under way in one stall, and stall so when they are sent again."""
    session = Session.__new__(Session)
    watch = Watch.__new__(Watch)
    watch.slow = [Slow(10.0, 11.0, 0.9)]
    monkeypatch.setattr(watch, "catch_up", lambda: None)
    sent: list[int] = []
    monkeypatch.setattr(session, "again_together", lambda numbers: sent.append(*numbers))
    monkeypatch.setattr(watch, "largest_stall_s", lambda _began_s: stalls_s[sent[-1]])
    monkeypatch.setattr(session, "case", lambda _number: Case("json", "serving", "POST", "/invocations", b"{}"))
    session.watches = {"serving": watch}
    session.findings = []
    session._seed = 20
    session._noting = threading.Lock()
    session._spans = dict.fromkeys(stalls_s, (10.5, 10.7))
    return session


def test_what_stalls_together_is_narrowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of cases that stall only together, those are named without which they do not."""
    monkeypatch.setattr(Session, "_stall_again_s", lambda _self, numbers, **_: float({5, 6} <= set(numbers)))
    session = Session.__new__(Session)
    assert session._smallest(list(range(1, 9))) == [5, 6]


def test_what_nobody_can_catch_is_no_fault_of_the_service() -> None:
    """A traceback in a log is a fault, but for the one that follows on an exception that Python ignores."""
    log = "Exception ignored on calling ctypes callback function f\nTraceback (most recent call last):\nok\nTraceback x"
    assert list(faults(log)) == ["Traceback x"]
