"""A slot swaps what is current without anybody noticing."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.errors import TemporarilyUnavailable
from tiltyard_serving.models.slot import Slot


class Version:
    """A value that must not be used after it was retired."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.retired = 0

    def retire(self) -> None:
        self.retired += 1

    def answer(self) -> int:
        assert not self.retired, "used after it was retired"
        return self.number


def test_an_empty_slot_says_try_again() -> None:
    """Without a value a lease is refused with a time to try again."""
    with pytest.raises(TemporarilyUnavailable) as refused:
        Slot("iris", Version.retire).lease()
    assert refused.value.retry_after_s


def test_the_last_lease_retires_what_was_replaced() -> None:
    """A replaced value is retired once, when its last lease ends and not before."""
    slot = Slot("iris", Version.retire)
    old, new = Version(1), Version(2)
    slot.swap(old)
    with slot.lease() as first:
        with slot.lease() as second:
            slot.swap(new)
            assert (first, second, slot.current) == (old, old, new)
        assert old.retired == 0
    assert (old.retired, new.retired) == (1, 0)


def test_an_idle_value_retires_at_once() -> None:
    """A value that nobody leases is retired by the swap itself."""
    slot = Slot("iris", Version.retire)
    old = Version(1)
    slot.swap(old)
    slot.swap(None)
    assert old.retired == 1
    assert slot.current is None


@settings(max_examples=50)
@given(
    callers=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6), st.booleans()), min_size=1, max_size=40),
    swaps=st.lists(st.integers(0, 20), max_size=10),
)
async def test_swaps_and_cancellations_at_any_instant(callers: list[tuple[int, int, bool]], swaps: list[int]) -> None:
    """Whenever swaps and cancellations come, one request sees one version, and each old one retires once."""
    slot = Slot("iris", Version.retire)
    versions = [Version(0)]
    slot.swap(versions[0])

    async def call(start: int, work: int) -> None:
        for _ in range(start):
            await asyncio.sleep(0)
        with slot.lease() as version:
            number = version.answer()
            for _ in range(work):
                await asyncio.sleep(0)
                assert version.answer() == number

    async def swap(at: int) -> None:
        for _ in range(at):
            await asyncio.sleep(0)
        versions.append(Version(len(versions)))
        slot.swap(versions[-1])

    tasks = [asyncio.create_task(call(start, work)) for start, work, _ in callers]
    moves = [asyncio.create_task(swap(at)) for at in swaps]
    for _ in range(5):
        await asyncio.sleep(0)
    for task, (_, _, cancelled) in zip(tasks, callers, strict=True):
        if cancelled:
            task.cancel()
    results = await asyncio.gather(*tasks, *moves, return_exceptions=True)
    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
    assert slot.current is versions[-1]
    assert [version.retired for version in versions] == [1] * (len(versions) - 1) + [0]
