"""Connections that answer scoring requests by themselves: without a task, without messages, with one write.

For one row the event loop, the task and the messages between server and application cost more than the parse
and the prediction, and so does reading the same head again. A plain request, whose body has a told length
within the limit and is not encoded, is answered from the parser's callbacks instead; a head that is known does
not even get to the parser. Every other request takes the ordinary way through `Invocations`, with the same answer.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tiltyard.server.body_memory import FREE_BYTES
from tiltyard_serving.scoring.asgi import Invocations
from tiltyard_serving.scoring.exchange import Exchange
from tiltyard_serving.scoring.in_flight import InFlight
from tiltyard_serving.scoring.large_body import LARGE_BYTES, LargeBody
from tiltyard_serving.scoring.replies import Header, Reply
from tiltyard_serving.scoring.request_head import RequestHead, RequestHeadCache


class DirectScoring:
    """What the connections of one process share."""

    def __init__(self, invocations: Invocations, in_flight: InFlight, heads: RequestHeadCache) -> None:
        self.invocations = invocations
        self.in_flight = in_flight
        self.heads = heads
        self._defaults: list[Header] = []
        self._openings: dict[tuple[int, bytes], bytes] = {}

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


class DirectConnection(HttpToolsProtocol):
    """uvicorn's connection, that answers plain scoring requests by itself."""

    direct: DirectScoring
    # An exchange or uvicorn's own; None where no request is known.
    cycle: Any
    # Of the connection that it is together with: whether the process stops, what is told of each part of a request
    # that did not come in one piece, and what begins to read anew.
    arrivals: Any
    arrived: Callable[[int], None]
    renew_parser: Callable[[], None]
    # Between two requests, or in the middle of one.
    _between = True
    # The head that has come, if the data that is being parsed begins with one.
    _head = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        # An answer is sent when it is there, and not at the end of the turn of the event loop: among hundreds of
        # connections, all that belongs to it would be out of the processor's cache again.
        transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        if self._between and self._is_free():
            end = data.find(b"\r\n\r\n") + 4
            head = self.direct.heads.known(data[:end])
            missing_bytes = 0 if head is None else end + head.size_bytes - len(data)
            if head is not None and (missing_bytes == 0 or missing_bytes >= LARGE_BYTES):
                self._known(head, data, end, missing_bytes)
                return
            self._head = data[:end] if end > 3 else b""
        super().data_received(data)
        self._head = b""
        cycle = self.cycle
        if isinstance(cycle, Exchange) and cycle.missing_bytes >= LARGE_BYTES and not self.transport.is_closing():
            LargeBody(self, cycle).receive()

    def _known(self, head: RequestHead, data: bytes, end: int, missing_bytes: int) -> None:
        """Takes a request whose head, which is known, ends there in the data; none of it gets to the parser."""
        self._unset_keepalive_if_required()
        if not missing_bytes:
            exchange = self._exchange(head)
            if head.size_bytes > FREE_BYTES:
                exchange.more_body = False
                exchange.count(head.size_bytes)
            if not exchange.done():
                exchange.take(data[end:])
            return
        self.on_message_begin()
        exchange = self._exchange(head)
        exchange.add(data[end:])
        self.arrived(len(data))
        LargeBody(self, exchange).receive()

    def on_message_begin(self) -> None:
        self._between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        # Only the first request in the data begins where the data does.
        data, self._head = self._head, b""
        parser = self.parser
        head = None
        if self._is_free() and parser.get_method() == b"POST" and parser.get_http_version() == "1.1":
            head = self.direct.heads.read(self.url, self.headers, keep_alive=parser.should_keep_alive())
        if head is None:
            super().on_headers_complete()
            return
        if data:
            self.direct.heads.remember(data, head)
        self._exchange(head)

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if isinstance(cycle, Exchange):
            # Reading is not paused: the body was told to be within the limit.
            cycle.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def whole(self) -> None:
        """The body of the request came past the parser, which starts anew with the next one."""
        self.renew_parser()
        self.on_message_complete()

    def write(self, exchange: Exchange, reply: Reply) -> None:
        """The answer, in one piece."""
        exchange.response_started = exchange.response_complete = True
        transport = self.transport
        if not transport.is_closing():
            parts = [self.direct.opening(reply, self.server_state.default_headers)]
            parts.append(b"content-length: %d\r\n" % len(reply.body))
            for header in reply.headers:
                parts.append(b"%b: %b\r\n" % header)
            parts += (b"\r\n" if exchange.keep_alive else b"connection: close\r\n\r\n", reply.body)
            transport.write(b"".join(parts))
            if not exchange.keep_alive:
                transport.close()
        if self.cycle is exchange and not exchange.more_body:
            # It can go at once, while the processor still has it at hand.
            self.cycle = None
        self.on_response_complete()

    def _exchange(self, head: RequestHead) -> Exchange:
        exchange = self.cycle = Exchange(self, head)
        return exchange

    def _is_free(self) -> bool:
        cycle = self.cycle
        return (
            (cycle is None or cycle.response_complete) and not self.flow.write_paused and self.limit_concurrency is None
        )
