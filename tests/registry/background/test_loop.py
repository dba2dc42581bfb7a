"""A loop in the background goes on whatever becomes of a step, until it is stopped."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.fixtures.waiting import until
from tiltyard_registry.background.loop import Loop


class Work:
    """Steps that fail or say how long to wait, as it is told; the last of them is repeated."""

    def __init__(self, *outcomes: float | Exception | None) -> None:
        self._outcomes = list(outcomes)
        self.done = 0

    async def step(self) -> float | None:
        self.done += 1
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
async def loops() -> AsyncIterator[list[Loop]]:
    """What is put here is stopped at the end."""
    started: list[Loop] = []
    yield started
    for loop in started:
        await loop.stop()


async def test_a_step_follows_after_as_long_as_the_last_one_said(loops: list[Loop]) -> None:
    """One that says None is followed by no other before it is woken."""
    work, wake = Work(0.0, 0.01, None), asyncio.Event()
    loops.append(Loop(work.step, "do it", try_again_s=0.0, wake=wake))
    loops[0].start()
    await until(lambda: work.done == 3)
    wake.set()
    await until(lambda: work.done == 4)
    assert not wake.is_set()


async def test_a_step_that_fails_is_tried_again(loops: list[Loop], caplog: pytest.LogCaptureFixture) -> None:
    """After a time of its own, and the log says what could not be done."""
    work = Work(OSError("away"), None)
    loops.append(Loop(work.step, "do it", try_again_s=0.0))
    loops[0].start()
    await until(lambda: work.done == 2)
    assert [record.getMessage() for record in caplog.records] == ["cannot do it, trying again later"]


async def test_a_wake_during_a_step_is_not_lost(loops: list[Loop]) -> None:
    """What came too late for that step is for the next."""
    wake, steps = asyncio.Event(), 0

    async def step() -> None:
        nonlocal steps
        steps += 1
        if steps == 1:
            wake.set()

    loops.append(Loop(step, "do it", try_again_s=0.0, wake=wake))
    loops[0].start()
    await until(lambda: steps == 2)


async def test_a_stop_ends_a_step_that_has_begun() -> None:
    """It returns when that is over; a loop that was never started is stopped as well."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def step() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    loop = Loop(step, "do it", try_again_s=0.0)
    await loop.stop()
    loop.start()
    await begun.wait()
    await loop.stop()
    assert ended.is_set()
