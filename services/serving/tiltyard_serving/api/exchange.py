"""Scoring requests answered on their connection: without a task, without messages, with one write.

For one row the event loop, the task and the messages between server and application cost more than the parse
and the prediction. A plain request, small, whole and not encoded, is answered from the parser's callbacks
instead; every other request takes the ordinary way through `Invocations`, with the same answer.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from litestar.types import HTTPScope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tiltyard.errors import InternalError
from tiltyard_serving.api.accept import wanted
from tiltyard_serving.api.bodies import valid_request_id
from tiltyard_serving.api.in_flight import TIMEOUT_HEADER, ClientDisconnected, InFlight, Pending
from tiltyard_serving.api.invocations import DECODE_INLINE_BYTES, Invocations, Way
from tiltyard_serving.api.replies import Reply
from tiltyard_serving.batcher import Times
from tiltyard_serving.model import LoadedModel

# With these a request takes the ordinary way.
_SPECIAL = (b"transfer-encoding", b"content-encoding", b"expect", b"upgrade")

Find = Callable[[HTTPScope], Way]


class Direct:
    """Which URLs are answered on the connection: those of `paths`, and those below a path of `mounts`."""

    def __init__(
        self, invocations: Invocations, in_flight: InFlight, paths: dict[str, Find], mounts: dict[str, Find]
    ) -> None:
        self.invocations = invocations
        self.in_flight = in_flight
        self._paths = {path.encode(): find for path, find in paths.items()}
        self._mounts = {f"{path}/".encode(): find for path, find in mounts.items()}
        self.find = lru_cache(maxsize=1024)(self._find)

    def _find(self, url: bytes) -> tuple[Find, str] | None:
        if (find := self._paths.get(url)) is not None:
            return find, url.decode()
        if b"%" not in url and b"?" not in url and url.isascii():
            for mount, find in self._mounts.items():
                if url.startswith(mount):
                    return find, url[len(mount) - 1 :].decode()
        return None


class DirectConnection(HttpToolsProtocol):
    """uvicorn's connection, that answers plain scoring requests by itself."""

    direct: Direct

    def on_headers_complete(self) -> None:
        found = self.direct.find(self.url)
        if found is None or not self._is_plain(headers := dict(reversed(self.headers))):
            super().on_headers_complete()
            return
        find, path = found
        scope: Any = self.scope
        scope.update(method="POST", path=path, raw_path=self.url, query_string=b"")
        self.cycle = Exchange(self, find, headers)  # type: ignore[assignment]  # what is used of a cycle, it has

    def on_body(self, body: bytes) -> None:
        cycle: object = self.cycle
        if isinstance(cycle, Exchange):
            # Reading is not paused: the body was told to be small.
            cycle.body += body
        else:
            super().on_body(body)

    def write(self, exchange: "Exchange", reply: Reply) -> None:
        """The answer, in one piece."""
        exchange.response_started = exchange.response_complete = True
        transport = self.transport
        if not transport.is_closing():
            parts = [STATUS_LINE[reply.status]]
            for name, value in self.server_state.default_headers:
                parts += (name, b": ", value, b"\r\n")
            parts.append(b"content-type: %b\r\ncontent-length: %d\r\n" % (reply.content_type, len(reply.body)))
            for name, value in reply.headers:
                parts += (name, b": ", value, b"\r\n")
            parts += (b"\r\n" if exchange.keep_alive else b"connection: close\r\n\r\n", reply.body)
            transport.write(b"".join(parts))
            if not exchange.keep_alive:
                transport.close()
        self.on_response_complete()

    def _is_plain(self, headers: dict[bytes, bytes]) -> bool:
        length = headers.get(b"content-length", b"")
        parser = self.parser
        return (
            (self.cycle is None or self.cycle.response_complete)
            and length.isdigit()
            and 0 < int(length[:9]) <= DECODE_INLINE_BYTES
            and len(length) < 9
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and not any(name in headers for name in _SPECIAL)
            and not self.flow.write_paused
            and self.limit_concurrency is None
        )


class Exchange(Pending):
    """One request and its answer: a cycle to uvicorn, a waiter to the batcher, a call in flight to the sweep."""

    __slots__ = (
        "_body",
        "_connection",
        "_done",
        "_find",
        "_format",
        "_headers",
        "_lease",
        "_way",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
    )

    def __init__(self, connection: DirectConnection, find: Find, headers: dict[bytes, bytes]) -> None:
        super().__init__()
        self.scope: Any = connection.scope
        self.body = bytearray()
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive: bool = connection.parser.should_keep_alive()
        self._connection = connection
        self._find = find
        self._headers = headers
        self._body = b""
        self._format = wanted(None)
        self._way: Way | None = None
        self._lease: AbstractContextManager[LoadedModel] | None = None
        self._done = False
        connection.direct.in_flight.add(self)

    @property
    def message_event(self) -> "Exchange":
        """What uvicorn sets when more has come, or when the caller has left."""
        return self

    def set(self) -> None:
        """More has come: begins once it is all."""
        if self.disconnected:
            self.end(ClientDisconnected())
        elif not (self.more_body or self.has_body or self._done):
            self.has_body = True
            self._begin()

    def _begin(self) -> None:
        try:
            self.limit(self._header(TIMEOUT_HEADER))
            self._body = bytes(self.body)
            self._format = wanted(self._header(b"accept"))
            self._way = self._find(self.scope)
            served = self._way.served
            # Until it is done, whatever comes of it.
            self._lease = served.slot.lease()
            self.model, self.trial = self._lease.__enter__(), served.trial
            began_s = time.perf_counter()
            payload = self.model.decode(self._body, self._header(b"content-type"))
            self.read(self.model, payload, began_s)
            times = Times()
            self.model.submit_for(self, payload, self._format.encode, times)
            self.times = times
        except Exception as error:
            self.set_exception(error)

    def end(self, reason: Exception) -> None:
        """Answers the request with `reason`, unless it is answered."""
        if not self._done:
            self.set_exception(reason)

    def watch(self) -> None:
        """uvicorn tells at once of a caller who leaves."""

    # --- A waiter -------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether it is answered."""
        return self._done

    def set_result(self, answer: bytes) -> None:
        """Answers it."""
        invocations, way, model = self._connection.direct.invocations, self._way, self.model
        if way is not None and model is not None:
            named = valid_request_id(self._header(b"x-request-id"))
            content_type = self._header(b"content-type")
            invocations.record(self, way, model, named, content_type, self._body, self._format, answer)
        self._finish(Reply(200, answer, self._format.content_type), None)

    def set_exception(self, error: BaseException) -> None:
        """Answers it with an error."""
        failure = error if isinstance(error, Exception) else InternalError("Internal error.")
        # What failed, or ran out of time, has no times to tell.
        self.times = None
        named = valid_request_id(self._header(b"x-request-id"))
        self._finish(self._connection.direct.invocations.refusal(failure, named), failure)

    def _finish(self, reply: Reply, failure: Exception | None) -> None:
        self._done = True
        self._connection.direct.in_flight.remove(self)
        if self._lease is not None:
            self._lease.__exit__(None, None, None)
        if isinstance(failure, ClientDisconnected):
            return
        self._connection.write(self, self._connection.direct.invocations.finished(self, reply, failure))

    def _header(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")
