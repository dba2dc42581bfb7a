"""Requests that wish for another protocol are answered as if they did not, on the connections of both services."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from tests.fixtures.waiting import until
from tiltyard.server.connection import MAX_HEAD_BYTES, Connections
from tiltyard.server.direct import DirectAnswers
from tiltyard.server.settings import ConnectionTimeouts

BODY = b'{"name": "a body"}'
# As the HTTP client of Java sends its first request to a server.
WISH = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\nUpgrade: h2c\r\n"
HEADERS = {
    "h2c": WISH,
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n",
    "two lines": b"Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: a/1, b\r\n",
    "expecting": WISH + b"Expect: 100-continue\r\n",
    "no wish": b"",
}


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers what it was told."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    names = sorted({name.decode() for name, _ in scope["headers"]})
    told = json.dumps([scope["method"], scope["path"], body.decode(), names]).encode()
    head = [(b"content-length", b"%d" % len(told))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": told})


@contextlib.asynccontextmanager
async def serving(direct: DirectAnswers | None = None) -> AsyncIterator[int]:
    """The port of the application, served with the connections of the services; it may answer some directly."""
    made: Any = Connections(ConnectionTimeouts(), direct)
    config = uvicorn.Config(echo, http=made, ws="none", lifespan="off", log_config=None, loop="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = server.force_exit = True
        await running


async def answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    """Status and body of the next answer that is no interim one."""
    status = 100
    while status == 100:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        status = int(head.split()[1])
    length = int(head.partition("content-length: ")[2].split("\r\n")[0])
    body = await reader.readexactly(length)
    return status, json.loads(body)


def request(headers: bytes, body: bytes = BODY, form: str = "length") -> bytes:
    """A POST with these headers."""
    head = b"POST /some%20where?a=b HTTP/1.1\r\nHost: here\r\n" + headers
    if form == "chunks":
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("form", ["length", "chunks"])
@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
async def test_the_wish_is_passed_over(headers: bytes, form: str) -> None:
    """The request is read with its body, however it comes in pieces, and the connection goes on after it."""
    sent = request(headers, form=form)
    async with serving() as port:
        for size in (len(sent), 7, sent.index(b"\r\n\r\n") + 4):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for start in range(0, len(sent), size):
                writer.write(sent[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(request(WISH, b"second") + request(b"", b"third"))
            told = [await answer(reader) for _ in range(3)]
            assert [status for status, _ in told] == [200] * 3
            assert [found[:3] for _, found in told] == [
                ["POST", "/some where", body] for body in (BODY.decode(), "second", "third")
            ]
            assert not {"upgrade", "http2-settings"} & set(told[0][1][3])
            writer.close()


@pytest.mark.parametrize("pieces", [1, 2, 40])
async def test_a_head_over_the_limit_is_refused_however_it_comes(pieces: int) -> None:
    """In one packet or in many: 431, and nobody is asked."""
    sent = request(b"X-Long: " + b"x" * MAX_HEAD_BYTES + b"\r\n")
    size = -(-len(sent) // pieces)
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(sent), size):
                writer.write(sent[start : start + size])
                await writer.drain()
        assert (await reader.readline()).split()[1] == b"431"
        writer.close()


async def test_a_large_body_with_a_small_head_is_no_large_head() -> None:
    """Only the head has that limit."""
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(b"", b"x" * 4 * MAX_HEAD_BYTES))
        assert (await answer(reader))[1][2] == "x" * 4 * MAX_HEAD_BYTES
        writer.close()
