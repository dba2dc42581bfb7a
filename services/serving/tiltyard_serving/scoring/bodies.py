"""Reading a request's body."""

import asyncio
import zlib
from collections.abc import Callable, Iterator

from litestar.types import Receive

from tiltyard.errors import BadRequest, NothingDone, PayloadTooLarge, UnsupportedMediaType
from tiltyard_serving.scoring.in_flight import ClientDisconnected

_CHUNK_BYTES = 1024 * 1024
# A member of its own costs some work, even when it is empty.
_MAX_MEMBERS = 10_000
_COMPRESSED_BYTES = 16 * 1024
_PIECE_CHUNKS = 64


async def read_body(
    receive: Receive, max_bytes: int, told_bytes: int = 0, hold: Callable[[int], None] | None = None
) -> bytes:
    """The whole body, of which `told_bytes` are announced; `hold` is told of each piece that is kept.

    Of a body over `max_bytes` as much again is read and thrown away, and the rest of one that `hold` refuses: many
    clients look for an answer only once they have sent all.

    Raises:
        PayloadTooLarge: it is over `max_bytes`.
        NothingDone: `hold` refuses it.
        ClientDisconnected: the caller left before its end.
    """
    if told_bytes > 2 * max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size_bytes = 0
    refusal: NothingDone | None = None
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
            except NothingDone as error:
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


async def inflated(body: bytes, encoding: str, max_bytes: int, hold: Callable[[int], None] | None = None) -> bytes:
    """`body` without its content encoding, off the event loop: a small body may become a large one.

    `hold` is told of each piece. When the task is cancelled the thread stops at the end of a piece.

    Raises:
        UnsupportedMediaType: the encoding is neither gzip nor zstd.
        BadRequest: the body is damaged.
        PayloadTooLarge: it becomes more than `max_bytes`.
        NothingDone: `hold` refuses it.
    """
    name = encoding.strip().lower()
    if name == "identity":
        return body
    inflate = INFLATE.get(name)
    if inflate is None:
        raise UnsupportedMediaType(f"This server reads bodies encoded with gzip or zstd, got '{encoding[:40]}'.")
    left = inflate(body, max_bytes)
    pieces: list[bytes] = []
    more = True
    while more:
        piece, more = await asyncio.to_thread(_next_piece, left)
        if hold is not None:
            hold(len(piece))
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _next_piece(left: Iterator[bytes]) -> tuple[bytes, bool]:
    """What a thread inflates at a time, and whether there may be more."""
    chunks: list[bytes] = []
    size_bytes = 0
    for chunk in left:
        chunks.append(chunk)
        size_bytes += len(chunk)
        if size_bytes >= _CHUNK_BYTES or len(chunks) == _PIECE_CHUNKS:
            return b"".join(chunks), True
    return b"".join(chunks), False


def inflate_gzip(body: bytes, max_bytes: int) -> Iterator[bytes]:
    """The content of gzip members, in chunks, of which some are empty. Raises: BadRequest, PayloadTooLarge."""
    left_bytes = max_bytes
    at = 0
    whole = memoryview(body)
    members = 0
    while at < len(body):
        members += 1
        if members > _MAX_MEMBERS:
            raise PayloadTooLarge(f"The request body has over {_MAX_MEMBERS} gzip members; compress it as one.")
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        # A little at a time: what is left after a member's end is copied, and of the whole body that would be much.
        while at < len(body) and not member.eof:
            compressed = whole[at : at + _COMPRESSED_BYTES]
            try:
                chunk = member.decompress(compressed, min(left_bytes + 1, _CHUNK_BYTES))
            except zlib.error:
                raise BadRequest("The request body is no valid gzip.") from None
            left_bytes -= len(chunk)
            if left_bytes < 0:
                raise _inflates_too_large(max_bytes)
            at += len(compressed) - len(member.unconsumed_tail) - len(member.unused_data)
            yield chunk
        if not member.eof:
            raise BadRequest("The request body is no valid gzip: it ends too early.")


def inflate_zstd(body: bytes, max_bytes: int) -> Iterator[bytes]:
    """The content of a zstd stream, in chunks. Raises: BadRequest, PayloadTooLarge."""
    import pyarrow as pa

    left_bytes = max_bytes
    try:
        with pa.input_stream(pa.py_buffer(body), compression="zstd") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    raise _inflates_too_large(max_bytes)
                yield chunk
    except (pa.ArrowException, OSError, ValueError):
        raise BadRequest("The request body is no valid zstd.") from None


INFLATE = {"gzip": inflate_gzip, "x-gzip": inflate_gzip, "zstd": inflate_zstd}


def _inflates_too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"Decompressed, the request body is over the limit 'max_inflated_bytes' of {max_bytes} bytes."
    )


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is over the limit 'max_body_bytes' of {max_bytes} bytes.")
