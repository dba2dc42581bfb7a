"""Requests that are not answered yet: their deadlines, and whether their callers are still there.

A timer for each request would cost as much as decoding it, so one sweep looks after all of them.
"""

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from litestar.types import Receive

from tiltyard.errors import BadRequest, DeadlineExceeded, NothingDone
from tiltyard.pyfunc.payload.decoder import Payload
from tiltyard.server.body_memory import BodyMemory, Held
from tiltyard_serving.batching.batch import Times
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.models.trial import Ask, Trial

TIMEOUT_HEADER = b"x-request-timeout-s"

SWEEP_S = 0.05
# Before this, nobody looks whether a caller who waits is still there.
PATIENCE_S = 0.1


class ClientDisconnected(Exception):
    """The caller has gone; nobody waits for an answer."""


class Pending(ABC):
    """One request while it is being answered."""

    __slots__ = ("began_s", "has_body", "held", "model", "parse_s", "timeout_s", "times", "trial", "validate_s")

    def __init__(self) -> None:
        self.began_s = time.perf_counter()
        self.has_body = False
        # What its body takes, where that is worth counting.
        self.held: Held | None = None
        # The caller's own limit, where that is shorter than the server's.
        self.timeout_s = math.inf
        self.model: LoadedModel | None = None
        self.trial: Trial | None = None
        self.parse_s = self.validate_s = 0.0
        self.times: Times | None = None

    @abstractmethod
    def end(self, reason: Exception) -> None:
        """Ends the request with `reason`, unless it is answered."""

    @abstractmethod
    def asking(self) -> Ask | None:
        """What asks another version the same, if that is known; to be called before it is answered."""

    @abstractmethod
    def watch(self) -> None:
        """From now on, ends it when the caller leaves."""

    def limit(self, told: str | None) -> None:
        """Takes the caller's limit from the header of that name. Raises: BadRequest when it is no time."""
        if told is None:
            return
        try:
            self.timeout_s = float(told)
        except ValueError:
            self.timeout_s = math.nan
        if not self.timeout_s > 0:
            raise BadRequest(f"The header '{TIMEOUT_HEADER.decode()}' must be seconds above 0, got '{told[:40]}'.")

    def read(self, model: LoadedModel, payload: Payload, began_s: float) -> None:
        """Notes and counts how long its payload took, which was being read since `began_s`."""
        ended_s = time.perf_counter()
        parsed_s = payload.parsed_at_s or ended_s
        self.parse_s, self.validate_s = parsed_s - began_s, ended_s - parsed_s
        model.meter.read(self.parse_s, self.validate_s)

    def expire(self, limit_s: float) -> None:
        """Ends it because its time is over: the server's fault only once the server has the body."""
        name = TIMEOUT_HEADER.decode() if self.timeout_s < limit_s else "request_timeout_s"
        limit = f"the limit '{name}' of {min(self.timeout_s, limit_s):g} seconds."
        if self.has_body:
            self.end(DeadlineExceeded(f"Request processing time exceeded limit: {limit}"))
        else:
            self.end(BadRequest(f"The request body did not arrive in time, by {limit}"))


class Call(Pending):
    """One request that a task answers."""

    __slots__ = ("_receive", "_task", "_watch", "ask", "ended")

    def __init__(self, receive: Receive) -> None:
        super().__init__()
        # Why it was ended before it was answered.
        self.ended: Exception | None = None
        self.ask: Ask | None = None
        self._receive = receive
        self._task = asyncio.current_task()
        self._watch: asyncio.Task[None] | None = None

    def end(self, reason: Exception) -> None:
        """Ends the request with `reason`; what it waits for is cancelled."""
        if self.ended is None and self._task is not None:
            self.ended = reason
            self._task.cancel()

    def asking(self) -> Ask | None:
        """What asks another version the same."""
        return self.ask

    def watch(self) -> None:
        """From now on, ends it when the caller leaves. Reading a body notices that by itself."""
        if self.has_body and self._watch is None:
            self._watch = asyncio.create_task(self._until_gone())

    def close(self) -> None:
        """Ends the watch. A cancellation that the sweep asked for has been dealt with."""
        if self._watch is not None:
            self._watch.cancel()
            # A cancelled task holds on to what it waited for: together they would keep the model until a collection.
            self._watch = None
        if self.ended is not None and self._task is not None:
            self._task.uncancel()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.end(ClientDisconnected())


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
            call.held = self._memory.hold()
        try:
            call.held.take(size_bytes)
        except NothingDone:
            call.held.give_back()
            raise

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
