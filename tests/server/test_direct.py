"""Requests that an application answers on their connection, as the server room gives them to it."""

import asyncio

import pytest

from tests.server.test_upgrades import answer, serving
from tiltyard.server.direct import DirectCycle, Header, Reply
from tiltyard.server.large_body import LARGE_BYTES


class Head:
    """What is known of a head."""

    def __init__(self, size_bytes: int, *, keep_alive: bool) -> None:
        self.size_bytes = size_bytes
        self.keep_alive = keep_alive


class Request:
    """A request that is answered with the size of its body, after a turn of the event loop."""

    def __init__(self, answers: "Sizes", cycle: DirectCycle) -> None:
        self._answers = answers
        self._cycle = cycle
        self._held_bytes = 0
        answers.begun += 1

    def hold(self, size_bytes: int) -> None:
        """Counts it; a body that holds too much is refused before it is whole."""
        self._held_bytes += size_bytes
        if self._held_bytes > self._answers.most_bytes:
            self._cycle.answer(Reply(413, b"0"))

    def take(self, body: bytes | memoryview) -> None:
        """Answers a little later."""
        asyncio.get_running_loop().call_soon(self._cycle.answer, Reply(200, b"%d" % len(bytes(body))))

    def leave(self) -> None:
        """Nobody is answered."""
        self._answers.left += 1
        self._cycle.answer(None)


class Sizes:
    """Answers POST requests to `/size` whose length is told."""

    def __init__(self, most_bytes: int = 10**9) -> None:
        self.most_bytes = most_bytes
        self.begun = self.left = self.read_heads = 0
        self._heads: dict[bytes, Head] = {}

    def known(self, data: bytes, /) -> Head | None:
        """One that has come before."""
        return self._heads.get(data)

    def read(self, url: bytes, headers: list[Header], data: bytes, *, keep_alive: bool) -> Head | None:
        """One that comes for the first time."""
        length = dict(headers).get(b"content-length")
        if url != b"/size" or length is None:
            return None
        self.read_heads += 1
        head = Head(int(length), keep_alive=keep_alive)
        if data:
            self._heads[data] = head
        return head

    def begin(self, head: Head, cycle: DirectCycle) -> Request:
        """One more request."""
        return Request(self, cycle)

    def memory(self, size_bytes: int) -> memoryview:
        """Where a large body goes."""
        return memoryview(bytearray(size_bytes))


def post(path: bytes, size_bytes: int, headers: bytes = b"") -> bytes:
    """A request with a body of that size."""
    return b"POST %b HTTP/1.1\r\nHost: here\r\n%bContent-Length: %d\r\n\r\n%b" % (
        path,
        headers,
        size_bytes,
        b"x" * size_bytes,
    )


@pytest.mark.parametrize("size_bytes", [3, 3 * LARGE_BYTES])
async def test_a_request_is_answered_on_its_connection_and_its_head_read_once(size_bytes: int) -> None:
    """Also one with a large body, which goes past the parser; others in between take the ordinary way."""
    sizes = Sizes()
    async with serving(sizes) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(post(b"/size", size_bytes))
            assert await answer(reader) == (200, size_bytes)
            writer.write(post(b"/other", 2))
            assert (await answer(reader))[1][:3] == ["POST", "/other", "xx"]
        assert (sizes.begun, sizes.read_heads) == (3, 1)
        writer.write(post(b"/size", 3, b"Connection: close\r\n") + post(b"/size", 3))
        assert await answer(reader) == (200, 3)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("size_bytes", [200_000, 2 * LARGE_BYTES])
async def test_a_request_may_be_answered_before_its_body_is_whole(size_bytes: int) -> None:
    """The rest is thrown away, and the next request begins after it."""
    async with serving(Sizes(most_bytes=1000)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(post(b"/size", size_bytes)[: size_bytes // 2])
            assert await answer(reader) == (413, 0)
            writer.write(b"x" * (len(post(b"/size", size_bytes)) - size_bytes // 2) + post(b"/size", 5))
            assert await answer(reader) == (200, 5)
        writer.close()


@pytest.mark.parametrize("size_bytes", [1000, 2 * LARGE_BYTES])
async def test_a_request_is_told_when_its_caller_leaves(size_bytes: int) -> None:
    """In the middle of its body, wherever that goes."""
    sizes = Sizes()
    async with serving(sizes) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"/size", size_bytes)[:-1])
        await writer.drain()
        async with asyncio.timeout(30):
            while not sizes.begun:
                await asyncio.sleep(0)
        writer.close()
        async with asyncio.timeout(30):
            while not sizes.left:
                await asyncio.sleep(0)
        assert (sizes.begun, sizes.left) == (1, 1)
