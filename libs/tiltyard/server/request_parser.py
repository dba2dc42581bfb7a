"""The parser of a connection, and requests that wish for another protocol: they are read as if they did not."""

from collections.abc import Callable, Iterator
from typing import Any

import httptools

# The headers of such a wish.
_WISH = (b"upgrade", b"http2-settings")


class RequestParser(httptools.HttpRequestParser):
    """The parser of one connection. It hands over what follows the head of a request that wishes for an upgrade."""

    def __init__(self, connection: Any, upgrade: Callable[[bytes], None]) -> None:
        super().__init__(connection)
        # So that a request may come with the one before it, whose answer closes the connection.
        self.set_dangerous_leniencies(lenient_data_after_close=True)
        self._upgrade = upgrade

    def feed_data(self, data: Any) -> None:
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])


def head_without_wish(parser: httptools.HttpRequestParser, url: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The head that was parsed last, as if it did not wish for another protocol."""
    head = b"%b %b HTTP/%b\r\n" % (parser.get_method(), url, parser.get_http_version().encode())
    return head + b"".join(b"%b: %b\r\n" % header for header in _without_wish(headers)) + b"\r\n"


def _without_wish(headers: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == b"connection":
            kept = [option for option in value.split(b",") if option.strip().lower() not in _WISH]
            if kept:
                yield name, b",".join(kept)
        elif name not in _WISH:
            yield name, value
