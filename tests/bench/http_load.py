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
    # Answers 429 that did not say when to come again.
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
        # Of the answer whose head is there.
        self._missing_bytes = 0
        self._status = 0
        self._began_s = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._ask()

    def data_received(self, data: bytes) -> None:
        if self._missing_bytes:
            self._missing_bytes -= len(data)
        else:
            self._read = self._read + data if self._read else data
            end = self._read.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            head = self._read[:end].lower()
            length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
            self._missing_bytes = end + int(length or b"0") - len(self._read)
            self._status = int(head[9:12])
            if self._status == 429 and b"retry-after:" not in head:
                self._load.without_retry_after += 1
            self._read = b""
        if self._missing_bytes:
            return
        self._load.seconds.append(time.perf_counter() - self._began_s)
        self._load.statuses[self._status] = self._load.statuses.get(self._status, 0) + 1
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
