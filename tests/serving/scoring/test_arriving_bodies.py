"""What the bodies of all requests under way may take together."""

import asyncio
import gc
import gzip
import itertools
import json
import select
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.fixtures.services import Service, StartService
from tests.fixtures.waiting import until
from tests.serving.http_calls import Answer, request
from tests.serving.in_process import App, running
from tests.serving.saved_models import obedient, required
from tests.serving.scoring.test_connection import Wire, answers, connection_of, direct
from tiltyard.server.settings import ConnectionTimeouts
from tiltyard_serving.scoring import bodies

SIZE_BYTES, HALF_BYTES = 1_000_000, 900_000
ROW = b'{"dataframe_split":{"columns":["a","b"],"data":[[1,2.0]]}}'
BODY = ROW.ljust(SIZE_BYTES)
JSON = "Content-Type: application/json\r\n"
HEADERS = {"content-type": "application/json"}
CALLERS, FIT = 10, 3
PATIENT_S = 120.0
# As much as the event loop reads at a time.
READ_BYTES = 256_000


@pytest.fixture
def service(serving: StartService, model: str) -> Service:
    """A scoring service in which three such bodies have room."""
    limits = ["--max-arriving-bytes", str(HALF_BYTES * FIT + 200_000), "--request-timeout-s", "600"]
    return serving("--model", model, *limits)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with two required columns."""
    path = tmp_path_factory.mktemp("required") / "model"
    required(path)
    return str(path)


def test_half_sent_bodies_are_bounded_together(service: Service) -> None:
    """Beyond the bound callers are told to come again, their connections stay good, and others are answered."""
    whole = direct(BODY, "/invocations", JSON)
    callers = [socket.create_connection(("127.0.0.1", service.port), timeout=PATIENT_S) for _ in range(CALLERS)]
    for caller in callers:
        caller.sendall(whole[:HALF_BYTES])
    refused = set()
    while len(refused) < CALLERS - FIT:
        readable, _, _ = select.select([caller for caller in callers if caller not in refused], [], [], PATIENT_S)
        assert readable, "nobody was refused"
        for caller in readable:
            ((status, headers, body),) = answers(caller)
            assert (status, headers["retry-after"]) == (429, "1")
            assert b"'max_arriving_bytes' of 2900000" in body
            refused.add(caller)
    assert request(service.port, "POST", "/invocations", ROW, HEADERS, PATIENT_S).status == 200
    for caller in refused:
        # What is left of a refused body is thrown away, and the next request begins after it.
        caller.sendall(whole[HALF_BYTES:] + direct(ROW, "/invocations", JSON))
        assert answers(caller)[0][0] == 200
    for caller in callers:
        if caller not in refused:
            caller.sendall(whole[HALF_BYTES:])
            assert answers(caller)[0][0] == 200
        caller.close()
    assert request(service.port, "POST", "/invocations", BODY, HEADERS, PATIENT_S).status == 200


class Plug(Wire):
    """A transport that brings what it is given, to whoever receives."""

    def __init__(self, app: App, patience: ConnectionTimeouts = ConnectionTimeouts()) -> None:  # noqa: B008  # it is frozen
        super().__init__()
        self.connection: Any = connection_of(app, patience)
        self.receiver = self.connection
        self.connection.connection_made(self)

    def set_protocol(self, receiver: Any) -> None:
        """From now on it goes there."""
        self.receiver = receiver

    def bring(self, data: bytes, at_once: int) -> None:
        """Brings the data, so many bytes at a time at most."""
        while data:
            if isinstance(self.receiver, asyncio.BufferedProtocol):
                room = cast("memoryview", self.receiver.get_buffer(-1))
                size = min(len(room), len(data), at_once)
                room[:size] = data[:size]
                self.receiver.buffer_updated(size)
            else:
                size = min(len(data), at_once)
                self.receiver.data_received(data[:size])
            data = data[size:]

    async def statuses(self, count: int) -> list[int]:
        """The statuses of so many answers, once they are there."""
        await until(lambda: len(self.written) >= count, PATIENT_S)
        return [int(answer.split()[1]) for answer in self.written]


@pytest.mark.parametrize("at_once", [1_000, 70_000, 150_000, READ_BYTES])
@pytest.mark.parametrize("size_bytes", [200_000, 400_000, SIZE_BYTES])
async def test_a_connection_goes_on_wherever_its_body_was_refused(model: str, at_once: int, size_bytes: int) -> None:
    """Whether the first piece is too much or a later one, the requests that follow begin where that body ends."""
    async with running(models=(model,), max_arriving_bytes=100_000) as app:
        plug = Plug(app)
        large, small = direct(ROW.ljust(size_bytes), "/invocations", JSON), direct(ROW, "/invocations", JSON)
        expected: list[int] = []
        for _ in range(2):
            # The second time its head is known.
            plug.bring(large, at_once)
            plug.bring(small[:30], at_once)
            plug.bring(small[30:], at_once)
            expected += [429, 200]
            assert await plug.statuses(len(expected)) == expected
        # What was refused is given back.
        plug.bring(direct(ROW.ljust(99_000), "/invocations", JSON), at_once)
        assert await plug.statuses(5) == [*expected, 200]
        plug.connection.timeout_keep_alive_task.cancel()


@pytest.mark.parametrize("size_bytes", [2_000, SIZE_BYTES])
@pytest.mark.parametrize("known", [False, True])
async def test_a_body_that_is_arriving_when_the_process_stops_is_answered(
    model: str, size_bytes: int, known: bool
) -> None:
    """Its rest is read, and its answer is the last on the connection and says so; so is the next one of who idles."""
    async with running(models=(model,)) as app:
        plug, idle = Plug(app), Plug(app)
        whole = direct(ROW.ljust(size_bytes), "/invocations", JSON)
        if known:
            plug.bring(whole, READ_BYTES)
            assert await plug.statuses(1) == [200]
        plug.bring(whole[: size_bytes // 2], READ_BYTES)
        arrivals = plug.connection.arrivals
        arrivals.stop()
        arrivals.keep_alive_s = PATIENT_S
        idle.connection.arrivals = arrivals
        for connection in (plug.connection, idle.connection):
            connection.shutdown()
        assert not plug.closed and not idle.closed
        plug.bring(whole[size_bytes // 2 :], READ_BYTES)
        idle.bring(direct(ROW, "/invocations", JSON), READ_BYTES)
        for ended, count in ((plug, 1 + known), (idle, 1)):
            assert await ended.statuses(count) == [200] * count
            assert b"connection: close\r\n" in ended.written[-1]
            assert ended.closed
            ended.connection.connection_lost(None)


async def test_bodies_that_come_in_one_piece_count_as_well(model: str) -> None:
    """Of two that come whole and at once one has room; once it is answered, the other has."""
    async with running(models=(model,), max_arriving_bytes=READ_BYTES) as app:
        whole = direct(ROW.ljust(200_000), "/invocations", JSON)
        plugs = [Plug(app) for _ in range(2)]
        for asked in range(1, 3):
            # Their decoding is left to threads, so the second comes before the answer to the first.
            for plug in plugs:
                plug.bring(whole, READ_BYTES)
            assert await plugs[0].statuses(asked) == [200] * asked
            assert await plugs[1].statuses(asked) == [429] * asked
        plugs[1].bring(whole, READ_BYTES)
        assert await plugs[1].statuses(3) == [429, 429, 200]
        for plug in plugs:
            plug.connection.timeout_keep_alive_task.cancel()


@pytest.mark.parametrize("path", ["/serving-endpoints/model/invocations", "/v2/models/model/infer"])
async def test_bodies_that_are_streamed_are_bounded_too(model: str, path: str) -> None:
    """The ordinary way refuses alike, once the body has come, and what was held is given back."""
    async with running(models=(f"model={model}",), max_arriving_bytes=FIT * SIZE_BYTES) as app:
        rest, halves = asyncio.Event(), asyncio.Semaphore(0)
        infer = b'{"inputs":[{"name":"a","shape":[1],"datatype":"INT64","data":[1]},'
        infer += b'{"name":"b","shape":[1],"datatype":"FP64","data":[2.0]}]}'
        body = (infer if "infer" in path else ROW).ljust(SIZE_BYTES)

        async def pieces() -> AsyncIterator[bytes]:
            yield body[:HALF_BYTES]
            halves.release()
            await rest.wait()
            yield body[HALF_BYTES:]

        def asked() -> asyncio.Task[Answer]:
            return asyncio.create_task(app.request("POST", path, pieces=pieces()))

        async with asyncio.timeout(PATIENT_S):
            callers = [asked() for _ in range(CALLERS)]
            for _ in callers:
                await halves.acquire()
            rest.set()
            found = await asyncio.gather(*callers)
            assert sorted(answer.status for answer in found) == [200] * FIT + [429] * (CALLERS - FIT)
            assert all(answer.headers["retry-after"] == "1" for answer in found if answer.status == 429)
            assert (await asked()).status == 200


async def test_what_bodies_become_counts_as_well(model: str) -> None:
    """A small compressed body that becomes a large one takes its room, and is refused when there is none."""
    async with running(models=(model,), max_arriving_bytes=FIT * SIZE_BYTES) as app:
        encoded = [("content-encoding", "gzip")]
        for size_bytes, status in ((SIZE_BYTES, 200), (4_000_000, 429), (SIZE_BYTES, 200)):
            answer = await app.request("POST", "/invocations", gzip.compress(ROW.ljust(size_bytes)), encoded)
            assert answer.status == status
        answer = await app.request("POST", "/invocations", gzip.compress(ROW.ljust(4_000_000)), encoded)
        assert answer.refusal() == (429, "TEMPORARILY_UNAVAILABLE")


async def test_what_bodies_were_decoded_to_counts_until_they_are_answered(tmp_path: Path) -> None:
    """Of callers whose texts take many times their bytes one too many is told to come again, and the others wait."""
    obedient(tmp_path / "model")
    rows = [[f"until {tmp_path / 'go'}"], *[["a"]] * 100_000]
    body = json.dumps({"dataframe_split": {"columns": ["do"], "data": rows}}, separators=(",", ":")).encode()
    async with running(models=(str(tmp_path / "model"),), max_arriving_bytes=8_000_000) as app:

        def asked() -> asyncio.Task[Answer]:
            return asyncio.create_task(app.request("POST", "/invocations", body))

        async with asyncio.timeout(PATIENT_S):
            callers = [asked() for _ in range(FIT + 1)]
            # Each counts with a quarter of the bound, beside its body.
            done, waiting = await asyncio.wait(callers, return_when=asyncio.FIRST_COMPLETED)
            (answer,) = [caller.result() for caller in done]
            assert answer.refusal() == (429, "TEMPORARILY_UNAVAILABLE")
            assert b"'max_arriving_bytes' of 8000000" in answer.body
            (tmp_path / "go").touch()
            assert [(await caller).status for caller in waiting] == [200] * FIT
            assert [(await asked()).status for _ in range(FIT + 1)] == [200] * (FIT + 1)


async def test_a_caller_who_is_alone_has_room_for_what_a_body_is_decoded_to(tmp_path: Path) -> None:
    """Whatever its texts take, a body that may come is answered while no other is under way, each time."""
    obedient(tmp_path / "model")
    rows = [["text"], *[["a"]] * 100_000]
    body = json.dumps({"dataframe_split": {"columns": ["do"], "data": rows}}, separators=(",", ":")).encode()
    async with running(models=(str(tmp_path / "model"),), max_arriving_bytes=len(body)) as app:
        for _ in range(2):
            assert (await app.request("POST", "/invocations", body)).status == 200


async def test_a_compressed_body_may_have_a_bound_of_its_own(model: str) -> None:
    """Beyond it the answer is 413 and names it, whatever a body may have."""
    async with running(models=(model,), max_body_bytes=10_000, max_inflated_bytes=SIZE_BYTES) as app:
        for size_bytes, status in ((SIZE_BYTES, 200), (SIZE_BYTES + 1, 413)):
            body = gzip.compress(ROW.ljust(size_bytes), 9)
            answer = await app.request("POST", "/invocations", body, [("content-encoding", "gzip")])
            assert answer.status == status, answer.body
        assert b"'max_inflated_bytes' of 1000000" in answer.body


async def test_inflating_ends_with_its_request(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a request is answered because its time is over, the thread begins no further piece of its body."""
    async with running(models=(model,), max_arriving_bytes=FIT * SIZE_BYTES) as app:
        go, closed = threading.Event(), threading.Event()
        begun: list[int] = []

        def endless(_body: bytes, _max_bytes: int) -> Iterator[bytes]:
            try:
                for number in itertools.count():
                    begun.append(number)
                    go.wait(PATIENT_S)
                    yield b" " * (1024 * 1024)
            finally:
                closed.set()

        monkeypatch.setitem(bodies.INFLATE, "gzip", endless)
        limited = [("content-encoding", "gzip"), ("x-request-timeout-s", "0.1")]
        assert (await app.request("POST", "/invocations", gzip.compress(ROW), limited)).status == 504
        assert begun == [0]
        go.set()
        await until(lambda: gc.collect() >= 0 and closed.is_set(), PATIENT_S)
        assert begun == [0]
