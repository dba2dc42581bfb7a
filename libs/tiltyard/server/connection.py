"""The connections of a process: uvicorn's, within bounds of size and time, and with direct answers to some requests.

An application that can answer requests by itself gets them from the parser's callbacks, and one whose head is known
does not even get to the parser. All others take the ordinary way through uvicorn.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tiltyard.server.arrivals import Arrivals
from tiltyard.server.direct import DirectAnswers, DirectCycle, DirectHead, Header, Reply
from tiltyard.server.large_body import LARGE_BYTES, LargeBody
from tiltyard.server.request_parser import RequestParser, head_without_wish
from tiltyard.server.settings import ConnectionTimeouts

MAX_HEAD_BYTES = 64 * 1024


class Connections:
    """Makes the connections of one process when uvicorn asks for them, and has what they share."""

    def __init__(self, timeouts: ConnectionTimeouts, direct: DirectAnswers | None = None) -> None:
        self.arrivals = Arrivals(timeouts)
        self.direct = direct
        self._defaults: list[Header] = []
        self._openings: dict[tuple[int, bytes], bytes] = {}

    def __call__(self, **named: Any) -> "Connection":
        """A connection, as uvicorn would make its own."""
        return Connection(self, **named)

    def opening(self, reply: Reply, defaults: list[Header]) -> bytes:
        """How an answer begins, up to its length; `defaults` are the headers that every answer has."""
        if defaults is not self._defaults:
            # A new second, and so a new date.
            self._defaults = defaults
            self._openings.clear()
        opening = self._openings.get((reply.status, reply.content_type))
        if opening is None:
            headers = b"".join(b"%b: %b\r\n" % header for header in defaults)
            opening = b"%b%bcontent-type: %b\r\n" % (STATUS_LINE[reply.status], headers, reply.content_type)
            self._openings[reply.status, reply.content_type] = opening
        return opening


class Connection(HttpToolsProtocol):
    """uvicorn's connection, that is cut when a request arrives too slowly or its head is too large.

    Requests that are answered directly are answered here.
    """

    # A direct one or uvicorn's own; None where no request is known.
    cycle: Any
    # Between two requests, or in the middle of one.
    _whole = True
    # The head that has come, if the data that is being parsed begins with one.
    _head = b""
    # By the clock of the event loop; None while there is a request.
    _idle_since_s: float | None = None
    # Whether what has come could hold more of a head than is taken.
    _may_be_large = False
    # Whether the rest of the message is passed over: it is refused, or read again.
    _skipped = False

    def __init__(self, shared: Connections, **named: Any) -> None:
        super().__init__(**named)
        self.arrivals = shared.arrivals
        self.direct: Any = shared.direct
        self._opening = shared.opening
        self.renew_parser()

    def renew_parser(self) -> None:
        """Reads what comes from now on as a new request."""
        self.parser = RequestParser(self, self._without_upgrade)

    @property
    def has_head(self) -> bool:
        return self.cycle is not None and self.cycle.scope is self.scope

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        if self.direct is not None:
            # An answer is sent when it is there, and not at the end of the turn of the event loop: among hundreds of
            # connections, all that belongs to it would be out of the processor's cache again.
            transport.set_write_buffer_limits(high=0)
        self._idle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.arrivals.forget(self)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_whole = self._whole
        if was_whole and self.direct is not None and self._is_free():
            end = data.find(b"\r\n\r\n") + 4
            head = self.direct.known(data[:end])
            missing_bytes = 0 if head is None else end + head.size_bytes - len(data)
            if head is not None and (missing_bytes == 0 or missing_bytes >= LARGE_BYTES):
                self._known(head, data, end, missing_bytes)
                return
            self._head = data[:end] if end > 3 else b""
        self._may_be_large = len(data) > MAX_HEAD_BYTES or not was_whole
        super().data_received(data)
        self._head = b""
        cycle = self.cycle
        if isinstance(cycle, DirectCycle) and cycle.missing_bytes >= LARGE_BYTES and not self.transport.is_closing():
            LargeBody(self, cycle).receive()
        if not (was_whole and self._whole):
            self.arrived(len(data))

    def _known(self, head: DirectHead, data: bytes, end: int, missing_bytes: int) -> None:
        """Takes a request whose head, which is known, ends there in the data; none of it gets to the parser."""
        self._unset_keepalive_if_required()
        if not missing_bytes:
            cycle = self.cycle = DirectCycle(self, head)
            cycle.take(data[end:])
            return
        self.on_message_begin()
        cycle = self.cycle = DirectCycle(self, head)
        cycle.add(data[end:])
        self.arrived(len(data))
        LargeBody(self, cycle).receive()

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
        # Only the first request in the data begins where the data does.
        data, self._head = self._head, b""
        if self._may_be_large and _size_bytes(self.url, self.headers) > MAX_HEAD_BYTES:
            self._skipped = True
            self._refuse_head()
        elif (head := self._direct_head(data)) is not None:
            self.cycle = DirectCycle(self, head)
        elif self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            # Nobody has to follow such a wish (RFC 9110, 7.8). The parser has ended the message with its head.
            self._skipped = True
        else:
            super().on_headers_complete()
            if self.arrivals.stopping:
                self.cycle.keep_alive = False

    def _direct_head(self, data: bytes) -> DirectHead | None:
        parser = self.parser
        if self.direct is None or not self._is_free():
            return None
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        head: DirectHead | None = self.direct.read(self.url, self.headers, data, keep_alive=parser.should_keep_alive())
        return head

    def _is_free(self) -> bool:
        """Whether the next request is the first one that is to be answered, and may be."""
        cycle = self.cycle
        return (
            (cycle is None or cycle.response_complete) and not self.flow.write_paused and self.limit_concurrency is None
        )

    def on_body(self, body: bytes) -> None:
        if self._skipped:
            return
        cycle = self.cycle
        if isinstance(cycle, DirectCycle):
            # Reading is not paused: the body was told to be within the limit.
            cycle.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._whole = True
        if self._skipped:
            return
        cycle = self.cycle
        if isinstance(cycle, DirectCycle):
            cycle.complete()
        else:
            super().on_message_complete()

    def body_received(self) -> None:
        """The body of the request came past the parser, which starts anew with the next one."""
        self.renew_parser()
        self.on_message_complete()

    def send(self, cycle: DirectCycle, reply: Reply) -> None:
        """Sends a direct answer, in one piece."""
        cycle.response_started = cycle.response_complete = True
        transport = self.transport
        if not transport.is_closing():
            parts = [self._opening(reply, self.server_state.default_headers)]
            parts.append(b"content-length: %d\r\n" % len(reply.body))
            for header in reply.headers:
                parts.append(b"%b: %b\r\n" % header)
            parts += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", reply.body)
            transport.write(b"".join(parts))
            if not cycle.keep_alive:
                transport.close()
        if self.cycle is cycle and not cycle.more_body:
            # It can go at once, while the processor still has it at hand.
            self.cycle = None
        self.on_response_complete()

    def _refuse_head(self) -> None:
        self.cut(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large.")

    def _without_upgrade(self, rest: bytes) -> None:
        """Reads the request that wishes for another protocol once more, as if it did not, and what follows its head."""
        if self.transport.is_closing():
            return
        head = head_without_wish(self.parser, self.url, self.headers)
        self.renew_parser()
        self.parser.feed_data(head + rest)

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
