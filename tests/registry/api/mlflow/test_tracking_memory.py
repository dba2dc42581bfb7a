"""Histories of any length pass through the registry in a few MiB of its memory."""

import http.client
import json
import re
import time
from collections.abc import Callable

import pytest

from tests.fixtures.databases import BACKENDS
from tests.fixtures.memory import PeakMemory
from tests.fixtures.services import Service, StartService
from tests.registry.api_app import MLFLOW
from tests.registry.plain_http import post

MIB = 1 << 20
NewUrl = Callable[[], str]


def log_and_read(service: Service, points: int) -> tuple[PeakMemory, float, float]:
    """Logs so many points of one metric and reads them in one answer; gives the memory and both times in seconds."""

    def new_run() -> str:
        run_id: str = post(service.port, f"{MLFLOW}/runs/create", b"{}")[1]["run"]["info"]["run_id"]
        return run_id

    def log(run_id: str, count: int) -> None:
        for start in range(0, count, 1000):
            batch = [{"key": "m", "value": at / 3, "timestamp": at, "step": at} for at in range(start, start + 1000)]
            body = json.dumps({"run_id": run_id, "metrics": batch}).encode()
            assert post(service.port, f"{MLFLOW}/runs/log-batch", body)[0] == 200

    warm, run_id = new_run(), new_run()
    log(warm, 22_000)
    assert read(service, warm) == (22_000, 22_000 - 1)
    with PeakMemory(service) as memory:
        began = time.perf_counter()
        log(run_id, points)
        logged_s = time.perf_counter() - began
        began = time.perf_counter()
        assert read(service, run_id) == (points, points - 1)
        read_s = time.perf_counter() - began
    return memory, logged_s, read_s


def read(service: Service, run_id: str) -> tuple[int, int]:
    """How many points the whole history has, and the step of the last; nothing more of it is kept."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=300)
    connection.request("GET", f"{MLFLOW}/metrics/get-history?run_id={run_id}&metric_key=m")
    answer = connection.getresponse()
    assert answer.status == 200
    count, tail = 0, b""
    while block := answer.read(MIB):
        tail += block
        complete, brace, rest = tail.rpartition(b"}")
        count += (complete + brace).count(b'"step":')
        end = (complete + brace)[-200:]
        tail = rest
    connection.close()
    assert tail in (b"", b"]}") or end.endswith(b"]}")
    return count, int(re.findall(rb'"step":(\d+)', end)[-1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_50_000_points_leave_no_trace_in_memory(
    registry: StartService, backend: str, request: pytest.FixtureRequest
) -> None:
    """Logged by the thousand and read back in one answer, they let the registry grow by less than 16 MiB."""
    url = request.getfixturevalue(f"{backend}_url")
    memory, _, _ = log_and_read(registry("--database-url", url), 50_000)
    assert memory.growth_bytes < 16 * MIB, f"{memory.growth_bytes / MIB:.1f} MiB"


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_a_million_points_leave_no_trace_in_memory(
    registry: StartService, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same with 1,000,000 points on PostgreSQL, and the speeds, printed."""
    memory, logged_s, read_s = log_and_read(registry("--database-url", postgres_url), 1_000_000)
    with capsys.disabled():
        print(
            f"\n1,000,000 points: logged at {1_000_000 / logged_s:,.0f}/s, read at {1_000_000 / read_s:,.0f}/s, "
            f"registry grew by {memory.growth_bytes / MIB:.1f} MiB"
        )
    assert memory.growth_bytes < 16 * MIB, f"{memory.growth_bytes / MIB:.1f} MiB"
