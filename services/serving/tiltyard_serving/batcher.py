"""Micro-batches: items in, results out, by functions that are given.

There is no timer. One thread takes what has arrived while it was busy, so an idle server adds no delay and a
busy one merges by itself. Only items with an equal merge key are merged; a merged batch that raises is taken
apart and retried item by item, so a bad item fails alone.

Accepting and answering happen in the event loop, merging and predicting in the thread: the counts of what is
accepted and not yet answered need no lock.
"""

import asyncio
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from tiltyard.errors import TemporarilyUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

_SMOOTHING = 0.2
_MAX_RETRY_AFTER_S = 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Steps(Generic[Item, Result]):
    """How items become results. All run in the batcher's thread, one batch at a time.

    `split` gives one part per count of rows, or None when the output has another number of rows.
    """

    merge: Callable[[Sequence[Item]], Any]
    predict: Callable[[Any], Any]
    split: Callable[[Any, Sequence[int]], Sequence[Any] | None]
    encode: Callable[[Any], Result]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one batcher. `wait_s` is the longest estimated wait with which an item is still accepted."""

    requests: int
    rows: int
    batch_rows: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What one prediction did: how many items and rows, how long it took, how long its first item waited.

    `encode_s` is for all its results.
    """

    requests: int
    rows: int
    predict_s: float
    queue_s: float
    encode_s: float = 0.0


class Times:
    """How long the phases of one item took, filled in before its result is there."""

    __slots__ = ("encode_s", "predict_s", "queue_s")

    def __init__(self) -> None:
        self.queue_s = self.predict_s = self.encode_s = 0.0


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    rows: int
    key: Hashable
    future: "asyncio.Future[Result]"
    accepted_s: float
    encode: Callable[[Any], Result] | None
    times: "Times | None"


class _Answer(Generic[Item, Result]):
    """What came of one item: a result, an error, or nothing when its caller had gone."""

    __slots__ = ("error", "result", "waiting")

    def __init__(
        self, waiting: _Waiting[Item, Result], result: Result | None = None, error: BaseException | None = None
    ) -> None:
        self.waiting = waiting
        self.result = result
        # A future refuses StopIteration, and SystemExit would end the loop: neither may lose the caller.
        if isinstance(error, StopIteration) or not isinstance(error, Exception | None):
            wrapped = RuntimeError(f"a step raised {type(error).__name__}")
            wrapped.__cause__ = error
            error = wrapped
        self.error = error


class _RowsDoNotAddUp(Exception):
    """The output of a merged batch has another number of rows than its input."""


class Batcher(Generic[Item, Result]):
    """Answers items through one thread, merging those that may be merged.

    Every accepted item gets exactly one result or error, unless its future is done before (its caller was
    cancelled or ran out of time): then it is skipped. Made and used in one event loop.
    """

    def __init__(
        self,
        name: str,
        steps: Steps[Item, Result],
        limits: Limits,
        *,
        merging: bool,
        observe: Callable[[Batch], object] = lambda _batch: None,
    ) -> None:
        self.merging = merging
        self.queued_requests = 0
        self.queued_rows = 0
        self._name = name
        self._steps = steps
        self._limits = limits
        self._observe = observe
        self._seconds_per_row = 0.0
        self._loop = asyncio.get_running_loop()
        self._inbox: SimpleQueue[_Waiting[Item, Result] | None] = SimpleQueue()
        # A daemon: a prediction that never ends must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"predict {name}", daemon=True)
        self._thread.start()

    def submit(
        self,
        item: Item,
        *,
        rows: int,
        merge_key: Hashable | None,
        encode: Callable[[Any], Result] | None = None,
        times: Times | None = None,
    ) -> "asyncio.Future[Result]":
        """A future of the item's result. Items whose `merge_key` is None stay alone.

        `encode` makes the result of this item instead of the step of that name; `times` is filled in.

        Raises:
            TemporarilyUnavailable: the queue is full, or the wait would be too long.
        """
        self._admit(rows)
        future: asyncio.Future[Result] = self._loop.create_future()
        key = merge_key if self.merging and merge_key is not None else object()
        self.queued_requests += 1
        self.queued_rows += rows
        self._inbox.put(_Waiting(item, rows, key, future, time.perf_counter(), encode, times))
        return future

    def close(self) -> None:
        """Ends the thread once all that was accepted is answered. Nothing is submitted afterwards."""
        self._inbox.put(None)

    def _admit(self, rows: int) -> None:
        if not self.queued_requests:
            # However large, an item that finds nobody before it may try.
            return
        limits = self._limits
        wait_s = self.queued_rows * self._seconds_per_row
        if self.queued_requests >= limits.requests or self.queued_rows + rows > limits.rows or wait_s > limits.wait_s:
            raise TemporarilyUnavailable(
                f"The model {self._name} has too many requests waiting: {self.queued_requests} requests with "
                f"{self.queued_rows} rows.",
                retry_after_s=min(_MAX_RETRY_AFTER_S, max(1, math.ceil(wait_s))),
            )

    # --- The thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        groups: OrderedDict[Hashable, deque[_Waiting[Item, Result]]] = OrderedDict()
        closing = False
        while groups or not closing:
            try:
                # Waits only when there is nothing to do.
                while (waiting := self._inbox.get(block=not groups and not closing)) is not None:
                    groups.setdefault(waiting.key, deque()).append(waiting)
                closing = True
            except Empty:
                pass
            if groups and (batch := self._next(groups)):
                self._answer(batch)

    def _next(self, groups: OrderedDict[Hashable, deque[_Waiting[Item, Result]]]) -> list[_Waiting[Item, Result]]:
        """The longest waiting item still wanted, and those that may go with it up to the limit of rows."""
        key, group = next(iter(groups.items()))
        batch: list[_Waiting[Item, Result]] = []
        rows = 0
        while group and (not batch or rows + group[0].rows <= self._limits.batch_rows):
            waiting = group.popleft()
            if waiting.future.done():
                self._deliver([_Answer(waiting)])
            else:
                batch.append(waiting)
                rows += waiting.rows
        if group:
            # Others have waited longer than what newly joined this group.
            groups.move_to_end(key)
        else:
            del groups[key]
        return batch

    def _answer(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            answers = self._predict(batch)
        except BaseException as error:
            if len(batch) == 1:
                self._deliver([_Answer(batch[0], error=error)])
                return
            if isinstance(error, _RowsDoNotAddUp):
                _log.warning("%s is not row-wise after all: its requests are no longer merged", self._name)
                self.merging = False
        else:
            self._deliver(answers)
            return
        for waiting in batch:
            if waiting.future.done():
                self._deliver([_Answer(waiting)])
            else:
                self._answer([waiting])

    def _predict(self, batch: Sequence[_Waiting[Item, Result]]) -> list[_Answer[Item, Result]]:
        steps = self._steps
        began_s = time.perf_counter()
        output = steps.predict(steps.merge([waiting.item for waiting in batch]))
        predict_s = time.perf_counter() - began_s
        counts = [waiting.rows for waiting in batch]
        parts = [output] if len(batch) == 1 else steps.split(output, counts)
        if parts is None:
            raise _RowsDoNotAddUp
        answers: list[_Answer[Item, Result]] = []
        encoding_s = predicted_s = began_s + predict_s
        for waiting, part in zip(batch, parts, strict=True):
            answers.append(self._encode(waiting, part))
            encoded_s = time.perf_counter()
            if (times := waiting.times) is not None:
                times.queue_s = began_s - waiting.accepted_s
                times.predict_s = predict_s
                times.encode_s = encoded_s - encoding_s
            encoding_s = encoded_s
        queue_s = began_s - batch[0].accepted_s
        self._measure(Batch(len(batch), sum(counts), predict_s, queue_s, encoding_s - predicted_s))
        return answers

    def _encode(self, waiting: _Waiting[Item, Result], part: Any) -> _Answer[Item, Result]:
        try:
            return _Answer(waiting, (waiting.encode or self._steps.encode)(part))
        except BaseException as error:
            return _Answer(waiting, error=error)

    def _measure(self, batch: Batch) -> None:
        now = batch.predict_s / max(1, batch.rows)
        self._seconds_per_row += _SMOOTHING * (now - self._seconds_per_row)
        self._observe(batch)

    def _deliver(self, answers: Sequence[_Answer[Item, Result]]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._resolve, answers)
        except RuntimeError:
            _log.debug("%s: the event loop has ended before an answer", self._name)

    # --- The event loop again -------------------------------------------------------------------------

    def _resolve(self, answers: Sequence[_Answer[Item, Result]]) -> None:
        for answer in answers:
            waiting = answer.waiting
            self.queued_requests -= 1
            self.queued_rows -= waiting.rows
            if waiting.future.done():
                continue
            if answer.error is not None:
                waiting.future.set_exception(answer.error)
            else:
                waiting.future.set_result(answer.result)  # type: ignore[arg-type]  # a result, as no error
