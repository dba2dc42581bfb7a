"""A load generator that costs little: keep-alive connections, each with one request at a time."""

import asyncio
import gc
import time
from dataclasses import dataclass, field

import uvloop

SETTLE_S = 0.3


@dataclass
class Load:
    """What came of one round. Seconds are those from the first byte sent to the last one read."""

    requests_per_s: float = 0.0
    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    # Answers 503 that did not say when to come again.
    without_retry_after: int = 0

    def quantile_ms(self, share: float) -> float:
        """The milliseconds within which this share of the requests was answered."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, load: Load) -> None:
        self._request = request
        self._load = load
        self._read = b""
        self._began_s = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._read = self._read + data if self._read else data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found:
            return
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if len(body) < int(length or b"0"):
            return
        status = int(head[9:12])
        self._load.seconds.append(time.perf_counter() - self._began_s)
        self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
        if status == 503 and b"retry-after:" not in head.lower():
            self._load.without_retry_after += 1
        self._read = b""
        self._ask()

    def _ask(self) -> None:
        self._began_s = time.perf_counter()
        assert self._transport is not None
        self._transport.write(self._request)

    def close(self) -> None:
        """Drops the connection."""
        if self._transport is not None:
            self._transport.abort()


def load(
    port: int,
    body: bytes,
    *,
    connections: int = 16,
    seconds: float = 2.0,
    path: str = "/invocations",
    content_type: str = "application/json",
    accept: str = "*/*",
) -> Load:
    """One round against the server at `port`."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    # With all that a process of tests has loaded, one collection of garbage would take as long as many answers.
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_run(port, head.encode() + body, connections, seconds))
    finally:
        gc.enable()


async def _run(port: int, request: bytes, connections: int, seconds: float) -> Load:
    result = Load()
    loop = asyncio.get_running_loop()
    open_ones = [
        (await loop.create_connection(lambda: _Connection(request, result), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(SETTLE_S)
    result.seconds.clear()
    result.statuses.clear()
    began_s = time.perf_counter()
    await asyncio.sleep(seconds)
    took_s = time.perf_counter() - began_s
    result.requests_per_s = len(result.seconds) / took_s
    for connection in open_ones:
        connection.close()
    return result
