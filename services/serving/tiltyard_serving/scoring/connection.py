"""Scoring requests that are answered on their connection: plain ones, whose bodies have a told length and no encoding.

Every other request takes the ordinary way through `AsgiScoring`, with the same answer.
"""

import asyncio
from functools import lru_cache, partial

import numpy as np

from tiltyard.errors import NothingDone
from tiltyard.pyfunc.payload.decoder import Body
from tiltyard.server.direct import DirectCycle, Reply
from tiltyard.server.host_guard import Origins
from tiltyard_serving.auth.callers import Caller, Headers
from tiltyard_serving.scoring.call import Scoring, ScoringCall
from tiltyard_serving.scoring.in_flight import ClientDisconnected
from tiltyard_serving.scoring.protocols.invocations import INVOCATIONS
from tiltyard_serving.scoring.protocols.protocol import Decoded
from tiltyard_serving.scoring.request_head import RequestHead
from tiltyard_serving.scoring.targets import Find, ScoringTargets

# How the head of each request that is answered here begins.
_REQUEST = b"POST /"
# With these a request takes the ordinary way.
_SPECIAL = (b"transfer-encoding", b"content-encoding", b"expect", b"upgrade")

# A client that keeps its connection sends the same head again and again. Others are not worth keeping.
_MAX_KNOWN = 512
_MAX_KNOWN_BYTES = 1024


class EndpointHead(RequestHead):
    """The head of a request whose target is found at once."""

    __slots__ = ("find",)

    def __init__(self, find: Find, path: str, headers: Headers, caller: Caller, *, keep_alive: bool) -> None:
        super().__init__(path, headers, caller, keep_alive=keep_alive)
        self.find = find


class DirectScoring:
    """Which scoring requests are answered on their connection, and how: what the server asks for."""

    def __init__(self, scoring: Scoring, targets: ScoringTargets, origins: Origins) -> None:
        self._scoring = scoring
        self._origins = origins
        self._heads: dict[bytes, EndpointHead] = {}
        self.known = self._heads.get
        self.begin = partial(DirectCall, scoring)
        self._find = lru_cache(maxsize=1024)(targets.at_once)

    def read(
        self, url: bytes, headers: list[tuple[bytes, bytes]], data: bytes, *, keep_alive: bool
    ) -> EndpointHead | None:
        """The head of a POST request; None for what is not answered on its connection."""
        if b"%" in url or b"?" in url or not url.isascii():
            return None
        path = url.decode()
        find = self._find(path)
        caller = self._scoring.callers.of(headers)
        if find is None or caller is None:
            return None
        head = EndpointHead(find, path, headers, caller, keep_alive=keep_alive)
        if not 0 < head.size_bytes <= self._scoring.max_body_bytes or any(head.has(name) for name in _SPECIAL):
            return None
        if self._origins.refusal("POST", headers) is not None:
            return None
        self._remember(data, head)
        return head

    def _remember(self, data: bytes, head: EndpointHead) -> None:
        """Knows `data`, the bytes of a whole head, when they come again; from its first line on, or not at all."""
        # A parser skips empty lines before a request: then these bytes are not its head, and could be anybody's.
        if not data.startswith(_REQUEST) or len(data) > _MAX_KNOWN_BYTES:
            return
        # Where a line ends with less than it should, a parser may see the end of the head elsewhere.
        if head.keep_alive and data.count(b"\n") == data.count(b"\r\n"):
            if len(self._heads) >= _MAX_KNOWN:
                self._heads.clear()
            self._heads[data] = head

    def memory(self, size_bytes: int) -> memoryview:
        """Where a large body goes."""
        # The system gives memory to it only as it is filled.
        return np.empty(size_bytes, dtype=np.uint8).data


class DirectCall(ScoringCall):
    """A request that is answered on its connection."""

    __slots__ = ("_cycle",)

    head: EndpointHead

    def __init__(self, scoring: Scoring, head: EndpointHead, cycle: DirectCycle) -> None:
        # One is made for every request; `super()` would be felt.
        ScoringCall.__init__(self, scoring, INVOCATIONS, head)
        self._cycle: DirectCycle | None = cycle

    def hold(self, size_bytes: int) -> None:
        """Counts what has come of the body; answers the request when all bodies together would take too much."""
        try:
            self.scoring.in_flight.hold(self, size_bytes)
        except NothingDone as error:
            self.end(error)

    def take(self, body: Body) -> None:
        self.has_body = True
        try:
            reading = self.begin(self.head.find(self.head.headers), body)
            if reading is not None:
                asyncio.get_running_loop().run_in_executor(None, reading).add_done_callback(self._read)
        except Exception as error:
            self.end(error)

    def _read(self, reading: "asyncio.Future[Decoded]") -> None:
        try:
            self.decoded(reading.result())
        except Exception as error:
            self.end(error)

    def leave(self) -> None:
        self.end(ClientDisconnected())

    def watch(self) -> None:
        """The server tells at once of a caller who leaves."""

    def reply(self, reply: Reply | None) -> None:
        cycle, self._cycle = self._cycle, None
        if cycle is not None:
            cycle.answer(reply)
