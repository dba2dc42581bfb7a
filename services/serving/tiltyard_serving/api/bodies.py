"""Reading a request's headers and body."""

from litestar.types import HTTPScope, Receive

from tiltyard.errors import PayloadTooLarge, UnsupportedMediaType
from tiltyard_serving.api.in_flight import ClientDisconnected


def header(scope: HTTPScope, name: bytes) -> str | None:
    """The value of a header, the first one when it is there twice."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


async def read_body(scope: HTTPScope, receive: Receive, max_bytes: int) -> bytes:
    """The whole body.

    Of a body over `max_bytes` as much again is read and thrown away: many clients look for an answer only
    once they have sent all.

    Raises:
        PayloadTooLarge: it is over `max_bytes`.
        UnsupportedMediaType: it is compressed.
        ClientDisconnected: the caller left before its end.
    """
    encoding = header(scope, b"content-encoding")
    if encoding and encoding.strip().lower() != "identity":
        raise UnsupportedMediaType(f"This server reads bodies without a content encoding, got '{encoding[:40]}'.")
    length = header(scope, b"content-length") or ""
    if length.isascii() and length.isdigit() and int(length) > 2 * max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size_bytes = 0
    more = True
    while more and size_bytes <= 2 * max_bytes:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnected
        chunk = message["body"]
        more = message["more_body"]
        size_bytes += len(chunk)
        if size_bytes <= max_bytes:
            chunks.append(chunk)
        else:
            chunks.clear()
    if size_bytes > max_bytes:
        raise _too_large(max_bytes)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is over the limit of {max_bytes} bytes.")
