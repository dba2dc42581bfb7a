"""The head of a scoring request: what is asked, by whom, in which form, and for how long they wait."""

import math

from tiltyard.server.direct import Header
from tiltyard.telemetry.log_lines import REQUEST_ID_HEADER, valid_request_id
from tiltyard_serving.auth.callers import Caller, Headers
from tiltyard_serving.scoring.formats import wanted

TIMEOUT_HEADER = b"x-request-timeout-s"
_MAX_LENGTH_DIGITS = 18


class RequestHead:
    """What the head of one request says. Requests whose heads are the same share it: nothing of it is changed.

    Attributes:
        caller: None for who has not said who they are.
        size_bytes: what the body has, 0 where that is not told.
        timeout_s: the caller's own limit, infinite where there is none.
        fault: why the request is refused, whatever it asks; None for one that is in order.
        echo: the headers that come back.
    """

    __slots__ = (
        "_first",
        "caller",
        "content_type",
        "echo",
        "fault",
        "format",
        "headers",
        "keep_alive",
        "path",
        "request_id",
        "size_bytes",
        "timeout_s",
    )

    def __init__(self, path: str, headers: Headers, caller: Caller | None, *, keep_alive: bool = True) -> None:
        """`headers` have their names in lower case; of those that are there twice the first one counts."""
        self.path = path
        self.headers = headers
        self.caller = caller
        self.keep_alive = keep_alive
        self._first = dict(reversed(headers))
        length = self._first.get(b"content-length", b"")
        self.size_bytes = int(length) if length.isdigit() and len(length) <= _MAX_LENGTH_DIGITS else 0
        self.content_type = self.header(b"content-type")
        self.format = wanted(self.header(b"accept"))
        self.timeout_s, self.fault = _timeout(self.header(TIMEOUT_HEADER))
        self.request_id = valid_request_id(self.header(REQUEST_ID_HEADER))
        self.echo: tuple[Header, ...] = ()
        if self.request_id is not None:
            self.echo = ((REQUEST_ID_HEADER, self.request_id.encode()),)

    def has(self, name: bytes) -> bool:
        """Whether there is such a header, be it empty."""
        return name in self._first

    def header(self, name: bytes) -> str | None:
        """The value of a header."""
        value = self._first.get(name)
        return None if value is None else value.decode("latin-1")


def _timeout(told: str | None) -> tuple[float, str | None]:
    """The caller's limit in seconds, and what is wrong with what they told."""
    if told is None:
        return math.inf, None
    try:
        limit_s = float(told)
    except ValueError:
        limit_s = math.nan
    if limit_s > 0:
        return limit_s, None
    return math.inf, f"The header '{TIMEOUT_HEADER.decode()}' must be seconds above 0, got '{told[:40]}'."
