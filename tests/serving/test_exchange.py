"""Requests answered on their connection: the same answers as the ordinary way gives, however they arrive."""

import json
import socket
import time
from typing import Any

import pytest

from tests.fixtures.services import Service

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
    return socket.create_connection(("127.0.0.1", port), timeout=10)


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
            for start in range(0, len(request), size):
                connection.sendall(request[start : start + size])
                time.sleep(0.01)
            assert answers(connection)[0][0] == 200


@pytest.mark.parametrize("rows", [5_000, 30_000])
def test_a_large_body_has_the_same_answer(rows: int, port: int) -> None:
    """Below the limit of what is answered on the connection, and above it."""
    body = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [[5.1, 3.5, 1.4, 0.2]] * rows}}).encode()
    with connect(port) as connection:
        for request in (direct(body), chunked(body)):
            connection.sendall(request)
            ((status, _, answer),) = answers(connection)
            assert (status, len(json.loads(answer)["predictions"])) == (200, rows)


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
def test_a_caller_may_have_less_patience_than_the_server(form: Any, port: int) -> None:
    """`x-request-timeout-s` shortens the deadline of one request; what is no time is refused."""
    body = json.dumps({"dataframe_split": {"columns": ["do"], "data": [["sleep 2"]]}}).encode()
    with connect(port) as connection:
        began_s = time.monotonic()
        connection.sendall(form(body, "/serving-endpoints/obedient/invocations", JSON + "X-Request-Timeout-S: 0.3\r\n"))
        assert answers(connection)[0][0] == 504
        assert 0.3 <= time.monotonic() - began_s < 2
        for wrong in ("0", "-1", "soon", "nan"):
            connection.sendall(form(GOOD, headers=JSON + f"X-Request-Timeout-S: {wrong}\r\n"))
            ((status, _, answer),) = answers(connection)
            assert (status, json.loads(answer)["error_code"]) == (400, "BAD_REQUEST")
        connection.sendall(form(GOOD, headers=JSON + "X-Request-Timeout-S: 60\r\n"))
        assert answers(connection)[0][0] == 200


def test_a_prediction_over_its_time_is_answered_504(server: Service) -> None:
    """The deadline holds here too, and the connection goes on."""
    body = json.dumps({"dataframe_split": {"columns": ["do"], "data": [["sleep 4"]]}}).encode()
    with connect(server.port) as connection:
        connection.sendall(direct(body, "/serving-endpoints/obedient/invocations"))
        assert answers(connection)[0][0] == 504
        connection.sendall(direct(GOOD))
        assert answers(connection)[0][0] == 200
