"""Clients that take their time: cut off in bounded time and memory, and nobody else notices."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.fixtures.services import Service
from tests.fixtures.waiting import PATIENCE_S, cut, send_in_pieces
from tests.serving.saved_models import IRIS, SETOSA, constant

SLOW_S, KEEP_ALIVE_S, MAX_BODY_BYTES = 0.6, 1, 100_000
BODY = json.dumps({"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}).encode()
HEAD = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a scoring service with little patience."""
    folder = tmp_path_factory.mktemp("slow")
    constant(folder / "one", 1)
    limits = ["--slow-client-s", str(SLOW_S), "--max-body-bytes", str(MAX_BODY_BYTES)]
    variables = {"TILTYARD_KEEP_ALIVE_S": str(KEEP_ALIVE_S)}
    log = folder / "serving.log"
    service = Service("serving", "--model", str(folder / "one"), *limits, log=log, env=variables).start()
    yield service.port
    service.terminate()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def answer_of(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


SLOW: dict[str, tuple[bytes, bytes]] = {
    "line": (b"", b"POST " + b"/" * 500),
    "headers": (HEAD, b"X-A: b\r\n" * 100),
    "body": (HEAD + b"Content-Length: %d\r\n\r\n" % 50_000, b" " * 500),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 100),
    "second request": (HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY, HEAD * 10),
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
def test_what_arrives_too_slowly_is_answered_408(port: int, sent: tuple[bytes, bytes]) -> None:
    """A head or a body that drips is cut with an answer, soon after its time; the others are served meanwhile."""
    at_once, slowly = sent
    with connect(port) as connection, connect(port) as other:
        connection.sendall(at_once)
        if at_once.endswith(BODY):
            assert answer_of(connection)[0] == 200
        assert not send_in_pieces(connection, cut(slowly, 1), 0.05), "the connection was not cut"
        other.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        assert answer_of(other) == (200, b'{"predictions":[1]}')
        # What was sent after the cut may have reset the connection together with its answer.
        try:
            status, body = answer_of(connection)
        except (ConnectionError, http.client.HTTPException):
            return
        assert (status, json.loads(body)["error_code"]) == (408, "BAD_REQUEST")


def test_the_answer_to_a_slow_client_is_there_to_read(port: int) -> None:
    """Who stops sending and waits reads why."""
    with connect(port) as connection:
        connection.sendall(HEAD)
        status, body = answer_of(connection)
        assert status == 408
        why = f"The request did not arrive in time, by the limit 'slow_client_s' of {SLOW_S} seconds."
        assert json.loads(body) == {"error_code": "BAD_REQUEST", "message": why}
        assert connection.recv(1) == b""


def test_a_large_body_may_take_longer(port: int) -> None:
    """What keeps coming at a sensible rate is not cut, although it takes longer than a head may."""
    body = BODY + b" " * (60_000 - len(BODY))
    with connect(port) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        assert send_in_pieces(connection, cut(body, 2_000), 2 * SLOW_S / 30)
        assert answer_of(connection)[0] == 200


@pytest.mark.parametrize("used", [True, False])
def test_idle_connections_are_closed(port: int, used: bool) -> None:
    """A connection without a request is closed after the keep-alive time, used before or not."""
    # Before anything: the server may see what comes next long before this process goes on.
    began_s = time.monotonic()
    with connect(port) as connection:
        if used:
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
            assert answer_of(connection)[0] == 200
        assert connection.recv(1) == b""
        # A timer of the server begins at the last look of its loop at the clock, which may be a while ago.
        assert time.monotonic() - began_s > KEEP_ALIVE_S / 2


def test_a_head_without_end_is_refused(port: int) -> None:
    """Headers are read up to a limit, then answered 431."""
    with connect(port) as connection:
        connection.sendall(HEAD)
        assert not send_in_pieces(connection, cut(b"X-A: b\r\n" * 100_000, 8_000), 0.001)
        # What was sent after the cut may have reset the connection together with its answer.
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            assert answer_of(connection)[0] == 431


def chunked(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"2710\r\n" + b" " * 10_000 + b"\r\n"


def lengthy(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b" " * 10_000


LARGE: dict[str, tuple[bytes, Callable[[int], Iterator[bytes]]]] = {
    "chunked": (b"Transfer-Encoding: chunked", chunked),
    "length": (b"Content-Length: 100000000", lengthy),
}


@pytest.mark.parametrize(("header", "parts"), LARGE.values(), ids=LARGE)
def test_a_body_over_the_limit_is_refused_before_its_end(
    port: int, header: bytes, parts: Callable[[int], Iterator[bytes]]
) -> None:
    """A body over the limit is answered 413 while it is still being sent, whether it tells its length or not."""
    with connect(port) as connection:
        connection.sendall(HEAD + header + b"\r\n\r\n")
        sent_bytes = 0
        connection.settimeout(0.01)
        for part in parts(10_000):
            try:
                connection.sendall(part)
                sent_bytes += len(part)
                if connection.recv(4, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert sent_bytes < 50 * MAX_BODY_BYTES
        connection.settimeout(10)
        status, body = answer_of(connection)
        assert (status, json.loads(body)["error_code"]) == (413, "BAD_REQUEST")
