"""A load generator: keep-alive connections that send the next request when the answer to the last is there.

It is Python on one core (uvloop, no parsing beyond the length of the body), at most some 20,000 small answers a
second on a core of its own; it shares the cores with the servers, all of them alike.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import psutil
import uvloop

_IDLE_CPU_S = 0.1  # Of all servers, within a second.


class Measured(NamedTuple):
    """What one server did in one round."""

    per_second: float
    cpu_ms: float
    """CPU time of the server's own processes per request, the database's not counted."""
    refused: int
    """Requests answered by anything but 200; they count for nothing."""


class Refused(Exception):
    """The server answered with another status than 200."""


class Target(NamedTuple):
    """A running server; `pid` is the root of its processes."""

    name: str
    port: int
    pid: int


class _Connection(asyncio.Protocol):
    def __init__(self, port: int) -> None:
        self._port = port
        self._buffer = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0 or self._answer is None:
            return
        headers = bytes(self._buffer[:head]).lower()
        place = headers.find(b"\r\ncontent-length:")
        if place >= 0:
            length = int(headers[place + 17 :].split(b"\r\n", 1)[0])
            if len(self._buffer) < head + 4 + length:
                return
        elif not self._buffer.endswith(b"0\r\n\r\n"):
            return
        answer, self._answer = self._answer, None
        whole = bytes(self._buffer)
        self._buffer.clear()
        if not answer.done():
            answer.set_result(whole)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Refused("the server closed the connection"))

    async def ask(self, request: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        if self._transport.is_closing():
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        self._answer = loop.create_future()
        self._transport.write(request)
        answer = await self._answer
        if answer[9:12] != b"200":
            raise Refused(answer[:600])
        return answer

    def close(self) -> None:
        self._transport.close()


Turn = Callable[[_Connection], Any]


def get(path: str) -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, body: object) -> bytes:
    """A POST request with a JSON body."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    return head.encode() + str(len(content)).encode() + b"\r\n\r\n" + content


def body_of(answer: bytes) -> Any:
    """The JSON of an answer that tells its length."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def run(target: Target, turn: Turn, *, connections: int, seconds: float = 60, turns: int | None = None) -> Measured:
    """Lets `connections` take turns at `turn` for `seconds`, or until `turns` were taken."""

    async def work() -> Measured:
        loop = asyncio.get_running_loop()
        opened = [_Connection(target.port) for _ in range(connections)]
        for one in opened:
            await loop.create_connection(partial(_itself, one), "127.0.0.1", target.port)
        left = iter(range(turns)) if turns is not None else _endless()
        done, refused, until = 0, 0, time.perf_counter() + seconds

        async def take(connection: _Connection) -> None:
            nonlocal done, refused
            while (not done + refused or time.perf_counter() < until) and next(left, None) is not None:
                try:
                    await turn(connection)
                    done += 1
                except Refused:
                    refused += 1

        async def warm_up(connection: _Connection) -> int:
            try:
                await turn(connection)
            except Refused:
                return 1
            return 0

        early = sum(await asyncio.gather(*map(warm_up, opened[: 0 if turns else None])))
        started, cpu_s = time.perf_counter(), _cpu_s(target.pid)
        await asyncio.gather(*map(take, opened))
        took_s, used_s = time.perf_counter() - started, _cpu_s(target.pid) - cpu_s
        for connection in opened:
            connection.close()
        return Measured(done / took_s, used_s / (done + refused) * 1000, early + refused)

    return uvloop.run(work())


def wait_until_idle(targets: Iterable[Target]) -> None:
    """Returns once none of the servers is busy: after it is ready one may still start what it runs beside."""
    known, used_s = list(targets), -1.0
    while True:
        now_s = sum(_cpu_s(target.pid) for target in known)
        if now_s - used_s < _IDLE_CPU_S:
            return
        used_s = now_s
        time.sleep(1)


def _itself(connection: _Connection) -> _Connection:
    return connection


def _endless() -> Iterator[int]:
    while True:
        yield 0


def _cpu_s(pid: int) -> float:
    root = psutil.Process(pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))
