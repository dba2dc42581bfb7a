"""How long a connection may idle, and how slowly a request may arrive, before it is cut.

A request that arrives in one piece, as nearly all do, costs nothing here; one sweep looks after the others.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tiltyard.server.settings import ConnectionTimeouts

SWEEP_S = 0.25
MAX_HEAD_BYTES = 64 * 1024
# What a body must bring on average once its time is over; a server that reads slowly itself is not counted.
MIN_BYTES_PER_S = 1024
# How long a connection that idles when the process stops is still answered: its client may be sending just now.
LAST_REQUEST_S = 0.25
# And for how long the rest of a head is waited for then, after the last of its bytes.
LAST_HEAD_S = 1.0
# The headers of a wish for another protocol.
_WISH = (b"upgrade", b"http2-settings")
_STOPPED = "The server stops, and the rest of the request's head did not arrive."


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
        self._arriving: dict[Connection, _Arrival] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """From now on each answer closes its connection, and nobody idles for long or keeps back a head."""
        self.stopping = True
        self._stopped_s = time.monotonic()
        self.keep_alive_s = LAST_REQUEST_S

    def more(self, connection: "Connection", size_bytes: int) -> int:
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

    def forget(self, connection: "Connection") -> None:
        """Ends that: the request is there, or the connection has gone."""
        self._arriving.pop(connection, None)

    def _last_s(self, arrival: _Arrival) -> float:
        """Since when its client has been silent while the process stops."""
        return max(arrival.came_s, self._stopped_s)

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
            elif self.stopping and not connection.has_head and now_s - self._last_s(arrival) > LAST_HEAD_S:
                # Nothing was asked yet that could be lost.
                self.forget(connection)
                connection.cut(HTTPStatus.REQUEST_TIMEOUT, _STOPPED)
        if self._arriving:
            self._sweeping = loop.call_later(SWEEP_S, self._sweep, loop)


class _Parser(httptools.HttpRequestParser):
    """The parser of one connection. It hands over what follows the head of a request that wishes for an upgrade."""

    def __init__(self, connection: "Connection", upgrade: Callable[[bytes], None]) -> None:
        super().__init__(connection)
        # So that a request may come with the one before it, whose answer closes the connection.
        self.set_dangerous_leniencies(lenient_data_after_close=True)
        self._upgrade = upgrade

    def feed_data(self, data: Any) -> None:
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])


class Connection(HttpToolsProtocol):
    """uvicorn's connection, that is cut when a request arrives too slowly or its head is too large."""

    arrivals: Arrivals
    _whole = True
    # By the clock of the event loop; None while there is a request.
    _idle_since_s: float | None = None
    # Whether what has come could hold more of a head than is taken.
    _may_be_large = False
    # Whether the rest of the message is passed over: it is refused, or read again.
    _skipped = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.renew_parser()

    def renew_parser(self) -> None:
        """Reads what comes from now on as a new request."""
        self.parser = _Parser(self, self._without_upgrade)

    @property
    def has_head(self) -> bool:
        """Whether the head of the request that is arriving is there."""
        return self.cycle is not None and self.cycle.scope is self.scope

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._idle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.arrivals.forget(self)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_whole = self._whole
        self._may_be_large = len(data) > MAX_HEAD_BYTES or not was_whole
        super().data_received(data)
        if not (was_whole and self._whole):
            self.arrived(len(data))

    def arrived(self, size_bytes: int) -> None:
        """Looks after a request that did not come in one piece, and of which so much more is there."""
        if self._whole:
            self.arrivals.forget(self)
        elif not self.transport.is_closing():
            size_bytes = self.arrivals.more(self, size_bytes)
            if size_bytes > MAX_HEAD_BYTES and not self.has_head:
                self._refuse_head()

    def on_message_begin(self) -> None:
        self._whole = self._skipped = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._may_be_large and _size_bytes(self.url, self.headers) > MAX_HEAD_BYTES:
            self._skipped = True
            self._refuse_head()
        elif self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            # Nobody has to follow such a wish (RFC 9110, 7.8). The parser has ended the message with its head.
            self._skipped = True
        else:
            super().on_headers_complete()
            if self.arrivals.stopping:
                self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if not self._skipped:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._whole = True
        if not self._skipped:
            super().on_message_complete()

    def _refuse_head(self) -> None:
        self.cut(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large.")

    def _without_upgrade(self, rest: bytes) -> None:
        """Reads the request that wishes for another protocol once more, as if it did not, and what follows its head."""
        if self.transport.is_closing():
            return
        parser = self.parser
        head = b"%b %b HTTP/%b\r\n" % (parser.get_method(), self.url, parser.get_http_version().encode())
        head += b"".join(b"%b: %b\r\n" % header for header in _without_wish(self.headers))
        self.renew_parser()
        self.parser.feed_data(head + b"\r\n" + rest)

    # A timer that is set and cancelled again for each request costs as much as reading its head. This one runs on,
    # and finds out by itself how long the connection has been idle.

    def on_response_complete(self) -> None:
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle()

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since_s is None:
            return
        # Of a request that was refused the rest may be coming: its sender reads the answer after that.
        idle_since_s = self._idle_since_s if self._whole else self.loop.time()
        left_s = idle_since_s + self.arrivals.keep_alive_s - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since_s = None

    def _idle(self) -> None:
        self._idle_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.arrivals.keep_alive_s, self.timeout_keep_alive_handler
            )

    def shutdown(self) -> None:
        """Has the answer that is under way, or else the next one, be the last. Who idles has a moment for that one."""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        if self._idle_since_s is not None:
            self._idle()
        elif self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def cut(self, status: HTTPStatus, why: str) -> None:
        """Closes the connection, with an answer where one can still be given."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if not self.pipeline and (cycle is None or cycle.response_complete or not cycle.response_started):
            body = msgspec.json.encode({"error_code": "BAD_REQUEST", "message": why})
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()


def _size_bytes(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def _without_wish(headers: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == b"connection":
            kept = [option for option in value.split(b",") if option.strip().lower() not in _WISH]
            if kept:
                yield name, b",".join(kept)
        elif name not in _WISH:
            yield name, value


def connection_type(
    timeouts: ConnectionTimeouts, own: type[HttpToolsProtocol] | None = None
) -> type[HttpToolsProtocol]:
    """What uvicorn makes for each connection of one process; `own` is what the application adds to it."""
    attributes: dict[str, Any] = {"arrivals": Arrivals(timeouts)}
    return type("Connection", (Connection,) if own is None else (own, Connection), attributes)
