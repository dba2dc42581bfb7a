"""The retry policy, driven by hand: it does no I/O, so no test waits."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.client.call import Answer
from tiltyard.client.retry import MAX_DELAY_S, TOTAL_S, Outcome, Unanswered, Unsent, retrying


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def drive(outcome_of: Callable[[int], Outcome], *, creates: bool = False) -> tuple[list[float], Outcome]:
    """The delays that the policy asks for, and its last outcome, when try `n` has `outcome_of(n)`."""
    clock = Clock()
    policy = retrying(creates=creates, clock=clock, jitter=lambda: 0.5)
    delays = [next(policy)]
    for number in range(10_000):
        clock.now_s += delays[-1]
        try:
            delays.append(policy.send(outcome_of(number)))
        except StopIteration as end:
            return delays, end.value
    raise AssertionError("the policy never ends")


@pytest.mark.parametrize("status", [200, 304, 400, 401, 403, 404, 409, 413, 501])
def test_a_clear_answer_is_not_repeated(status: int) -> None:
    """Success and mistakes of the caller end it at once, without a delay."""
    assert drive(lambda _: Answer(status, {}, b"")) == ([0.0], Answer(status, {}, b""))


@pytest.mark.parametrize(("status", "creates"), [(429, False), (429, True), (502, False), (503, False), (504, False)])
def test_a_busy_server_is_asked_again(status: int, creates: bool) -> None:
    """Answers that mean 'not now' are repeated; what creates something only where nothing was done."""
    delays, last = drive(lambda n: Answer(status if n < 3 else 200, {}, b""), creates=creates)
    assert len(delays) == 4
    assert isinstance(last, Answer)
    assert last.status == 200


@pytest.mark.parametrize(("creates", "tries"), [(False, 2), (True, 1)])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_fault_is_repeated_unless_the_call_creates(creates: bool, tries: int, status: int) -> None:
    """After a 5xx or a lost answer the thing may exist already, so a create is not sent twice."""
    assert len(drive(lambda n: Answer(status if n == 0 else 200, {}, b""), creates=creates)[0]) == tries
    lost: list[Outcome] = [Unanswered("read timeout"), Answer(200, {}, b"")]
    assert len(drive(lambda n: lost[n], creates=creates)[0]) == tries


def test_what_was_never_sent_is_always_repeated() -> None:
    """A refused connection cannot have created anything."""
    tries: list[Outcome] = [Unsent("refused"), Unsent("refused"), Answer(200, {}, b"")]
    assert len(drive(lambda n: tries[n], creates=True)[0]) == 3


def test_retry_after_is_honoured() -> None:
    """The server's own wish replaces the delay; a date or nonsense does not."""
    wish = Answer(503, {"retry-after": "7"}, b"")
    assert drive(lambda n: wish if n == 0 else Answer(200, {}, b""))[0] == [0.0, 7.0]
    nonsense = Answer(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"")
    assert drive(lambda n: nonsense if n == 0 else Answer(200, {}, b""))[0] == [0.0, 0.1]


def test_a_wish_beyond_the_budget_ends_it() -> None:
    """Nobody sleeps an hour because a server says so."""
    wish = Answer(503, {"retry-after": "3600"}, b"")
    assert drive(lambda _: wish) == ([0.0], wish)


@given(
    outcomes=st.lists(
        st.sampled_from([Answer(503, {}, b""), Answer(500, {}, b""), Unsent("x"), Unanswered("y")])
        | st.floats(0, 100).map(lambda wish: Answer(429, {"retry-after": str(wish)}, b"")),
        min_size=1,
        max_size=200,
    )
)
def test_the_total_time_is_bounded(outcomes: list[Outcome]) -> None:
    """However a server fails, the waits never add up to more than the budget, and each is bounded."""
    delays, last = drive(lambda n: outcomes[n % len(outcomes)])
    # Added up without rounding, which the policy's own sum has and that of some Pythons has not.
    assert math.fsum(delays) <= TOTAL_S + 1e-9
    assert all(0 <= delay <= max(MAX_DELAY_S * 1.5, TOTAL_S) for delay in delays)
    assert last == outcomes[(len(delays) - 1) % len(outcomes)]
