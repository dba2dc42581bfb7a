"""Requests that an application answers on their connection: without a task, without messages, with one write.

For a request that is answered in microseconds the event loop, the task and the messages between server and
application cost more than the answer, and so does reading the same head again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from tiltyard.server.arrivals import Arrivals
from tiltyard.server.body_memory import FREE_BYTES

Body = bytes | memoryview
Header = tuple[bytes, bytes]

JSON = b"application/json"


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[Header, ...] = ()

    def adding(self, name: bytes, value: bytes) -> "Reply":
        """The same answer with one more header."""
        return Reply(self.status, self.body, self.content_type, (*self.headers, (name, value)))


class DirectHead(Protocol):
    """What the head of such a request tells its connection."""

    size_bytes: int
    keep_alive: bool


class DirectRequest(Protocol):
    """One such request. It is answered once, by `DirectCycle.answer`."""

    def hold(self, size_bytes: int) -> None:
        """So much more of its body, of what is worth counting, has come."""

    def take(self, body: Body) -> None:
        """Its body is whole."""

    def leave(self) -> None:
        """Its caller has gone."""


class DirectAnswers(Protocol):
    """What an application answers by itself, if it is asked in such a way."""

    def known(self, data: bytes, /) -> Any:
        """The `DirectHead` of these bytes, a whole head that has been read before; None for any other."""

    def read(self, url: bytes, headers: list[Header], data: bytes, *, keep_alive: bool) -> Any:
        """The `DirectHead` of a POST request of HTTP/1.1; None for what is not answered so.

        `data` are the bytes of the whole head, by which it is known from now on; empty where they are not at hand.
        """

    def begin(self, head: Any, cycle: "DirectCycle") -> DirectRequest:
        """A request whose head is there; it is not answered yet."""

    def memory(self, size_bytes: int) -> memoryview:
        """Where a large body goes. It takes memory only as it is filled: what never comes costs nothing."""


class DirectConnection(Protocol):
    """The connection of such a request, which is one of uvicorn's too."""

    scope: Any
    transport: Any
    arrivals: Arrivals
    direct: DirectAnswers

    def send(self, cycle: "DirectCycle", reply: Reply) -> None:
        """Sends the answer, in one piece."""

    def body_received(self) -> None:
        """The body of the request is there; it came past the parser."""

    def arrived(self, size_bytes: int) -> None: ...
    def eof_received(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class DirectCycle:
    """One such request as uvicorn knows it: its cycle, and the event of its messages too. It gathers the body."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_drop",
        "_request",
        "disconnected",
        "keep_alive",
        "missing_bytes",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "size_bytes",
    )

    def __init__(self, connection: DirectConnection, head: DirectHead) -> None:
        # That of the connection: so it knows that the head is there.
        self.scope = connection.scope
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = head.keep_alive and not connection.arrivals.stopping
        self.size_bytes = self.missing_bytes = head.size_bytes
        self._connection = connection
        self._chunks: list[Body] = []
        self._drop: Callable[[], object] | None = None
        self._request: DirectRequest | None = connection.direct.begin(head, self)

    @property
    def message_event(self) -> "DirectCycle":
        """What uvicorn sets when the caller has left."""
        return self

    def set(self) -> None:
        """Tells the request that its caller has left, if that is what has happened."""
        if self.disconnected and self._request is not None:
            self._request.leave()

    @property
    def is_answered(self) -> bool:
        """Whether nothing that comes of its body is of use any more."""
        return self._request is None

    def add(self, chunk: bytes) -> None:
        """Takes the next piece of the body; what comes after the answer is counted and thrown away."""
        self.count(len(chunk))
        if self._request is not None:
            self._chunks.append(chunk)

    def count(self, size_bytes: int) -> None:
        """Counts what has come of the body."""
        self.missing_bytes -= size_bytes
        if self._request is not None and self.size_bytes - self.missing_bytes > FREE_BYTES:
            self._request.hold(size_bytes)

    def take(self, body: bytes) -> None:
        """Begins with the whole body, of which nothing has been counted."""
        self.more_body = False
        if self.size_bytes > FREE_BYTES:
            self.count(self.size_bytes)
        if self._request is not None:
            self._request.take(body)

    def complete(self) -> None:
        """Begins: all of the body has been added."""
        self.more_body = False
        if self._request is not None:
            chunks, self._chunks = self._chunks, []
            self._request.take(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    def received_elsewhere(self, drop: Callable[[], object]) -> bytes:
        """What has come of the body, of which all is given by `give` later, unless it is to be dropped."""
        self._drop = drop
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)

    def give(self, body: memoryview) -> None:
        """Takes the whole body, which is counted already."""
        self._chunks.append(body)

    def answer(self, reply: Reply | None) -> None:
        """Sends the answer, once; None where the caller has gone. Nothing of the body is kept."""
        self._request = None
        if reply is not None:
            self._connection.send(self, reply)
        self._chunks.clear()
        if self._drop is not None:
            self._drop()
            self._drop = None
