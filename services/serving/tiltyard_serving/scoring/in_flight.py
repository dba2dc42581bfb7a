"""Requests that are not answered yet: their deadlines, and whether their callers are still there.

A timer for each request would cost as much as decoding it, so one sweep looks after all of them.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from tiltyard.errors import NothingDone
from tiltyard.server.body_memory import FREE_BYTES, BodyMemory, Held

SWEEP_S = 0.05
# Before this, nobody looks whether a caller who waits is still there.
PATIENCE_S = 0.1
# What a body was decoded to counts with no more than this part of the memory of all, nor with more than its body
# leaves of it: whoever is alone has room.
_DECODED_SHARE = 4


class ClientDisconnected(Exception):
    """The caller has gone; nobody waits for an answer."""


class Pending(Protocol):
    """One request while it is being answered."""

    began_s: float
    # What its body takes, where that is worth counting.
    held: Held | None

    @property
    def timeout_s(self) -> float:
        """The caller's own limit."""

    def expire(self, limit_s: float) -> None:
        """Ends it: its time, or that of the server, is over."""

    def watch(self) -> None:
        """From now on, ends it when the caller leaves."""


class InFlight:
    """All calls of one process, oldest first."""

    def __init__(self, timeout_s: float, max_arriving_bytes: int, observe: Callable[[int], object]) -> None:
        self._memory = BodyMemory(max_arriving_bytes)
        self._timeout_s = timeout_s
        self._observe = observe
        self._calls: dict[Pending, None] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def add(self, call: Pending) -> None:
        """Looks after `call` from now on."""
        self._calls[call] = None
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def remove(self, call: Pending) -> None:
        """Ends that, and gives back what its body took."""
        del self._calls[call]
        if call.held is not None:
            call.held.give_back()

    def hold(self, call: Pending, size_bytes: int) -> None:
        """Counts so many more bytes of the body of a call until it is removed.

        Raises:
            NothingDone: all bodies together would be over their bound; this one takes nothing any more.
        """
        if call.held is None:
            call.held = Held(self._memory)
        try:
            call.held.take(size_bytes)
        except NothingDone:
            call.held.give_back()
            raise

    def hold_decoded(self, call: Pending, size_bytes: int) -> None:
        """Counts what a body was decoded to, beside the body, where that is much. Raises: NothingDone, as `hold`."""
        if size_bytes > FREE_BYTES:
            limit_bytes = self._memory.limit_bytes
            body_bytes = 0 if call.held is None else call.held.size_bytes
            self.hold(call, min(size_bytes, limit_bytes // _DECODED_SHARE, limit_bytes - body_bytes))

    def _sweep(self) -> None:
        self._sweeping = None
        self._observe(len(self._calls))
        now_s = time.perf_counter()
        for call in list(self._calls):
            age_s = now_s - call.began_s
            if age_s < PATIENCE_S:
                break
            if age_s >= min(call.timeout_s, self._timeout_s):
                call.expire(self._timeout_s)
            else:
                call.watch()
        if self._calls:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
