"""What operators see: metrics by route, one log line per request, and an id that ties an answer to its log."""

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fixtures.services import StartService
from tests.fixtures.waiting import until, wait_until
from tests.registry.api_app import MODELS, OWN, Api, opened
from tests.registry.plain_http import ask, post


async def test_metrics_are_counted_by_route_template(embedded_api: Api) -> None:
    """Requests are timed under the template of their route, so that no caller can make new series."""
    await embedded_api.model("m")
    for name in ("a", "b", "c"):
        await embedded_api.ask("GET", f"{OWN}/models/{name}/aliases")
        await embedded_api.ask("GET", f"/nowhere/{name}")
    await embedded_api.ask("PURGE", "/nowhere")

    async def idle() -> Any:
        # The background may hold a connection for a moment.
        told = await embedded_api.ask("GET", "/metrics")
        return told if "tiltyard_database_connections_in_use 0.0" in told.text else None

    answer = await until(idle)
    text = answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    template = f'route="{OWN}/models/{{name}}/aliases"'
    assert f'tiltyard_http_request_duration_seconds_count{{method="GET",{template},status="404"}} 3.0' in text
    assert f'tiltyard_http_errors_total{{{template},status="404"}} 3.0' in text
    assert 'route="unmatched"' in text and "/nowhere" not in text and "/models/a/" not in text and "PURGE" not in text
    assert "tiltyard_http_requests_in_flight 1.0" in text


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("abc-1.2_3", True), ("", False), ("a b", False), ("x" * 65, False), ('"><script>', False)],
)
async def test_a_request_id_is_kept_when_it_is_a_plain_word(embedded_api: Api, sent: str, kept: bool) -> None:
    """A caller's request id comes back and is in the events; anything but a plain word is replaced."""
    body = {"name": f"m{len(sent)}"}
    answer = await embedded_api.ask("POST", f"{MODELS}/create", body, headers={"x-request-id": sent})
    returned = answer.headers["x-request-id"]
    assert (returned == sent) == kept and len(returned) >= 3
    events = (await embedded_api.ok("GET", f"{OWN}/events?max_results=1"))["events"]
    assert events[0]["request_id"] == returned


async def test_every_request_leaves_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The access log is JSON: method, path, status, time, size and request id; probes leave no line."""
    async with opened(tmp_path, access_log=True) as api:
        await api.ask("GET", f"{MODELS}/get?name=gone", headers={"x-request-id": "r-1"})
        await api.ask("GET", "/health")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    lines = [line for line in lines if line["logger"] == "tiltyard_registry.access"]
    assert len(lines) == 1
    line = lines[0]
    assert line["method"] == "GET" and line["path"] == f"{MODELS}/get" and line["status"] == 404
    assert line["request_id"] == "r-1" and line["duration_ms"] > 0 and line["size_bytes"] > 0
    assert "gone" not in json.dumps(line)


def test_metrics_of_all_workers_are_added_up(registry: StartService) -> None:
    """With several workers one scrape tells of the requests of all of them."""
    service = registry("--workers", "2")
    for number in range(20):
        post(service.port, f"{MODELS}/create", b'{"name": "m%d"}' % number)
    wanted = f'tiltyard_http_request_duration_seconds_count{{method="POST",route="{MODELS}/create",status="200"}} 20.0'
    wait_until(lambda: wanted in ask(service.port, "GET", "/metrics")[2].decode(), told=lambda: wanted)


def test_the_registry_stays_small(registry: StartService) -> None:
    """On an empty embedded store: at most 150 MB resident after some requests, and no data library loaded."""
    service = registry()
    processes = [psutil.Process(service.pid), *psutil.Process(service.pid).children(recursive=True)]
    for number in range(30):
        post(service.port, f"{MODELS}/create", b'{"name": "m%d"}' % number)
    ask(service.port, "GET", f"{OWN}/docs")
    assert sum(process.memory_info().rss for process in processes) < 150 * 2**20
    mapped = "\n".join(mapped.path for process in processes for mapped in process.memory_maps())
    assert not [package for package in ("numpy", "pandas", "pyarrow", "sklearn") if f"/{package}/" in mapped]
