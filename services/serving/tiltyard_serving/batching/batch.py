"""What is predicted together: an item on its way, the steps that it takes, and what one prediction did."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Answered_contra = TypeVar("Answered_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Steps(Generic[Item, Result]):
    """How items become results. They run in a thread of the batcher.

    `split` gives one part per count of rows, or None when the output has another number of rows. `brief` says
    that a few rows take microseconds and wait for nothing: then they may run in the event loop. Up to `at_once`
    long batches may be predicted at once; then `share` tells each of their threads among how many.
    """

    merge: Callable[[Sequence[Item]], Any]
    predict: Callable[[Any], Any]
    split: Callable[[Any, Sequence[int]], Sequence[Any] | None]
    encode: Callable[[Any], Result]
    brief: bool = False
    at_once: int = 1
    share: Callable[[int], object] = lambda _among: None


class Waiter(Protocol[Answered_contra]):
    """Who waits for a result, such as a future. Used in the event loop; `done` in the batcher's threads too."""

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
    # Whether what is brief may be predicted in the event loop.
    inline: bool = True


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
    # Whether it was made in the event loop.
    inline: bool = False


class Times:
    """How long the phases of one item took, filled in before its result is there."""

    __slots__ = ("encode_s", "predict_s", "queue_s")

    def __init__(self) -> None:
        self.queue_s = self.predict_s = self.encode_s = 0.0


class Waiting(Generic[Item, Result]):
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
        """Its caller gets `error`, or one that tells of it."""
        # A future refuses StopIteration, and SystemExit would end the loop: neither may lose the caller.
        if isinstance(error, StopIteration) or not isinstance(error, Exception):
            self.error = RuntimeError(f"a step raised {type(error).__name__}")
            self.error.__cause__ = error
        else:
            self.error = error


class RowsDoNotAddUp(Exception):
    """The output of a merged batch has another number of rows than its input."""


class Groups(Generic[Item, Result]):
    """Who waits, by merge key; the key whose turn it is comes first."""

    def __init__(self) -> None:
        self._groups: OrderedDict[Hashable, deque[Waiting[Item, Result]]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def first_rows(self) -> int:
        """The rows of the one whose turn it is; 0 when nobody waits."""
        return next(iter(self._groups.values()))[0].rows if self._groups else 0

    def rows(self) -> Iterator[int]:
        """How many rows wait, for each key."""
        for group in self._groups.values():
            yield sum(waiting.rows for waiting in group)

    def add(self, arrived: Sequence[Waiting[Item, Result]]) -> None:
        """Those wait too."""
        groups = self._groups
        for waiting in arrived:
            groups.setdefault(waiting.key, deque()).append(waiting)

    def next(
        self, max_rows: int, leave: Callable[[list[Waiting[Item, Result]]], object]
    ) -> list[Waiting[Item, Result]]:
        """The longest waiting item still wanted, and those that may go with it up to `max_rows`.

        None, if nobody of its key is wanted any more: `leave` gets each of those.
        """
        key, group = next(iter(self._groups.items()))
        batch: list[Waiting[Item, Result]] = []
        rows = 0
        while group and (not batch or rows + group[0].rows <= max_rows):
            waiting = group.popleft()
            if waiting.waiter.done():
                leave([waiting])
            else:
                batch.append(waiting)
                rows += waiting.rows
        if group:
            # Others have waited longer than what newly joined this group.
            self._groups.move_to_end(key)
        else:
            del self._groups[key]
        return batch
