"""Requests answered on their connection: the same answers as the ordinary way gives, however they arrive."""

import json
import socket
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from tests.fixtures.services import Service
from tests.fixtures.waiting import PATIENCE_S, cut, send_in_pieces, until
from tests.serving.in_process import App, running
from tiltyard.server.connection import Connections
from tiltyard.server.settings import ConnectionTimeouts

IRIS = "/serving-endpoints/cloudpickle/invocations"
COLUMNS = [f"{part} {size} (cm)" for part in ("sepal", "petal") for size in ("length", "width")]
GOOD = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [[5.1, 3.5, 1.4, 0.2]]}}).encode()
BODIES = [
    GOOD,
    b"{}",
    b"[1, 2",
    b"\xff\xfe",
    json.dumps({"dataframe_split": {"columns": COLUMNS[:3], "data": [[5.1, 3.5, 1.4]]}}).encode(),
    json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [[5.1, "x", 1.4, 0.2]]}}).encode(),
    json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [[5.1, None, 1.4, 0.2]]}}).encode(),
    json.dumps({"dataframe_split": {"columns": COLUMNS, "data": []}}).encode(),
]
JSON, CSV, NOTHING = "Content-Type: application/json\r\n", "Content-Type: text/csv\r\n", ""
# They differ from one answer to the next.
VARYING = {"date", "server-timing", "transfer-encoding"}

Answer = tuple[int, dict[str, str], bytes]


def direct(body: bytes, path: str = IRIS, headers: str = JSON) -> bytes:
    """A request as clients send it."""
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked(body: bytes, path: str = IRIS, headers: str = JSON) -> bytes:
    """The same request in the form that takes the ordinary way."""
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\n{headers}Transfer-Encoding: chunked\r\n\r\n"
    return head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def answers(connection: socket.socket, count: int = 1) -> list[Answer]:
    """The next answers on a connection."""
    found: list[Answer] = []
    file = connection.makefile("rb")
    for _ in range(count):
        status = int(file.readline().split()[1])
        headers = {}
        while line := file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        found.append((status, headers, file.read(int(headers["content-length"]))))
    return found


def connect(port: int) -> socket.socket:
    """A connection that does not wait for ever."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def same(one: Answer) -> Any:
    """What is equal in two answers to one request."""
    status, headers, body = one
    return status, {name: value for name, value in headers.items() if name not in VARYING}, body


@pytest.mark.parametrize("headers", [JSON, CSV, NOTHING, JSON + "Accept: text/csv\r\n", JSON + "X-Request-Id: a b\r\n"])
def test_both_ways_give_one_answer(headers: str, port: int) -> None:
    """Status, body and headers are the same, for good requests and for bad ones."""
    with connect(port) as connection:
        for body in BODIES:
            for path in (IRIS, "/serving-endpoints/nobody/invocations", "/serving-endpoints/cloudpickle"):
                connection.sendall(direct(body, path, headers))
                (on_connection,) = answers(connection)
                connection.sendall(chunked(body, path, headers))
                (ordinary,) = answers(connection)
                assert same(on_connection) == same(ordinary), body
                assert ("server-timing" in on_connection[1]) == ("server-timing" in ordinary[1])


def test_requests_sent_at_once_are_answered_in_their_order(port: int) -> None:
    """Pipelined requests, both ways mixed, each get their own answer in turn."""
    sent = [direct(GOOD), chunked(b"{}"), direct(b"[]"), direct(GOOD), chunked(GOOD)]
    with connect(port) as connection:
        connection.sendall(b"".join(sent))
        assert [status for status, _, _ in answers(connection, len(sent))] == [200, 400, 400, 200, 200]


def test_a_request_in_pieces_is_answered_once_it_is_whole(port: int) -> None:
    """However it is cut, within the head or the body."""
    request = direct(GOOD)
    with connect(port) as connection:
        for size in (40, len(request) - 5):
            assert send_in_pieces(connection, cut(request, size), 0.01)
            assert answers(connection)[0][0] == 200


def rows_of(count: int) -> list[list[float]]:
    """So many rows, no two alike."""
    return [[5.1, 3.5, 1.4, number / count] for number in range(count)]


def large(kind: str, count: int = 30_000) -> tuple[bytes, str]:
    """A body of so many rows, and its content type."""
    frame = pd.DataFrame(rows_of(count), columns=COLUMNS)
    if kind == "json":
        content = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": rows_of(count)}}).encode()
        return content, "application/json"
    if kind == "csv":
        return frame.to_csv(index=False).encode(), "text/csv"
    if kind == "parquet":
        return frame.to_parquet(compression=None), "application/vnd.apache.parquet"
    table = pa.Table.from_pandas(frame)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes(), "application/vnd.apache.arrow.stream"


@pytest.mark.parametrize("rows", [5_000, 30_000])
@pytest.mark.parametrize("kind", ["json", "csv", "parquet", "arrow"])
def test_a_large_body_has_the_same_answer(kind: str, rows: int, port: int) -> None:
    """Received whole or in its own place, in every format, and the connection goes on after it."""
    body, content_type = large(kind, rows)
    headers = f"Content-Type: {content_type}\r\n"
    with connect(port) as connection:
        found = []
        for request in (direct(body, headers=headers), chunked(body, headers=headers)):
            connection.sendall(request + direct(GOOD))
            answer, small = answers(connection, 2)
            found.append(same(answer))
            assert (answer[0], len(json.loads(answer[2])["predictions"]), small[0]) == (200, rows, 200)
        assert found[0] == found[1]


def test_a_large_body_that_is_no_good_is_refused_alike(port: int) -> None:
    """Both ways say the same about it, and the connection goes on."""
    body, _ = large("json")
    with connect(port) as connection:
        for wrong in (body[:-3], body.replace(b"0.5]", b'"x"]'), body[:-1] + b"\xff", b" " * 10**6):
            found = []
            for request in (direct(wrong), chunked(wrong)):
                connection.sendall(request + direct(GOOD))
                answer, small = answers(connection, 2)
                found.append(same(answer))
                assert (answer[0], small[0]) == (400, 200)
            assert found[0] == found[1]


def test_a_large_body_that_never_comes_to_its_end_hurts_nobody(port: int) -> None:
    """Its caller leaves, or waits: the next request is answered."""
    request = direct(large("json")[0])
    waiting = [connect(port) for _ in range(20)]
    for number, connection in enumerate(waiting):
        connection.sendall(request[: 1000 + number * 40_000])
        if number % 2:
            connection.close()
    with connect(port) as connection:
        connection.sendall(direct(GOOD))
        assert answers(connection)[0][0] == 200
    for connection in waiting[::2]:
        connection.close()


def test_a_large_body_that_comes_slowly_is_waited_for(port: int) -> None:
    """In pieces of any size, as long as they come."""
    request = direct(large("json")[0])
    with connect(port) as connection:
        assert send_in_pieces(connection, cut(request, 70_001), 0.02)
        assert answers(connection)[0][0] == 200


ODD_HEADS = [
    f"POST {IRIS} HTTP/1.1\nHost: here\nContent-Length: {len(GOOD)}\nContent-Type: application/json\n\n",
    f"POST {IRIS} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(GOOD)}\r\nContent-Length: 3\r\n\r\n",
    f"POST {IRIS} HTTP/1.1\r\nHost: here\r\nContent-Length: +{len(GOOD)}\r\n\r\n",
    f"POST {IRIS} HTTP/1.1\r\nHost: here\r\nContent-Type: text/csv\r\n{JSON}Content-Length: {len(GOOD)}\r\n\r\n",
    f"\r\nPOST {IRIS} HTTP/1.1\r\nHost: here\r\n{JSON}Content-Length: {len(GOOD)}\r\n\r\n",
    f"post {IRIS} HTTP/1.1\r\nHost: here\r\n{JSON}Content-Length: {len(GOOD)}\r\n\r\n",
]


@pytest.mark.parametrize("head", ODD_HEADS, ids=["line-feeds", "two-lengths", "plus", "two-types", "blank", "method"])
def test_an_odd_head_means_the_same_whenever_it_comes(head: str, port: int) -> None:
    """What the parser makes of it the first time, it makes of it the second and third time."""

    def said() -> list[tuple[int, bytes]]:
        with connect(port) as connection:
            connection.sendall(head.encode() + GOOD)
            ((status, _, body),) = answers(connection)
            return [(status, body)]

    assert said() == said() == said()


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n", b"\n", b"\n\r\n", b"\r\n\r\n\n"])
def test_nothing_is_taken_for_the_body_of_an_earlier_request(before: bytes, port: int) -> None:
    """Empty lines before a request belong to no head: whoever sends them next is read from their first line on."""
    for asked in (b"GET /version HTTP/1.1\r\nHost: here\r\n\r\n", direct(GOOD)):
        with connect(port) as connection, connect(port) as other:
            connection.sendall(before + asked)
            ((status, _, body),) = answers(connection)
            for pieces in ((before + direct(b"x" * len(asked)),), (before, direct(b"x" * len(before + asked)))):
                for piece in pieces:
                    other.sendall(piece)
                assert answers(other)[0][0] == 400
            for _ in range(2):
                connection.sendall(before + asked)
                assert [(answer[0], answer[2]) for answer in answers(connection)] == [(status, body)]


BLANKS = GOOD.replace(b", ", b",\r\n\r\n")
SEQUENCE = st.lists(
    st.sampled_from([direct(GOOD), direct(BLANKS), direct(b"{}"), direct(b"nothing"), chunked(GOOD)]),
    min_size=1,
    max_size=8,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=SEQUENCE, cuts=st.lists(st.integers(1, 4000), max_size=6))
def test_however_requests_are_cut_each_gets_its_answer_in_turn(
    requests: list[bytes], cuts: list[int], port: int
) -> None:
    """Heads that are known and heads that are not, one by one, many at once or torn apart."""
    sent = b"".join(requests)
    expected = [200 if b"dataframe_split" in request else 400 for request in requests]
    with connect(port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bounds = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
        assert send_in_pieces(connection, (sent[start:end] for start, end in pairwise(bounds)), 0.001)
        assert [status for status, _, _ in answers(connection, len(requests))] == expected
        # And once more, when every head is known.
        for request, status in zip(requests, expected, strict=True):
            connection.sendall(request)
            assert answers(connection)[0][0] == status


@pytest.mark.parametrize(
    ("headers", "closes"), [(JSON + "Connection: close\r\n", True), (JSON, False)], ids=["close", "keep"]
)
def test_a_connection_is_kept_unless_the_caller_wants_it_closed(headers: str, closes: bool, port: int) -> None:
    """`connection: close` is obeyed, and said again."""
    with connect(port) as connection:
        connection.sendall(direct(GOOD, headers=headers))
        ((status, got, _),) = answers(connection)
        assert status == 200
        assert (got.get("connection") == "close") == closes
        if closes:
            assert connection.recv(1) == b""


def test_callers_who_leave_hurt_nobody(port: int) -> None:
    """Connections cut in the middle of a request, or before its answer, leave the next one alone."""
    for number in range(40):
        with connect(port) as connection:
            connection.sendall(direct(GOOD)[: None if number % 2 else -20])
    with connect(port) as connection:
        connection.sendall(direct(GOOD))
        assert answers(connection)[0][0] == 200


@pytest.mark.parametrize("form", [direct, chunked])
def test_a_caller_may_have_less_patience_than_the_server(form: Any, port: int, tmp_path: Path) -> None:
    """`x-request-timeout-s` shortens the deadline of one request; what is no time is refused."""
    body = json.dumps({"dataframe_split": {"columns": ["do"], "data": [[f"until {tmp_path / 'go'}"]]}}).encode()
    with connect(port) as connection:
        began_s = time.monotonic()
        connection.sendall(form(body, "/serving-endpoints/obedient/invocations", JSON + "X-Request-Timeout-S: 0.3\r\n"))
        assert answers(connection)[0][0] == 504
        assert time.monotonic() - began_s > 0.15
        # The prediction was under way all the time.
        (tmp_path / "go").touch()
        for wrong in ("0", "-1", "soon", "nan"):
            connection.sendall(form(GOOD, headers=JSON + f"X-Request-Timeout-S: {wrong}\r\n"))
            ((status, _, answer),) = answers(connection)
            assert (status, json.loads(answer)["error_code"]) == (400, "BAD_REQUEST")
        connection.sendall(form(GOOD, headers=JSON + "X-Request-Timeout-S: 60\r\n"))
        assert answers(connection)[0][0] == 200


def test_a_prediction_over_its_time_is_answered_504(hasty_server: Service, tmp_path: Path) -> None:
    """The deadline holds here too, and the connection goes on."""
    body = json.dumps({"dataframe_split": {"columns": ["do"], "data": [[f"until {tmp_path / 'go'}"]]}}).encode()
    with connect(hasty_server.port) as connection:
        connection.sendall(direct(body, "/serving-endpoints/obedient/invocations"))
        assert answers(connection)[0][0] == 504
        (tmp_path / "go").touch()
        connection.sendall(direct(GOOD, "/invocations"))
        assert answers(connection)[0][0] == 200


@pytest.mark.parametrize("form", [direct, chunked])
def test_a_head_that_is_too_large_is_refused_on_both_ways(form: Any, port: int) -> None:
    """431, though the request comes in one piece and would be answered on its connection."""
    with connect(port) as connection:
        connection.sendall(form(GOOD, headers=JSON + f"X-Long: {'x' * 70_000}\r\n"))
        assert answers(connection)[0][0] == 431


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write = self.written.append
        self.closed = False

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        """Nothing is known of the other side."""
        return default

    def set_write_buffer_limits(self, high: int) -> None:
        """It never has more than it can send."""

    def is_closing(self) -> bool:
        """It stays open until it is closed."""
        return self.closed

    def close(self) -> None:
        """Ends it."""
        self.closed = True


def connection_of(app: App, timeouts: ConnectionTimeouts = ConnectionTimeouts()) -> Any:  # noqa: B008  # it is frozen
    """A connection of the application, as a server makes it."""
    made: Any = Connections(timeouts, app.app.state.direct)
    config = uvicorn.Config(app.app, http=made, log_config=None)
    config.load()
    return made(config=config, server_state=ServerState(), app_state={})


async def test_an_idle_connection_keeps_neither_a_body_nor_a_model(model_dir: Callable[[str], Path]) -> None:
    """What a request was answered with may go, though its connection stays."""
    async with running(models=(f"cloudpickle={model_dir('cloudpickle')}",)) as app:
        wire, connection = Wire(), connection_of(app)
        connection.connection_made(wire)
        for asked in range(3):
            connection.data_received(direct(GOOD))
            await until(lambda asked=asked: len(wire.written) > asked)
            assert connection.cycle is None
        assert [answer[:15] for answer in wire.written] == [b"HTTP/1.1 200 OK"] * 3
        connection.timeout_keep_alive_task.cancel()


async def test_a_caller_who_leaves_is_no_fault(
    model_dir: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    """What they asked is forgotten without an answer and without a word in the log, and the next one is answered."""
    async with running(models=(f"cloudpickle={model_dir('cloudpickle')}",)) as app:
        gone, wire = Wire(), Wire()
        for transport in (gone, wire):
            connection = connection_of(app)
            connection.connection_made(transport)
            connection.data_received(direct(GOOD))
            if transport is gone:
                connection.connection_lost(None)
        await until(lambda: wire.written)
        connection.timeout_keep_alive_task.cancel()
    assert gone.written == []
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
