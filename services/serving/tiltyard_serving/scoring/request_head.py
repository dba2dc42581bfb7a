"""The heads of scoring requests: what is asked, read once for all requests whose heads are the same."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from litestar.types import HTTPScope

from tiltyard.server.host_guard import Origins
from tiltyard.telemetry.request_id import REQUEST_ID_HEADER, valid_request_id
from tiltyard_serving.scoring.asgi import Invocations, ScoringTarget
from tiltyard_serving.scoring.formats import wanted
from tiltyard_serving.scoring.in_flight import TIMEOUT_HEADER

Find = Callable[[HTTPScope], ScoringTarget]

# How the head of each request that is answered here begins.
_REQUEST = b"POST /"
# With these a request takes the ordinary way.
_SPECIAL = (b"transfer-encoding", b"content-encoding", b"expect", b"upgrade")

# A client that keeps its connection sends the same head again and again. Others are not worth keeping.
_MAX_KNOWN = 512
_MAX_KNOWN_BYTES = 1024


class RequestHead:
    """What the head of one request says. Shared by requests: nothing of it is changed."""

    __slots__ = (
        "content_type",
        "echo",
        "find",
        "format",
        "keep_alive",
        "named",
        "path",
        "scope",
        "size_bytes",
        "timeout",
    )

    def __init__(
        self,
        find: Find,
        path: str,
        shown: str,
        headers: Sequence[tuple[bytes, bytes]],
        first: dict[bytes, bytes],
        *,
        keep_alive: bool,
    ) -> None:
        """`path` is that below the mount, `shown` the whole of it; `first` has the first header of each name."""
        self.find = find
        self.path = shown
        # As much of a scope as a route looks at.
        self.scope: Any = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
        self.size_bytes = int(first[b"content-length"])
        self.keep_alive = keep_alive
        self.content_type = _text(first, b"content-type")
        self.format = wanted(_text(first, b"accept"))
        # The text of the header: whether it is a time is said when the request is answered.
        self.timeout = _text(first, TIMEOUT_HEADER)
        self.named = valid_request_id(_text(first, REQUEST_ID_HEADER))
        self.echo = () if self.named is None else ((REQUEST_ID_HEADER, self.named.encode()),)


class RequestHeadCache:
    """Which requests are answered on their connection: those to `paths`, and those below a path of `mounts`."""

    def __init__(
        self, invocations: Invocations, origins: Origins, paths: Mapping[str, Find], mounts: Mapping[str, Find]
    ) -> None:
        self._max_body_bytes = invocations.max_body_bytes
        self._origins = origins
        self._paths = {path.encode(): find for path, find in paths.items()}
        self._mounts = {f"{path}/".encode(): find for path, find in mounts.items()}
        self._known: dict[bytes, RequestHead] = {}
        self.known = self._known.get
        self._find = lru_cache(maxsize=1024)(self._found)

    def read(self, url: bytes, headers: list[tuple[bytes, bytes]], *, keep_alive: bool) -> RequestHead | None:
        """The head of a POST request of HTTP/1.1; None for what is not answered on its connection."""
        found = self._find(url)
        if found is None:
            return None
        first = dict(reversed(headers))
        length = first.get(b"content-length", b"")
        if not length.isdigit() or len(length) > len(str(self._max_body_bytes)):
            return None
        if not 0 < int(length) <= self._max_body_bytes or any(name in first for name in _SPECIAL):
            return None
        if self._origins.refusal("POST", headers) is not None:
            return None
        return RequestHead(*found, headers, first, keep_alive=keep_alive)

    def remember(self, data: bytes, head: RequestHead) -> None:
        """Knows `data`, the bytes of a whole head, when they come again; from its first line on, or not at all."""
        # A parser skips empty lines before a request: then these bytes are not its head, and could be anybody's.
        if not data.startswith(_REQUEST) or len(data) > _MAX_KNOWN_BYTES:
            return
        # Where a line ends with less than it should, a parser may see the end of the head elsewhere.
        if head.keep_alive and data.count(b"\n") == data.count(b"\r\n"):
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[data] = head

    def _found(self, url: bytes) -> tuple[Find, str, str] | None:
        if (find := self._paths.get(url)) is not None:
            return find, url.decode(), url.decode()
        if b"%" not in url and b"?" not in url and url.isascii():
            for mount, find in self._mounts.items():
                if url.startswith(mount):
                    return find, url[len(mount) - 1 :].decode(), url.decode()
        return None


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
