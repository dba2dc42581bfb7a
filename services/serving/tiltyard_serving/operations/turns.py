"""Turns at what only a few may do at once, of which one may take all."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """So many turns, for threads."""

    def __init__(self, count: int) -> None:
        # Whoever waits for several is next: nobody overtakes them, and no two wait with some of them in hand.
        self._next = threading.Semaphore()
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def taken(self, count: int, timeout_s: float | None = None) -> Iterator[None]:
        """Within, `count` turns are taken; with a timeout, those of them that came within it, each."""
        taken = 0
        if self._next.acquire(timeout=timeout_s):
            try:
                taken = sum(self._free.acquire(timeout=timeout_s) for _ in range(count))
            finally:
                self._next.release()
        try:
            yield
        finally:
            if taken:
                self._free.release(taken)
