"""The process around the models: how it starts, drains, refuses and lets go."""

import asyncio
import contextlib
import http.client
import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from litestar import Litestar

from tests.fixtures.services import Service, StartService
from tests.fixtures.waiting import PATIENCE_S, until, wait_until
from tests.serving.http_calls import in_flight, request, score
from tiltyard.errors import InvalidParameterValue
from tiltyard_serving.app import create_app
from tiltyard_serving.settings import ServingSettings


def do(verb: str) -> dict[str, Any]:
    """A body that tells the obedient model what to do."""
    return {"dataframe_split": {"columns": ["do"], "data": [[verb]]}}


OBEDIENT = "/serving-endpoints/obedient/invocations"


def test_sigterm_finishes_what_is_in_flight(
    model_dir: Callable[[str], Path], serving: StartService, without_mlflow: dict[str, str]
) -> None:
    """After SIGTERM the health check says no, requests in flight are answered, and the process ends with 0."""
    service = serving("--model", str(model_dir("obedient")), "--drain-delay-s", "4", env=without_mlflow)
    maps = Path(f"/proc/{service.pid}/maps").read_text()
    assert "sklearn" not in maps, "scikit-learn was loaded for a model that does not need it"
    answers: list[Any] = []

    def ask() -> None:
        answers.append(score(service.port, do("sleep 4.5")))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: in_flight(service.port) >= 2)
    service.signal(signal.SIGTERM)
    wait_until(lambda: request(service.port, "GET", "/health").status == 503)
    for thread in threads:
        thread.join()
    assert [answer.predictions for answer in answers] == ["done", "done"]
    assert service.wait() == 0


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        (("/nowhere/at/all",), "no model directory"),
        (("models:/a.b/1",), "2 parts"),
        (("models:/main.ml.iris@champion",), "No registry address"),
        (("x=models:/a/1", "x=models:/b/1"), "there twice"),
    ],
)
def test_a_bad_configuration_is_refused_at_once(
    models: tuple[str, ...], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be served is an error before anything listens."""
    for name in ("TILTYARD_REGISTRY_URL", "MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidParameterValue, match=problem):
        create_app(ServingSettings(models=models))


@pytest.mark.parametrize(
    "change", [{"queue_requests": 0}, {"request_timeout_s": 0.0}, {"max_body_bytes": 0}, {"reconnect_s": -1.0}]
)
def test_settings_are_checked(change: dict[str, Any]) -> None:
    """A setting out of range is refused by name."""
    with pytest.raises(InvalidParameterValue, match=next(iter(change))):
        ServingSettings(**change)


def test_a_bad_configuration_ends_the_command_with_a_message(serving: StartService) -> None:
    """The command says what is wrong, without a traceback, and ends with an error."""
    service = serving("--model", "/nowhere/at/all", start=False)
    service.start(wait=False)
    assert service.wait() != 0
    assert "no model directory" in service.logs
    assert "Traceback" not in service.logs


@contextlib.asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[httpx2.AsyncClient]:
    """The application in this process, started, and a client of it."""
    transport = httpx2.ASGITransport(app=app)
    async with app.lifespan(), httpx2.AsyncClient(transport=transport, base_url="http://serving") as client:
        yield client


async def ready(client: httpx2.AsyncClient) -> None:
    """Returns once the application in this process is healthy."""

    async def healthy() -> bool:
        return (await client.get("/health")).status_code == 200

    await until(healthy)


async def test_a_full_queue_is_429_at_once(model_dir: Callable[[str], Path], tmp_path: Path) -> None:
    """Beyond the queue's bound a request is refused without waiting, with the time to come back."""
    settings = ServingSettings(models=(f"obedient={model_dir('obedient')}",), queue_requests=3)
    app = create_app(settings)
    async with running(app) as client:
        await ready(client)
        waiting = [asyncio.create_task(client.post(OBEDIENT, json=do(f"until {tmp_path / 'go'}"))) for _ in range(3)]
        model = app.state.endpoints.named("obedient").members[0].served.slot.current
        await until(lambda: model.queued_requests == 3)
        # None of them is answered before this one.
        refused = await client.post(OBEDIENT, json=do("text"))
        (tmp_path / "go").touch()
        assert refused.status_code == 429
        assert refused.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
        assert int(refused.headers["retry-after"]) >= 1
        answers = await asyncio.gather(*waiting)
        assert [answer.json() for answer in answers] == [{"predictions": "done"}] * 3
        assert (await client.post(OBEDIENT, json=do("text"))).json() == {"predictions": "text"}


async def test_a_request_without_any_model() -> None:
    """A process that serves nothing is healthy, and says so to who asks for predictions."""
    async with running(create_app(ServingSettings())) as client:
        assert (await client.get("/health")).status_code == 200
        answer = await client.post("/invocations", json=do("text"))
        assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


async def test_a_draining_process_is_not_ready_but_answers(model_dir: Callable[[str], Path]) -> None:
    """Once it shall stop the process says it is not ready, and still answers who asks."""
    app = create_app(ServingSettings(models=(f"obedient={model_dir('obedient')}",)))
    async with running(app) as client:
        await ready(client)
        app.state.draining.set()
        assert (await client.get("/health")).status_code == 503
        assert (await client.post(OBEDIENT, json=do("text"))).json() == {"predictions": "text"}


def rows(server: Service) -> float:
    """How many rows the obedient model has predicted."""
    lines = request(server.port, "GET", "/metrics").body.decode().splitlines()
    found = [line for line in lines if line.startswith('tiltyard_serving_rows_total{model="obedient"')]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_callers_who_left_are_skipped(server: Service, tmp_path: Path) -> None:
    """A request whose caller hung up while it waited is not predicted."""
    before = rows(server)
    first = threading.Thread(target=score, args=(server.port, do(f"until {tmp_path / 'go'}"), OBEDIENT))
    first.start()
    wait_until(lambda: in_flight(server.port) >= 1)
    body = json.dumps(do("text"))
    connections = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(5)]
    for connection in connections:
        connection.request("POST", OBEDIENT, body, {"Content-Type": "application/json"})
    wait_until(lambda: in_flight(server.port) >= 6)
    for connection in connections:
        connection.close()
    wait_until(lambda: in_flight(server.port) <= 1)
    (tmp_path / "go").touch()
    first.join()
    assert score(server.port, do("text"), OBEDIENT).predictions == "text"
    assert rows(server) == before + 2


def test_a_body_that_never_ends_is_refused_in_time(hasty_server: Service) -> None:
    """A caller who does not send what he announced is told so when his time is over."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", hasty_server.port, timeout=PATIENCE_S)
    connection.putrequest("POST", OBEDIENT)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b'{"inputs"')
    response = connection.getresponse()
    assert response.status == 400
    assert "did not arrive in time" in response.read().decode()
    assert time.monotonic() - began > 1.5
    connection.close()


async def test_requests_go_on_during_a_large_one(server: Service) -> None:
    """Small requests are answered while a large body is decoded and predicted."""
    large = json.dumps({"dataframe_split": {"columns": ["do"], "data": [["text"]] * 100_000}})
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S, trust_env=False) as client:
        headers = {"Content-Type": "application/json"}
        task = asyncio.create_task(client.post(OBEDIENT, content=large, headers=headers))
        health = [await client.get("/health") for _ in range(10)]
        assert {answer.status_code for answer in health} == {200}
        assert (await task).status_code == 200
