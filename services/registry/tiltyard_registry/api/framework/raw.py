"""One request and its one answer in raw ASGI, for bodies that are streamed and headers that are exact."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec
from litestar.types import Receive, Send

from tiltyard import errors
from tiltyard_registry.rules.access import Principal

Headers = list[tuple[bytes, bytes]]


class Request(NamedTuple):
    """One request, its path below the resource already decoded."""

    method: str
    resource: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    who: Principal
    receive: Receive


class ClientGone(Exception):
    """Nobody is there to be answered."""


class Response:
    """The one answer to a request."""

    def __init__(self, send: Send, *, head: bool) -> None:
        self._send: Any = send
        self._head = head
        self.started = False

    async def _start(self, status: int, headers: Headers) -> None:
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends an answer whose body is at hand."""
        await self._start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self._send({"type": "http.response.body", "body": b"" if self._head else body})

    async def json(self, reply: msgspec.Struct) -> None:
        """Sends a Struct as JSON."""
        await self.whole(200, [(b"content-type", b"application/json")], msgspec.json.encode(reply))

    async def stream(
        self, status: int, headers: Headers, chunks: AsyncGenerator[bytes, None], receive: Receive
    ) -> None:
        """Sends `chunks`; the status goes out with the first, so that a file that fails at once is an error."""
        if self._head:
            await self._start(status, headers)
            await self._send({"type": "http.response.body", "body": b""})
            return
        async with aclosing(chunks):
            first = await anext(chunks, b"")
            gone = asyncio.create_task(_disconnected(receive))
            try:
                await self._start(status, headers)
                await self._send({"type": "http.response.body", "body": first, "more_body": True})
                async for chunk in chunks:
                    if gone.done():
                        raise ClientGone
                    await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
                await self._send({"type": "http.response.body", "body": b""})
            finally:
                gone.cancel()


async def body(receive: Receive) -> AsyncIterator[bytes]:
    """The chunks of a request's body.

    Raises:
        ClientGone: the connection broke before the end.
    """
    more = True
    while more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def whole_body(receive: Receive, *, max_bytes: int) -> bytes:
    """The request's body at once.

    Raises:
        PayloadTooLarge: it is longer than `max_bytes`.
    """
    gathered = bytearray()
    async for chunk in body(receive):
        gathered += chunk
        if len(gathered) > max_bytes:
            raise errors.PayloadTooLarge(f"The body is over the fixed limit of {max_bytes} bytes for this call.")
    return bytes(gathered)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def path_text(raw: bytes) -> str:
    """The text of a path that was percent-decoded once.

    Raises:
        InvalidParameterValue: it is not UTF-8.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise errors.InvalidParameterValue("Invalid path for parameter 'path': not UTF-8.") from None
