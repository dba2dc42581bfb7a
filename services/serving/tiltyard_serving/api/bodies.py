"""Reading a request's headers and body."""

import asyncio
import re
import zlib
from collections.abc import Callable

from litestar.types import HTTPScope, Receive

from tiltyard.errors import BadRequest, PayloadTooLarge, TemporarilyUnavailable, UnsupportedMediaType
from tiltyard_serving.api.in_flight import ClientDisconnected

_CHUNK_BYTES = 1024 * 1024
# A member of its own costs some work, even when it is empty.
_MAX_MEMBERS = 10_000
_PIECE_BYTES = 16 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=\-]{1,128}")


def header(scope: HTTPScope, name: bytes) -> str | None:
    """The value of a header, the first one when it is there twice."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def request_id(scope: HTTPScope) -> str | None:
    """The caller's `x-request-id`, if it is one that logs can hold."""
    return valid_request_id(header(scope, b"x-request-id"))


def valid_request_id(named: str | None) -> str | None:
    """`named`, if it is an id that logs can hold."""
    return named if named and _REQUEST_ID.fullmatch(named) else None


async def read_body(
    scope: HTTPScope, receive: Receive, max_bytes: int, hold: Callable[[int], None] | None = None
) -> bytes:
    """The whole body; `hold` is told of each piece that is kept.

    Of a body over `max_bytes` as much again is read and thrown away, and the rest of one that `hold` refuses: many
    clients look for an answer only once they have sent all.

    Raises:
        PayloadTooLarge: it is over `max_bytes`.
        TemporarilyUnavailable: `hold` refuses it.
        ClientDisconnected: the caller left before its end.
    """
    length = header(scope, b"content-length") or ""
    if length.isascii() and length.isdigit() and int(length) > 2 * max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size_bytes = 0
    refusal: TemporarilyUnavailable | None = None
    more = True
    while more and size_bytes <= 2 * max_bytes:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnected
        chunk = message["body"]
        more = message["more_body"]
        size_bytes += len(chunk)
        if hold is not None and refusal is None and size_bytes <= max_bytes:
            try:
                hold(len(chunk))
            except TemporarilyUnavailable as error:
                refusal = error
        if size_bytes <= max_bytes and refusal is None:
            chunks.append(chunk)
        else:
            chunks.clear()
    if size_bytes > max_bytes:
        raise _too_large(max_bytes)
    if refusal is not None:
        raise refusal
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def inflated(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """`body` without its content encoding, off the event loop: a small body may become a large one.

    Raises:
        UnsupportedMediaType: the encoding is neither gzip nor zstd.
        BadRequest: the body is damaged.
        PayloadTooLarge: it becomes more than `max_bytes`.
    """
    name = encoding.strip().lower()
    if name == "identity":
        return body
    inflate = _INFLATE.get(name)
    if inflate is None:
        raise UnsupportedMediaType(f"This server reads bodies encoded with gzip or zstd, got '{encoding[:40]}'.")
    return await asyncio.to_thread(inflate, body, max_bytes)


def inflate_gzip(body: bytes, max_bytes: int) -> bytes:
    """The content of gzip members. Raises: BadRequest, PayloadTooLarge."""
    chunks: list[bytes] = []
    left_bytes = max_bytes
    at = 0
    whole = memoryview(body)
    members = 0
    while at < len(body):
        members += 1
        if members > _MAX_MEMBERS:
            raise PayloadTooLarge(f"The request body has over {_MAX_MEMBERS} gzip members; compress it as one.")
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        # Piece by piece: what is left after a member's end is copied, and of the whole body that would be much.
        while at < len(body) and not member.eof:
            piece = whole[at : at + _PIECE_BYTES]
            try:
                chunks.append(member.decompress(piece, left_bytes + 1))
            except zlib.error:
                raise BadRequest("The request body is no valid gzip.") from None
            left_bytes -= len(chunks[-1])
            if left_bytes < 0:
                raise _too_large(max_bytes)
            at += len(piece) - len(member.unused_data)
        if not member.eof:
            raise BadRequest("The request body is no valid gzip: it ends too early.")
    return b"".join(chunks)


def inflate_zstd(body: bytes, max_bytes: int) -> bytes:
    """The content of a zstd stream. Raises: BadRequest, PayloadTooLarge."""
    import pyarrow as pa

    chunks: list[bytes] = []
    left_bytes = max_bytes
    try:
        with pa.input_stream(pa.py_buffer(body), compression="zstd") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    raise _too_large(max_bytes)
                chunks.append(chunk)
    except (pa.ArrowException, OSError, ValueError):
        raise BadRequest("The request body is no valid zstd.") from None
    return b"".join(chunks)


_INFLATE = {"gzip": inflate_gzip, "x-gzip": inflate_gzip, "zstd": inflate_zstd}


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is over the limit of {max_bytes} bytes.")
