"""What the bodies of all requests under way may take together."""

import gzip
import select
from pathlib import Path

import pytest

from tests.fixtures.services import Service, StartService
from tests.serving.http_calls import request
from tests.serving.models import required
from tests.serving.test_exchange import answers, chunked, connect, direct

SIZE_BYTES, HALF_BYTES = 1_000_000, 900_000
ROW = b'{"dataframe_split":{"columns":["a","b"],"data":[[1,2.0]]}}'
BODY = ROW.ljust(SIZE_BYTES)
JSON = "Content-Type: application/json\r\n"
CALLERS, FIT = 10, 3


@pytest.fixture
def service(serving: StartService, tmp_path: Path) -> Service:
    """A scoring service in which three such bodies have room."""
    required(tmp_path / "model")
    return serving("--model", str(tmp_path / "model"), "--max-arriving-bytes", str(HALF_BYTES * FIT + 200_000))


def test_half_sent_bodies_are_bounded_together(service: Service) -> None:
    """Beyond the bound callers are told to come again, their connections stay good, and others are answered."""
    whole = direct(BODY, "/invocations", JSON)
    callers = [connect(service.port) for _ in range(CALLERS)]
    for caller in callers:
        caller.sendall(whole[:HALF_BYTES])
    refused = set()
    while len(refused) < CALLERS - FIT:
        readable, _, _ = select.select([caller for caller in callers if caller not in refused], [], [], 30)
        assert readable, "nobody was refused"
        for caller in readable:
            ((status, headers, body),) = answers(caller)
            assert (status, headers["retry-after"]) == (429, "1")
            assert b"'max_arriving_bytes' of 2900000" in body
            refused.add(caller)
    assert request(service.port, "POST", "/invocations", ROW, {"content-type": "application/json"}).status == 200
    for caller in refused:
        # What is left of a refused body is thrown away, and the next request begins after it.
        caller.sendall(whole[HALF_BYTES:] + direct(ROW, "/invocations", JSON))
        assert answers(caller)[0][0] == 200
    for caller in callers:
        if caller not in refused:
            caller.sendall(whole[HALF_BYTES:])
            assert answers(caller)[0][0] == 200
        caller.close()
    assert request(service.port, "POST", "/invocations", BODY, {"content-type": "application/json"}).status == 200


def test_bodies_in_chunks_are_bounded_too(service: Service) -> None:
    """The ordinary way refuses alike, once the body has come, and what was held is given back."""
    whole = chunked(BODY, "/invocations", JSON)
    callers = [connect(service.port) for _ in range(CALLERS)]
    for caller in callers:
        caller.sendall(whole[:HALF_BYTES])
    statuses = []
    for caller in callers:
        caller.sendall(whole[HALF_BYTES:])
        statuses += [status for status, _, _ in answers(caller)]
        caller.close()
    assert set(statuses) <= {200, 429}
    assert 429 in statuses
    after = connect(service.port)
    after.sendall(whole)
    assert answers(after)[0][0] == 200
    after.close()


def test_what_bodies_become_counts_as_well(service: Service) -> None:
    """A small compressed body that becomes a large one takes its room, and is refused when there is none."""
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert request(service.port, "POST", "/invocations", gzip.compress(BODY), headers).status == 200
    large = gzip.compress(ROW.ljust(4_000_000))
    answer = request(service.port, "POST", "/invocations", large, headers)
    assert (answer.status, answer.json["error_code"]) == (429, "TEMPORARILY_UNAVAILABLE")
    assert request(service.port, "POST", "/invocations", gzip.compress(BODY), headers).status == 200
