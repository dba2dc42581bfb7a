"""Callers at a steady rate, some of whom leave early, while versions change under them."""

import asyncio
import itertools
import json
import math
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import uvloop

from tests.fixtures.waiting import wait_until
from tests.serving.saved_models import column, signature
from tiltyard import pyfunc

CALLERS = 50
LEAVERS = 4
LEAVE_EACH_S = 0.1
LATE_S = 30.0


def numbered(path: Path, number: int) -> None:
    """A model whose answer tells the caller's number and its own: `10 * a + number`."""

    def predict(frame: Any) -> Any:
        return (frame["a"] * 10 + number).to_numpy()

    pyfunc.save_model(
        predict,
        path,
        signature=signature([column("a", "long")]),
        input_example=pd.DataFrame({"a": [1, 2]}),
        metadata={"tiltyard.row_wise": True},
        pip_requirements=[],
    )


class Soak:
    """`per_second` requests for the default model until it is left; `failures` says what was not as it should be."""

    def __init__(self, port: int, *, per_second: float) -> None:
        self.failures: list[str] = []
        self.answers: Counter[str] = Counter()
        self.left_early = 0
        self.seconds: list[float] = []
        self.took_s = 0.0
        self._first: dict[str, float] = {}
        self._port = port
        self._pause_s = CALLERS / per_second
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()))

    def __str__(self) -> str:
        total, ordered = self.answers.total(), sorted(self.seconds)
        at = {share: ordered[min(total - 1, int(share * total))] * 1e3 for share in (0.5, 0.99, 1.0)}
        rate = total / self.took_s
        return (
            f"{total:,} requests at {rate:.0f}/s, {len(self.failures)} failed, {self.left_early} callers left early; "
            f"answered in {at[0.5]:.1f} ms, 99 % in {at[0.99]:.1f} ms, all in {at[1.0]:.0f} ms"
        )

    def __enter__(self) -> "Soak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Sends no more, and returns once all that was sent is answered."""
        self._stop.set()
        self._thread.join()

    def live_within(self, version: str, moved_s: float) -> float:
        """Seconds from `moved_s` until `version` answered first."""
        wait_until(lambda: self._first.get(version, -math.inf) >= moved_s, told=lambda: f"version {version}")
        return self._first[version] - moved_s

    def forget(self, version: str) -> None:
        """The next answer of `version` is the first again."""
        self._first.pop(version, None)

    async def _run(self) -> None:
        began_s = time.monotonic()
        await asyncio.gather(*map(self._call, range(CALLERS)), *(self._leave() for _ in range(LEAVERS)))
        self.took_s = time.monotonic() - began_s

    def _request(self, number: int) -> bytes:
        body = json.dumps({"dataframe_split": {"columns": ["a"], "data": [[number]]}})
        return (
            "POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    async def _call(self, place: int) -> None:
        """One caller on one connection, whose requests have their times: a late answer delays none but its own."""
        due_s = time.monotonic() + place * self._pause_s / CALLERS
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while not self._stop.is_set():
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            due_s += self._pause_s
            number = next(self._numbers)
            began_s = time.monotonic()
            try:
                async with asyncio.timeout(LATE_S):
                    writer.write(self._request(number))
                    status, version, body = await self._answer(reader)
            except (OSError, EOFError, TimeoutError) as error:
                self.failures.append(f"{number}: {error!r}")
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                continue
            self.seconds.append(time.monotonic() - began_s)
            if status != 200 or json.loads(body) != {"predictions": [10 * number + int(version)]}:
                self.failures.append(f"{number}: {status} {version} {body[:200]!r}")
            self.answers[version] += 1
            self._first.setdefault(version, time.monotonic())
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, str, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = (line.partition(":") for line in head.split("\r\n")[1:])
        headers = {name.lower(): value.strip() for name, _, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        return int(head[9:12]), headers.get("x-tiltyard-model", "").rpartition("/")[2], body

    async def _leave(self) -> None:
        """A caller who leaves: within the request, after it, or within the answer."""
        while not self._stop.is_set():
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            request = self._request(next(self._numbers))
            how = random.randrange(3)
            writer.write(request[: random.randrange(len(request))] if how == 0 else request)
            if how == 2:
                await reader.read(random.randrange(1, 60))
            else:
                await asyncio.sleep(random.random() * 0.005)
            writer.transport.abort()
            self.left_early += 1
            await asyncio.sleep(LEAVE_EACH_S)
