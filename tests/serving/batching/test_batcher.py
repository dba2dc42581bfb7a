"""Micro-batches answer every item exactly as it would be answered alone, whatever happens around it."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.waiting import PATIENCE_S, until
from tiltyard.errors import RequestLimitExceeded
from tiltyard_serving.batching.batch import Batch, Limits, Steps
from tiltyard_serving.batching.batcher import Batcher

LIMITS = Limits(requests=1000, rows=100_000, batch_rows=64, wait_s=60.0)
POISON = -1
ABSENT = -2


class Doubler:
    """A row-wise model: doubles each row. A poisoned row raises, and what was predicted is written down."""

    def __init__(self, pause_s: float = 0.0, hold: threading.Event | None = None) -> None:
        self.batches: list[list[int]] = []
        self.threads: list[int] = []
        self.pause_s = pause_s
        self.work_s = 0.0
        self.hold = hold
        self.begun = threading.Event()
        # Every prediction waits until so many were under way at once.
        self.together = 0
        self.are_together = threading.Event()
        self.error: BaseException = ValueError("poisoned")
        self.among: list[int] = []
        self.at_once = 0
        self.most_at_once = 0

    def merge(self, items: Sequence[Sequence[int]]) -> list[int]:
        return [row for item in items for row in item]

    def predict(self, rows: list[int]) -> list[int]:
        self.begun.set()
        if self.hold is not None:
            self.hold.wait(PATIENCE_S)
        self.batches.append(rows)
        self.threads.append(threading.get_ident())
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        if self.at_once >= self.together:
            self.are_together.set()
        # One that is told that it is alone waits for nobody.
        if self.among[-1:] != [1]:
            self.are_together.wait(PATIENCE_S)
        if self.pause_s:
            time.sleep(self.pause_s)
        until_s = time.thread_time() + self.work_s
        while time.thread_time() < until_s:
            pass
        self.at_once -= 1
        if POISON in rows:
            raise self.error
        return [2 * row for row in rows if row != ABSENT]

    def split(self, output: list[int], counts: Sequence[int]) -> list[list[int]] | None:
        if len(output) != sum(counts):
            return None
        parts, start = [], 0
        for count in counts:
            parts.append(output[start : start + count])
            start += count
        return parts

    def steps(
        self, encode: Callable[[Any], Any] = tuple, *, brief: bool = False, at_once: int = 1
    ) -> Steps[Sequence[int], tuple[int, ...]]:
        return Steps(self.merge, self.predict, self.split, encode, brief, at_once, self.among.append)


def submit(batcher: Batcher[Any, Any], item: Sequence[int], key: object = "same") -> "asyncio.Future[tuple[int, ...]]":
    future: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
    batcher.submit(future, item, rows=len(item), merge_key=key)
    return future


async def outcome(future: "asyncio.Future[Any]") -> Any:
    try:
        return await asyncio.wait_for(future, PATIENCE_S)
    except (Exception, asyncio.CancelledError) as error:
        return type(error)


ITEMS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 9) | st.just(POISON), min_size=0, max_size=5),
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["keep", "keep", "cancel now", "cancel soon"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60)
@given(
    items=ITEMS,
    merging=st.booleans(),
    batch_rows=st.integers(1, 20),
    brief=st.booleans(),
    at_once=st.integers(1, 3),
    all_are_long=st.booleans(),
)
async def test_every_item_gets_its_own_answer(
    items: list[Any], merging: bool, batch_rows: int, brief: bool, at_once: int, all_are_long: bool
) -> None:
    """Whoever is cancelled or poisoned, each other item gets the answer it would get alone, and none hangs."""
    model = Doubler()
    limits = Limits(requests=1000, rows=100_000, batch_rows=batch_rows, wait_s=60.0)
    name = f"doubler {uuid4().hex}"
    batcher = Batcher(name, model.steps(brief=brief, at_once=at_once), limits, merging=merging)
    if all_are_long:
        batcher.long_rows, batcher.long_s = 0, 0.0
    futures = []
    for number, (plain, key, fate, breathe) in enumerate(items):
        rows = [row if row == POISON else row + 10 * number for row in plain]
        future = submit(batcher, rows, key)
        futures.append((rows, fate, future))
        if fate == "cancel now":
            future.cancel()
        if fate == "cancel soon":
            asyncio.get_running_loop().call_later(0.0005, future.cancel)
        if breathe:
            await asyncio.sleep(0)
    for rows, fate, future in futures:
        came = await outcome(future)
        expected = ValueError if POISON in rows else tuple(2 * row for row in rows)
        assert came == expected or (fate != "keep" and came is asyncio.CancelledError)
    batcher.close()
    await until(lambda: not any(name in thread.name for thread in threading.enumerate()))
    await asyncio.sleep(0)
    assert (batcher.queue.requests, batcher.queue.rows) == (0, 0)


async def test_what_arrived_during_a_prediction_is_the_next_batch() -> None:
    """Items that arrive while the thread is busy are merged into one batch, without any timer."""
    hold = threading.Event()
    model = Doubler(hold=hold)
    batcher = Batcher("doubler", model.steps(), LIMITS, merging=True)
    first = submit(batcher, [1])
    await until(model.begun.is_set)
    others = [submit(batcher, [number]) for number in range(2, 10)]
    hold.set()
    assert await first == (2,)
    assert [await other for other in others] == [(2 * number,) for number in range(2, 10)]
    assert model.batches == [[1], list(range(2, 10))]
    batcher.close()


async def test_what_is_brief_is_predicted_in_the_event_loop() -> None:
    """Once it is known to be quick; what arrived in one turn is one batch. What turns out long goes to the thread."""
    model = Doubler()
    batcher = Batcher("doubler", model.steps(brief=True), LIMITS, merging=True)
    assert await submit(batcher, [1]) == (2,)
    assert model.threads[0] != threading.get_ident()
    # The first time may have been a slow one.
    for _ in range(50):
        assert await submit(batcher, [1]) == (2,)
    assert await asyncio.gather(*(submit(batcher, [number]) for number in range(5))) == [(2 * n,) for n in range(5)]
    assert (model.batches[-1], model.threads[-1]) == (list(range(5)), threading.get_ident())
    model.work_s = 0.02
    for _ in range(12):
        assert await submit(batcher, [1, 2, 3]) == (2, 4, 6)
    assert model.threads[-1] != threading.get_ident()
    batcher.close()


async def test_in_the_event_loop_those_who_wait_are_answered_before_they_are_counted() -> None:
    """Nobody waits for a count, and nothing is predicted for who has gone, alone or among others."""
    model = Doubler()
    seen: list[tuple[int, bool]] = []
    futures: list[asyncio.Future[tuple[int, ...]]] = []

    def observe(batch: Batch) -> None:
        seen.append((batch.requests, all(future.done() for future in futures)))

    batcher = Batcher("doubler", model.steps(brief=True), LIMITS, merging=True, observe=observe)
    for _ in range(50):
        assert await submit(batcher, [1]) == (2,)
    seen.clear()
    model.batches.clear()
    for gone, count in ((False, 1), (True, 1), (False, 3), (True, 3)):
        futures = [submit(batcher, [number]) for number in range(count)]
        if gone:
            futures[0].cancel()
        await asyncio.gather(*futures, return_exceptions=True)
        await until(lambda: not batcher.queue.rows)
    assert model.batches == [[0], [0, 1, 2], [1, 2]]
    assert seen == [(1, True), (3, True), (2, True)]
    batcher.close()


async def test_what_is_brief_may_be_kept_in_the_thread() -> None:
    """Where that is set, nothing is predicted in the event loop, however brief it is."""
    model = Doubler()
    batcher = Batcher("doubler", model.steps(brief=True), replace(LIMITS, inline=False), merging=True)
    for _ in range(5):
        assert await submit(batcher, [1]) == (2,)
    assert threading.get_ident() not in model.threads
    batcher.close()


async def test_one_prediction_that_was_held_up_changes_nothing() -> None:
    """What is brief stays in the event loop, though a busy machine kept one prediction waiting."""
    model = Doubler()
    batcher = Batcher("doubler", model.steps(brief=True), LIMITS, merging=True)
    for _ in range(50):
        assert await submit(batcher, [1]) == (2,)
    model.threads.clear()
    for pause_s, work_s in ((0.0, 0.0), (0.05, 0.0), (0.0, 0.02), (0.0, 0.0)):
        model.pause_s, model.work_s = pause_s, work_s
        assert await submit(batcher, [1]) == (2,)
    assert set(model.threads) == {threading.get_ident()}
    batcher.close()


@pytest.mark.parametrize(
    ("rows", "at_once", "expected"),
    [(600, 2, 2), (600, 3, 3), (600, 1, 1), (100, 3, 1)],
    ids=["two", "three", "one by one", "few rows"],
)
async def test_long_batches_are_predicted_at_once(rows: int, at_once: int, expected: int) -> None:
    """As many as the steps allow, each knowing among how many; one that is alone has the machine to itself."""
    model = Doubler(pause_s=0.01)
    batcher = Batcher("doubler", model.steps(at_once=at_once), LIMITS, merging=True)
    assert len(await submit(batcher, [1] * rows, None)) == rows
    model.together = expected
    model.are_together.clear()
    answers = await asyncio.gather(*(submit(batcher, [number] * rows, None) for number in range(8)))
    assert answers == [(2 * number,) * rows for number in range(8)]
    assert model.most_at_once == expected
    assert max(model.among) == expected
    await submit(batcher, [1] * rows, None)
    assert (model.among[0], model.among[-1]) == (1, 1)
    batcher.close()


async def test_a_waiter_that_raises_costs_nobody_else_an_answer() -> None:
    """Whatever becomes of one answer, the others of its batch are given."""

    class Waiter:
        def done(self) -> bool:
            return False

        def set_result(self, result: object) -> None:
            raise RuntimeError("the connection is odd")

        def set_exception(self, error: BaseException) -> None:
            raise RuntimeError("the connection is odd")

    batcher = Batcher("doubler", Doubler().steps(), LIMITS, merging=True)
    batcher.submit(Waiter(), [1], rows=1, merge_key="same")
    assert await submit(batcher, [2]) == (4,)
    assert batcher.queue.requests == 0
    batcher.close()


async def test_only_equal_keys_are_merged() -> None:
    """Items of different keys, and those without a key, never meet in one prediction."""
    hold = threading.Event()
    model = Doubler(hold=hold)
    batcher = Batcher("doubler", model.steps(), LIMITS, merging=True)
    blocker = submit(batcher, [0])
    await until(model.begun.is_set)
    keys = ["a", "b", None, "a", None, "b"]
    futures = [submit(batcher, [number], key) for number, key in enumerate(keys, 1)]
    hold.set()
    await asyncio.gather(blocker, *futures)
    assert model.batches == [[0], [1, 4], [2, 6], [3], [5]]
    batcher.close()


async def test_a_model_that_is_not_row_wise_is_never_merged() -> None:
    """Without merging every item is predicted alone, whatever its key."""
    hold = threading.Event()
    model = Doubler(hold=hold)
    batcher = Batcher("doubler", model.steps(), LIMITS, merging=False)
    futures = [submit(batcher, [number, number]) for number in range(5)]
    hold.set()
    await asyncio.gather(*futures)
    assert model.batches == [[number, number] for number in range(5)]
    batcher.close()


async def test_a_batch_never_exceeds_the_limit_of_rows() -> None:
    """Merged batches hold at most `batch_rows` rows; a larger item goes alone."""
    hold = threading.Event()
    model = Doubler(hold=hold)
    limits = Limits(requests=100, rows=1000, batch_rows=4, wait_s=60.0)
    batcher = Batcher("doubler", model.steps(), limits, merging=True)
    blocker = submit(batcher, [0])
    await until(model.begun.is_set)
    futures = [submit(batcher, [number] * size) for number, size in enumerate([2, 2, 1, 9, 3], 1)]
    hold.set()
    await asyncio.gather(blocker, *futures)
    assert [len(rows) for rows in model.batches] == [1, 4, 1, 9, 3]
    batcher.close()


async def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    """Over the bound of requests or of rows `submit` raises at once with a retry time; later it accepts again."""
    for limits in (Limits(3, 1000, 64, 60.0), Limits(1000, 3, 64, 60.0)):
        hold = threading.Event()
        batcher = Batcher("doubler", Doubler(hold=hold).steps(), limits, merging=True)
        accepted = [submit(batcher, [number]) for number in range(3)]
        with pytest.raises(RequestLimitExceeded) as refused:
            submit(batcher, [9])
        assert refused.value.retry_after_s is not None
        assert refused.value.retry_after_s >= 1
        hold.set()
        assert await asyncio.gather(*accepted) == [(0,), (2,), (4,)]
        assert await submit(batcher, [7]) == (14,)
        batcher.close()


async def test_an_item_that_finds_nobody_before_it_may_be_of_any_size() -> None:
    """The bound of rows never refuses an item for good."""
    batcher = Batcher("doubler", Doubler().steps(), Limits(3, 3, 2, 60.0), merging=True)
    assert await submit(batcher, [1] * 50) == (2,) * 50
    batcher.close()


@pytest.mark.parametrize("merging", [True, False])
async def test_a_large_table_of_a_model_with_slow_calls_refuses_nobody(merging: bool) -> None:
    """A call that takes its time whatever it gets keeps the next one waiting for one call, and not for each row."""
    hold = threading.Event()
    hold.set()
    # A thousand times this is more than the wait's bound of 1 s, seven times less.
    model = Doubler(pause_s=0.01, hold=hold)
    batcher = Batcher("doubler", model.steps(), Limits(100, 10_000, 64, 1.0), merging=merging)
    for _ in range(20):
        await submit(batcher, [1])
    hold.clear()
    table = submit(batcher, [1] * 1000)
    others = [submit(batcher, [number]) for number in range(5)]
    hold.set()
    assert await asyncio.gather(table, *others) == [(2,) * 1000, *((2 * number,) for number in range(5))]
    batcher.close()


async def test_a_wait_over_budget_is_refused() -> None:
    """When the rows before it would take longer than the budget, an item is refused instead of waiting."""
    model = Doubler(pause_s=0.05)
    batcher = Batcher("doubler", model.steps(), Limits(100, 1000, 1, 0.1), merging=True)
    for _ in range(5):
        await submit(batcher, [1])
    accepted = []
    with pytest.raises(RequestLimitExceeded):
        for number in range(50):
            accepted.append(submit(batcher, [number]))
    assert 1 <= len(accepted) < 20
    await asyncio.gather(*accepted)
    batcher.close()


async def test_cancelled_items_are_not_predicted() -> None:
    """An item whose caller has gone before its turn costs no prediction."""
    hold = threading.Event()
    model = Doubler(hold=hold)
    batcher = Batcher("doubler", model.steps(), LIMITS, merging=True)
    futures = [submit(batcher, [number], None) for number in range(6)]
    await until(model.begun.is_set)
    for future in futures[1::2]:
        future.cancel()
    hold.set()
    assert [await outcome(future) for future in futures[::2]] == [(0,), (4,), (8,)]
    assert model.batches == [[0], [2], [4]]
    batcher.close()


async def test_a_model_that_loses_rows_is_no_longer_merged() -> None:
    """If the rows of a merged batch do not add up, its items are answered alone and merging ends."""
    hold = threading.Event()
    model = Doubler(hold=hold)
    batcher = Batcher("doubler", model.steps(), LIMITS, merging=True)
    blocker = submit(batcher, [0])
    await until(model.begun.is_set)
    futures = [submit(batcher, rows) for rows in ([1], [ABSENT, 2], [3])]
    hold.set()
    assert await asyncio.gather(blocker, *futures) == [(0,), (2,), (4,), (6,)]
    assert not batcher.merging
    batcher.close()


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(3), KeyboardInterrupt(), MemoryError()])
async def test_no_exception_of_a_model_ends_the_thread(error: BaseException) -> None:
    """Even an exception that a future or a thread cannot carry reaches the caller as an error."""
    model = Doubler()
    model.error = error
    batcher = Batcher("doubler", model.steps(), LIMITS, merging=True)
    assert issubclass(await outcome(submit(batcher, [POISON])), Exception)
    assert await outcome(submit(batcher, [4])) == (8,)
    batcher.close()


async def test_an_output_that_cannot_be_encoded_fails_alone() -> None:
    """An encoder that raises for one part leaves the other parts of its batch alone."""

    def encode(part: list[int]) -> tuple[int, ...]:
        if 4 in part:
            raise TypeError("four")
        return tuple(part)

    hold = threading.Event()
    batcher = Batcher("doubler", Doubler(hold=hold).steps(encode), LIMITS, merging=True)
    futures = [submit(batcher, [number]) for number in range(4)]
    hold.set()
    assert [await outcome(future) for future in futures] == [(0,), (2,), TypeError, (6,)]
    batcher.close()


async def test_close_answers_what_was_accepted() -> None:
    """Closing loses nothing: what was accepted before is answered."""
    model = Doubler(pause_s=0.01)
    batcher = Batcher("doubler", model.steps(), LIMITS, merging=False)
    futures = [submit(batcher, [number]) for number in range(5)]
    batcher.close()
    assert await asyncio.gather(*futures) == [(2 * number,) for number in range(5)]


async def test_batches_are_observed() -> None:
    """Each prediction is reported with its requests, rows and seconds."""
    seen: list[Batch] = []
    batcher = Batcher("doubler", Doubler(pause_s=0.01).steps(), LIMITS, merging=True, observe=seen.append)
    await submit(batcher, [1, 2, 3])
    assert [(batch.requests, batch.rows) for batch in seen] == [(1, 3)]
    assert seen[0].predict_s >= 0.01
    assert seen[0].queue_s >= 0
    batcher.close()
