"""Micro-batches: items in, results out, by functions that are given.

There is no timer. One thread takes what has arrived while it was busy, so an idle server adds no delay and a
busy one merges by itself. Only items with an equal merge key are merged; a merged batch that raises is taken
apart and retried item by item, so a bad item fails alone.

Accepting and answering happen in the event loop, merging and predicting in the thread: the counts of what is
accepted and not yet answered need no lock. What arrived in one turn of the loop is handed over at its end, or as
soon as it is many. Where a prediction takes less than that would, it is made in the loop instead, as long as the
thread is idle.

Long batches that may be predicted at once, and wait for each other, go to threads beside the first. Each then has
its share of the processors to itself: threads that work on one batch together wait for the slowest of them again
and again, and whatever else the machine does holds up one of them.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic

from tiltyard_serving.batching.admission import Admission
from tiltyard_serving.batching.batch import (
    Batch,
    Groups,
    Item,
    Limits,
    Result,
    RowsDoNotAddUp,
    Steps,
    Times,
    Waiter,
    Waiting,
)
from tiltyard_serving.batching.latency import LatencyEstimate

# What is predicted in the event loop may hold up everybody else for about so long.
_BRIEF_S = 0.0005
# So many are handed over before the end of the turn: with more of them, the first would be out of the processor's
# cache again when they are answered.
_MAX_ARRIVED = 64

_log = logging.getLogger(__name__)

_Deliver = Callable[[Sequence[Waiting[Item, Result]]], object]


class Batcher(Generic[Item, Result]):
    """Answers items through one thread, or several, merging those that may be merged.

    Every accepted item gets exactly one result or error, unless its waiter is done before (its caller was
    cancelled or ran out of time): then it is skipped. Made and used in one event loop.

    Attributes:
        queue: what is accepted and not yet answered.
        long_rows, long_s: from how many rows and seconds on a batch is worth a thread beside the first. A single
            row that takes long would not take less long so.
    """

    long_rows = 512
    long_s = 0.004

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
        self._name = name
        self._steps = steps
        self._limits = limits
        self._observe = observe
        self._pace = LatencyEstimate()
        self.queue = Admission(name, limits, self._pace)
        # What is brief waits for nothing but the interpreter's lock, in the thread: that is not its own time.
        self._clock = time.thread_time if steps.brief else time.perf_counter
        self._loop = asyncio.get_running_loop()
        # What arrived in this turn of the loop, and how many items are with the threads.
        self._arrived: list[Waiting[Item, Result]] = []
        self._handed_over = 0
        self._inbox: SimpleQueue[list[Waiting[Item, Result]] | None] = SimpleQueue()
        # Who takes a batch has the lock: the first thread keeps it while it waits for something to do.
        self._taking = threading.Lock()
        self._groups: Groups[Item, Result] = Groups()
        self._closing = False
        # Whether the event loop predicts now; the threads are idle then.
        self._inline = False
        # The threads that predict, and how often one beside the first is wanted.
        self._at_work: set[threading.Thread] = set()
        self._helper_needed = threading.Semaphore(0)
        self._helpers: list[threading.Thread] = []
        self._thread = self._start(self._run)

    def submit(
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
            RequestLimitExceeded: the queue is full, or the wait would be too long; says when to come again.
        """
        self.queue.enter(rows, merging=self.merging)
        key = merge_key if self.merging and merge_key is not None else object()
        self._arrived.append(Waiting(item, rows, key, waiter, encode, times))
        if len(self._arrived) == 1:
            self._loop.call_soon(self._hand_over)
        elif len(self._arrived) == _MAX_ARRIVED:
            self._hand_over()

    def close(self) -> None:
        """Ends the threads once all that was accepted is answered. Nothing is submitted afterwards."""
        self._hand_over()
        self._inbox.put(None)

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        if not arrived:
            return
        if self._steps.brief and self._limits.inline and not self._handed_over:
            if len(arrived) == 1:
                # One alone, which is what a caller without others meets, needs no groups to be told apart.
                if self._pace.expected_s(arrived[0].rows) < _BRIEF_S:
                    self._answer_here(arrived)
                    return
            else:
                groups: Groups[Item, Result] = Groups()
                groups.add(arrived)
                if sum(map(self._pace.expected_s, groups.rows())) < _BRIEF_S:
                    while groups:
                        self._answer_here(groups.next(self._limits.batch_rows, self._resolve))
                    return
        self._handed_over += len(arrived)
        self._inbox.put(arrived)

    def _answer_here(self, batch: Sequence[Waiting[Item, Result]]) -> None:
        self._inline = True
        if len(batch) == 1 and batch[0].waiter.done():
            self._resolve(batch)
        elif batch:
            self._answer(batch, self._resolve)
        self._inline = False

    # --- The threads ----------------------------------------------------------------------------------

    def _start(self, run: Callable[[], None]) -> threading.Thread:
        # A daemon: a prediction that never ends must not keep the process from ending.
        thread = threading.Thread(target=run, name=f"predict {self._name}", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        while (turn := self._take(wait=True)) is not None:
            self._work(*turn)
        for _thread in self._helpers:
            self._helper_needed.release()

    def _run_helper(self) -> None:
        while self._helper_needed.acquire() and not self._closing:
            while (turn := self._take(wait=False)) is not None:
                self._work(*turn)

    def _work(self, batch: Sequence[Waiting[Item, Result]], among: int) -> None:
        self._steps.share(among)
        if batch:
            self._answer(batch, self._send, among)
        self._at_work.discard(threading.current_thread())

    def _take(self, *, wait: bool) -> tuple[list[Waiting[Item, Result]], int] | None:
        """The next batch, empty if nobody wants it any more, and how many are predicted at once.

        None when there is, or comes, nothing for this thread.
        """
        if not self._taking.acquire(blocking=wait):
            return None
        try:
            groups = self._groups
            try:
                while (arrived := self._inbox.get(block=wait and not groups and not self._closing)) is not None:
                    groups.add(arrived)
                self._closing = True
            except Empty:
                pass
            if not groups or not (wait or self._is_long(groups.first_rows)):
                return None
            batch = groups.next(self._limits.batch_rows, self._send)
            self._at_work.add(threading.current_thread())
            among = len(self._at_work)
            if among < self._steps.at_once and self._is_long(groups.first_rows):
                self._wake_helper()
                among += 1
            return batch, among
        finally:
            self._taking.release()

    def _is_long(self, rows: int) -> bool:
        return rows >= self.long_rows and rows * self._pace.seconds_per_row >= self.long_s

    def _wake_helper(self) -> None:
        """One more thread, to take the next batch."""
        if len(self._helpers) < len(self._at_work):
            self._helpers.append(self._start(self._run_helper))
        self._helper_needed.release()

    def _answer(self, batch: Sequence[Waiting[Item, Result]], deliver: _Deliver[Item, Result], among: int = 1) -> None:
        try:
            told = self._predict(batch, among)
        except BaseException as error:
            if len(batch) == 1:
                batch[0].fail(error)
                deliver(batch)
                return
            if isinstance(error, RowsDoNotAddUp):
                _log.warning("%s is not row-wise after all: its requests are no longer merged", self._name)
                self.merging = False
        else:
            if self._inline:
                # Nobody asks for the counts before this turn of the loop ends, and the callers do wait.
                deliver(batch)
                self._observe(told)
            else:
                self._observe(told)
                deliver(batch)
            return
        for waiting in batch:
            if waiting.waiter.done():
                deliver([waiting])
            else:
                self._answer([waiting], deliver, among)

    def _predict(self, batch: Sequence[Waiting[Item, Result]], among: int) -> Batch:
        steps = self._steps
        began_s, clock_s = time.perf_counter(), self._clock()
        output = steps.predict(steps.merge([waiting.item for waiting in batch]))
        took_s, predict_s = self._clock() - clock_s, time.perf_counter() - began_s
        counts = [waiting.rows for waiting in batch]
        parts = [output] if len(batch) == 1 else steps.split(output, counts)
        if parts is None:
            raise RowsDoNotAddUp
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
        rows = sum(counts)
        self._pace.observe(rows, took_s, among)
        return Batch(len(batch), rows, predict_s, queue_s, encoding_s - predicted_s, self._inline)

    def _send(self, answered: Sequence[Waiting[Item, Result]]) -> None:
        # First of all: who has this answer may ask again before the thread goes on.
        self._at_work.discard(threading.current_thread())
        try:
            self._loop.call_soon_threadsafe(self._take_back, answered)
        except RuntimeError:
            _log.debug("%s: the event loop has ended before an answer", self._name)

    # --- The event loop again -------------------------------------------------------------------------

    def _take_back(self, answered: Sequence[Waiting[Item, Result]]) -> None:
        self._handed_over -= len(answered)
        self._resolve(answered)

    def _resolve(self, answered: Sequence[Waiting[Item, Result]]) -> None:
        for waiting in answered:
            self.queue.leave(waiting.rows)
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
