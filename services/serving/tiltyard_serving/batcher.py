"""Micro-batches: items in, results out, by functions that are given.

There is no timer. One thread takes what has arrived while it was busy, so an idle server adds no delay and a
busy one merges by itself. Only items with an equal merge key are merged; a merged batch that raises is taken
apart and retried item by item, so a bad item fails alone.

Accepting and answering happen in the event loop, merging and predicting in the thread: the counts of what is
accepted and not yet answered need no lock. What arrived in one turn of the loop is handed over at its end, or as
soon as it is many. Where a prediction takes less than that would, it is made in the loop instead, as long as the
thread is idle.
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
from typing import Any, Generic, Protocol, TypeVar

from tiltyard.errors import TemporarilyUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")
Answered_contra = TypeVar("Answered_contra", contravariant=True)

_SMOOTHING = 0.2
_MAX_RETRY_AFTER_S = 30
# What is predicted in the event loop may hold up everybody else for about so long.
_BRIEF_S = 0.0005
# So many are handed over before the end of the turn: with more of them, the first would be out of the processor's
# cache again when they are answered.
_TOGETHER = 64

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Steps(Generic[Item, Result]):
    """How items become results. They run in the batcher's thread, one batch at a time.

    `split` gives one part per count of rows, or None when the output has another number of rows. `brief` says
    that a few rows take microseconds and wait for nothing: then they may run in the event loop.
    """

    merge: Callable[[Sequence[Item]], Any]
    predict: Callable[[Any], Any]
    split: Callable[[Any, Sequence[int]], Sequence[Any] | None]
    encode: Callable[[Any], Result]
    brief: bool = False


class Waiter(Protocol[Answered_contra]):
    """Who waits for a result, such as a future. Used in the event loop; `done` in the batcher's thread too."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: Answered_contra, /) -> None:
        """Takes the result; only as long as it is not done."""

    def set_exception(self, error: BaseException, /) -> None:
        """Takes an error instead."""


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


class _Waiting(Generic[Item, Result]):
    """An item on its way, and then what came of it: a result, an error, or neither when its caller had gone."""

    __slots__ = ("accepted_s", "encode", "error", "item", "key", "result", "rows", "times", "waiter")

    def __init__(
        self,
        item: Item,
        rows: int,
        key: Hashable,
        waiter: Waiter[Result],
        encode: Callable[[Any], Result] | None,
        times: Times | None,
    ) -> None:
        self.item = item
        self.rows = rows
        self.key = key
        self.waiter = waiter
        self.encode = encode
        self.times = times
        self.accepted_s = time.perf_counter()
        self.result: Result | None = None
        self.error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        # A future refuses StopIteration, and SystemExit would end the loop: neither may lose the caller.
        if isinstance(error, StopIteration) or not isinstance(error, Exception):
            self.error = RuntimeError(f"a step raised {type(error).__name__}")
            self.error.__cause__ = error
        else:
            self.error = error


_Group = deque[_Waiting[Item, Result]]
_Deliver = Callable[[Sequence[_Waiting[Item, Result]]], object]


class _RowsDoNotAddUp(Exception):
    """The output of a merged batch has another number of rows than its input."""


class Batcher(Generic[Item, Result]):
    """Answers items through one thread, merging those that may be merged.

    Every accepted item gets exactly one result or error, unless its waiter is done before (its caller was
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
        # What arrived in this turn of the loop, and how many items are with the thread.
        self._arrived: list[_Waiting[Item, Result]] = []
        self._handed_over = 0
        self._inbox: SimpleQueue[list[_Waiting[Item, Result]] | None] = SimpleQueue()
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
        """A future of the item's result; otherwise as `submit_for`."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self.submit_for(future, item, rows=rows, merge_key=merge_key, encode=encode, times=times)
        return future

    def submit_for(
        self,
        waiter: Waiter[Result],
        item: Item,
        *,
        rows: int,
        merge_key: Hashable | None,
        encode: Callable[[Any], Result] | None = None,
        times: Times | None = None,
    ) -> None:
        """Gives the item's result to `waiter`, later. Items whose `merge_key` is None stay alone.

        `encode` makes the result of this item instead of the step of that name; `times` is filled in.

        Raises:
            TemporarilyUnavailable: the queue is full, or the wait would be too long.
        """
        self._admit(rows)
        key = merge_key if self.merging and merge_key is not None else object()
        self.queued_requests += 1
        self.queued_rows += rows
        self._arrived.append(_Waiting(item, rows, key, waiter, encode, times))
        if len(self._arrived) == 1:
            self._loop.call_soon(self._hand_over)
        elif len(self._arrived) == _TOGETHER:
            self._hand_over()

    def close(self) -> None:
        """Ends the thread once all that was accepted is answered. Nothing is submitted afterwards."""
        self._hand_over()
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

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        if not arrived:
            return
        if self._steps.brief and not self._handed_over and 0 < self.queued_rows * self._seconds_per_row < _BRIEF_S:
            groups: OrderedDict[Hashable, _Group[Item, Result]] = OrderedDict()
            _gather(arrived, groups)
            while groups:
                if batch := self._next(groups, self._resolve):
                    self._answer(batch, self._resolve)
            return
        self._handed_over += len(arrived)
        self._inbox.put(arrived)

    # --- The thread, or the event loop when a prediction is brief ---------------------------------------

    def _run(self) -> None:
        groups: OrderedDict[Hashable, _Group[Item, Result]] = OrderedDict()
        closing = False
        while groups or not closing:
            try:
                # Waits only when there is nothing to do.
                while (arrived := self._inbox.get(block=not groups and not closing)) is not None:
                    _gather(arrived, groups)
                closing = True
            except Empty:
                pass
            if groups and (batch := self._next(groups, self._send)):
                self._answer(batch, self._send)

    def _next(
        self, groups: OrderedDict[Hashable, _Group[Item, Result]], deliver: _Deliver[Item, Result]
    ) -> list[_Waiting[Item, Result]]:
        """The longest waiting item still wanted, and those that may go with it up to the limit of rows."""
        key, group = next(iter(groups.items()))
        batch: list[_Waiting[Item, Result]] = []
        rows = 0
        while group and (not batch or rows + group[0].rows <= self._limits.batch_rows):
            waiting = group.popleft()
            if waiting.waiter.done():
                deliver([waiting])
            else:
                batch.append(waiting)
                rows += waiting.rows
        if group:
            # Others have waited longer than what newly joined this group.
            groups.move_to_end(key)
        else:
            del groups[key]
        return batch

    def _answer(self, batch: Sequence[_Waiting[Item, Result]], deliver: _Deliver[Item, Result]) -> None:
        try:
            self._predict(batch)
        except BaseException as error:
            if len(batch) == 1:
                batch[0].fail(error)
                deliver(batch)
                return
            if isinstance(error, _RowsDoNotAddUp):
                _log.warning("%s is not row-wise after all: its requests are no longer merged", self._name)
                self.merging = False
        else:
            deliver(batch)
            return
        for waiting in batch:
            if waiting.waiter.done():
                deliver([waiting])
            else:
                self._answer([waiting], deliver)

    def _predict(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        steps = self._steps
        began_s = time.perf_counter()
        output = steps.predict(steps.merge([waiting.item for waiting in batch]))
        predict_s = time.perf_counter() - began_s
        counts = [waiting.rows for waiting in batch]
        parts = [output] if len(batch) == 1 else steps.split(output, counts)
        if parts is None:
            raise _RowsDoNotAddUp
        encoding_s = predicted_s = began_s + predict_s
        for waiting, part in zip(batch, parts, strict=True):
            try:
                waiting.result = (waiting.encode or steps.encode)(part)
            except BaseException as error:
                waiting.fail(error)
            encoded_s = time.perf_counter()
            if (times := waiting.times) is not None:
                times.queue_s = began_s - waiting.accepted_s
                times.predict_s = predict_s
                times.encode_s = encoded_s - encoding_s
            encoding_s = encoded_s
        queue_s = began_s - batch[0].accepted_s
        self._measure(Batch(len(batch), sum(counts), predict_s, queue_s, encoding_s - predicted_s))

    def _measure(self, batch: Batch) -> None:
        now = batch.predict_s / max(1, batch.rows)
        self._seconds_per_row += _SMOOTHING * (now - self._seconds_per_row)
        self._observe(batch)

    def _send(self, answered: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._take_back, answered)
        except RuntimeError:
            _log.debug("%s: the event loop has ended before an answer", self._name)

    # --- The event loop again -------------------------------------------------------------------------

    def _take_back(self, answered: Sequence[_Waiting[Item, Result]]) -> None:
        self._handed_over -= len(answered)
        self._resolve(answered)

    def _resolve(self, answered: Sequence[_Waiting[Item, Result]]) -> None:
        for waiting in answered:
            self.queued_requests -= 1
            self.queued_rows -= waiting.rows
            waiter = waiting.waiter
            if waiter.done():
                continue
            try:
                if waiting.error is not None:
                    waiter.set_exception(waiting.error)
                else:
                    waiter.set_result(waiting.result)  # type: ignore[arg-type]  # a result, as no error
            except Exception:
                # The others of the batch wait too.
                _log.exception("%s: an answer could not be given", self._name)


def _gather(arrived: Sequence[_Waiting[Item, Result]], groups: OrderedDict[Hashable, _Group[Item, Result]]) -> None:
    for waiting in arrived:
        groups.setdefault(waiting.key, deque()).append(waiting)
