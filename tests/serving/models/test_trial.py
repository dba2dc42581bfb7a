"""A new version is judged by what the version before it can answer, and by nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.serving.models.test_served_model import until
from tiltyard.errors import BadRequest, DeadlineExceeded, InternalError, RequestLimitExceeded
from tiltyard_serving.models.loaded_model import MODEL_FAILED
from tiltyard_serving.models.trial import Ask, Trial


class Version:
    """A version as far as a trial knows it."""

    def __init__(self) -> None:
        self.users = 1

    def hold(self) -> None:
        self.users += 1

    def close(self) -> None:
        self.users -= 1


class Case:
    """A trial of ten requests of which half may fail, and what it decided."""

    def __init__(self) -> None:
        self.new, self.before = Version(), Version()
        self.decided: list[str | None] = []
        new: Any = self.new
        before: Any = self.before
        self.trial = Trial(new, before, 10, 0.5, self.decided.append)
        self.asked = 0

    def fail(self, answer: Callable[[], Awaitable[object]], error: Exception | None = None, times: int = 1) -> None:
        """The new version fails, and the one before gives `answer` when it is asked the same."""

        async def ask(model: Any) -> object:
            assert model is self.before
            self.asked += 1
            return await answer()

        found: Ask = ask
        new: Any = self.new
        for _ in range(times):
            self.trial.count(new, error or BadRequest(MODEL_FAILED), lambda: found, 0.01)


async def answers() -> object:
    return b"{}"


async def fails() -> object:
    raise BadRequest(MODEL_FAILED)


async def never() -> object:
    await asyncio.Event().wait()
    return None


async def test_what_both_versions_refuse_says_nothing() -> None:
    """However many requests no version can answer, the new one stays; its own failures are still counted."""
    case = Case()
    case.fail(fails, times=100)
    await until(lambda: case.asked == 100 and case.before.users == 1)
    assert case.decided == []
    case.fail(answers, times=5)
    await until(lambda: case.asked == 105 and case.before.users == 1)
    assert case.decided == []
    case.fail(answers)
    await until(lambda: bool(case.decided))
    assert case.decided == ["6 of its first 6 requests failed, more than 50% of 10 may not"]


async def test_a_new_version_that_is_too_slow_fails_where_the_old_one_is_not() -> None:
    """For a request over its time the version before has as long as the new one had."""
    case = Case()
    case.fail(never, DeadlineExceeded("late"), times=10)
    await until(lambda: case.asked == 10 and case.before.users == 1)
    assert case.decided == []
    case.fail(answers, DeadlineExceeded("late"), times=6)
    await until(lambda: bool(case.decided))


@pytest.mark.parametrize("error", [BadRequest("unreadable"), RequestLimitExceeded("full")])
async def test_what_is_not_the_models_fault_is_no_failure(error: Exception) -> None:
    """Requests that never came to the model, or that it refused by its signature, let it pass."""
    case = Case()
    case.fail(answers, error, times=10)
    assert (case.decided, case.asked) == ([None], 0)


async def test_a_trial_that_is_over_asks_nobody_any_more() -> None:
    """Comparisons that still go on are ended, and the version before has no user left of them."""
    case = Case()
    case.fail(never, InternalError("x"), times=3)
    await until(lambda: case.asked == 3)
    case.trial.close()
    await until(lambda: case.before.users == 1)
    case.fail(answers, InternalError("x"), times=10)
    assert (case.decided, case.asked) == ([], 3)
