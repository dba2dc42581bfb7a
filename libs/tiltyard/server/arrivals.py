"""How slowly a request may arrive before its connection is cut.

A request that arrives in one piece, as nearly all do, costs nothing here; one sweep looks after the others.
"""

import asyncio
import time
from http import HTTPStatus
from typing import Any, Protocol

from tiltyard.server.settings import ConnectionTimeouts

SWEEP_S = 0.25
# What a body must bring on average once its time is over; a server that reads slowly itself is not counted.
MIN_BYTES_PER_S = 1024
# How long a connection that idles when the process stops is still answered: its client may be sending just now.
LAST_REQUEST_S = 0.25
# And for how long the rest of a head is waited for then, after the last of its bytes.
LAST_HEAD_S = 1.0
_STOPPED = "The server stops, and the rest of the request's head did not arrive."


class Receiver(Protocol):
    """A connection, as far as what arrives on it is concerned."""

    loop: asyncio.AbstractEventLoop
    flow: Any

    @property
    def has_head(self) -> bool:
        """Whether the head of the request that is arriving is there."""

    def cut(self, status: HTTPStatus, why: str) -> None:
        """Closes it, with an answer where one can still be given."""


class _Arrival:
    __slots__ = ("began_s", "came_s", "size_bytes")

    def __init__(self) -> None:
        self.began_s = self.came_s = time.monotonic()
        self.size_bytes = 0


class Arrivals:
    """The connections of one process on which a request has begun to arrive."""

    def __init__(self, timeouts: ConnectionTimeouts) -> None:
        self.keep_alive_s: float = timeouts.keep_alive_s
        self.stopping = False
        """Whether the process stops, so that the next answer of each connection is its last and says so."""

        self._request_s = timeouts.slow_client_s
        self._too_slow = (
            f"The request did not arrive in time, by the limit 'slow_client_s' of {timeouts.slow_client_s:g} seconds."
        )
        self._stopped_s = 0.0
        self._arriving: dict[Receiver, _Arrival] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """From now on each answer closes its connection, and nobody idles for long or keeps back a head."""
        self.stopping = True
        self._stopped_s = time.monotonic()
        self.keep_alive_s = LAST_REQUEST_S

    def more(self, connection: Receiver, size_bytes: int) -> int:
        """Looks after a request of which `size_bytes` more have come, and gives how many that are by now."""
        arrival = self._arriving.get(connection)
        if arrival is None:
            arrival = self._arriving[connection] = _Arrival()
            if self._sweeping is None:
                self._sweeping = connection.loop.call_later(SWEEP_S, self._sweep, connection.loop)
        else:
            arrival.came_s = time.monotonic()
        arrival.size_bytes += size_bytes
        return arrival.size_bytes

    def forget(self, connection: Receiver) -> None:
        """Ends that: the request is there, or the connection has gone."""
        self._arriving.pop(connection, None)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = None
        now_s = time.monotonic()
        for connection, arrival in list(self._arriving.items()):
            if connection.flow.read_paused:
                arrival.began_s += SWEEP_S
                continue
            bytes_s = arrival.size_bytes / MIN_BYTES_PER_S if connection.has_head else 0.0
            if now_s - arrival.began_s > self._request_s + bytes_s:
                self.forget(connection)
                connection.cut(HTTPStatus.REQUEST_TIMEOUT, self._too_slow)
            elif (
                self.stopping and not connection.has_head and now_s - max(arrival.came_s, self._stopped_s) > LAST_HEAD_S
            ):
                # Nothing was asked yet that could be lost.
                self.forget(connection)
                connection.cut(HTTPStatus.REQUEST_TIMEOUT, _STOPPED)
        if self._arriving:
            self._sweeping = loop.call_later(SWEEP_S, self._sweep, loop)
