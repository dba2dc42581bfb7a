"""Endpoints over several workers: a change reaches all of them, outlives each of them, and drops no request."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.databases import migrated_sqlite
from tests.fixtures.processes import living_children
from tests.fixtures.services import Service
from tests.fixtures.waiting import wait_until
from tests.serving.http_calls import request, score
from tests.serving.in_process import App, running
from tests.serving.saved_models import IRIS, SETOSA, column, signature
from tiltyard import pyfunc
from tiltyard.client import Client
from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists
from tiltyard.models.logged import upload_model
from tiltyard_serving.endpoints.agreement import Progress, SharedEndpoints

BODY = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}
API, PATH = "/api/tiltyard/v1/endpoints/tumor", "/serving-endpoints/tumor/invocations"
NAME = "main.ml.shared"


def serving_version(number: int) -> dict[str, Any]:
    """A configuration with one version, which answers with its number."""
    return {"served_entities": [{"model": f"models:/{NAME}/{number}", "traffic_percentage": 100}]}


def answering(path: Path, answer: int) -> Path:
    """A directory of a model that needs no package to load, and always gives `answer`."""

    def predict(frame: Any) -> Any:
        return [answer] * len(frame)

    signed = signature([column(name, "double") for name in IRIS])
    pyfunc.save_model(predict, path, signature=signed, pip_requirements=[])
    return path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry with two versions that answer 1 and 2."""
    folder = tmp_path_factory.mktemp("registry")
    migrated_sqlite(folder / "data/tiltyard.db")
    service = Service("registry", "--data-dir", str(folder / "data"), log=folder / "registry.log").start()
    with Client(service.url) as client:
        for answer in (1, 2):
            model_id = upload_model(client, answering(folder / str(answer), answer), "model")
            with contextlib.suppress(ResourceAlreadyExists):
                client.create_registered_model(NAME)
            client.create_model_version(NAME, f"models:/{model_id}", model_id=model_id)
    yield service
    service.terminate()


async def predicted(app: App) -> Any:
    """What the endpoint answers, or the status when it does not."""
    answer = await app.request("POST", PATH, BODY)
    return answer.predictions[0] if answer.status == 200 else answer.status


async def test_a_change_at_one_worker_is_one_at_all(registry: Service, tmp_path: Path) -> None:
    """The answer to a change comes when all workers have it; one that comes later starts with it."""
    settings: dict[str, Any] = {"registry_url": registry.url, "cache_dir": tmp_path / "cache", "workers": 2}
    settings["shared_dir"] = tmp_path / "shared"
    settings["shared_dir"].mkdir()
    async with running(**settings) as first:
        async with running(**settings) as second:
            for worker, number in ((first, 1), (second, 2)):
                changed = await worker.request("PUT", API, serving_version(number))
                assert (changed.status, changed.json["name"]) == (200, "tumor")
                assert changed.json["agreement"] == {"workers": 2, "changed": 2, "problems": []}
                assert [await predicted(first), await predicted(second)] == [number, number]
            refused = await first.request("PUT", API, serving_version(3))
            assert refused.refusal() == (400, "INVALID_PARAMETER_VALUE")
            assert [await predicted(first), await predicted(second)] == [2, 2]
        changed = await first.request("PUT", API, serving_version(1))
        assert changed.json["agreement"]["workers"] == 1
        async with running(**settings) as third:
            assert await predicted(third) == 1
            ended = await third.request("DELETE", API)
            assert (ended.status, ended.json["agreement"]) == (200, {"workers": 2, "changed": 2, "problems": []})
            assert [await predicted(first), await predicted(third)] == [404, 404]
            assert (await first.request("DELETE", API)).refusal() == (404, "RESOURCE_DOES_NOT_EXIST")


async def test_what_one_worker_cannot_serve_keeps_it_from_nothing_else(registry: Service, tmp_path: Path) -> None:
    """It makes every other change, and the correction and the end of the one it could not make."""
    settings: dict[str, Any] = {"registry_url": registry.url, "cache_dir": tmp_path / "cache", "workers": 2}
    settings["shared_dir"] = tmp_path / "shared"
    settings["shared_dir"].mkdir()
    other = "/api/tiltyard/v1/endpoints/other"
    async with running(**settings) as first, running(**settings) as second:
        supply = second.app.state.endpoint_changes._supply
        loaded, refused = supply.loaded, asyncio.Event()

        async def only_the_second(place: str, entity: Any) -> Any:
            if entity.uri.endswith("/1"):
                refused.set()
                raise InvalidParameterValue(f"{place}: too large for this worker")
            return await loaded(place, entity)

        supply.loaded = only_the_second
        changing = asyncio.create_task(first.request("PUT", API, serving_version(1)))
        await refused.wait()
        made = await second.request("PUT", other, serving_version(2))
        assert (made.status, made.json["agreement"]["changed"]) == (200, 2)
        assert (await second.request("DELETE", other)).json["agreement"]["changed"] == 2
        corrected = await second.request("PUT", API, serving_version(2))
        assert corrected.json["agreement"] == {"workers": 2, "changed": 2, "problems": []}
        assert [await predicted(first), await predicted(second)] == [2, 2]
        assert (await changing).status == 200


async def test_a_disk_that_fails_once_ends_nothing(registry: Service, tmp_path: Path) -> None:
    """Whoever could not read the changes once reads them later."""
    settings: dict[str, Any] = {"registry_url": registry.url, "cache_dir": tmp_path / "cache", "workers": 2}
    settings["shared_dir"] = tmp_path / "shared"
    settings["shared_dir"].mkdir()
    async with running(**settings) as first, running(**settings) as second:
        shared = second.app.state.endpoint_changes._shared
        stamp, failed = shared.stamp, asyncio.Event()

        def fails() -> Any:
            failed.set()
            raise OSError(5, "Input/output error")

        shared.stamp = fails
        await failed.wait()
        shared.stamp = stamp
        changed = await first.request("PUT", API, serving_version(1))
        assert changed.json["agreement"]["changed"] == 2
        assert await predicted(second) == 1


async def test_who_cannot_follow_says_so(tmp_path: Path) -> None:
    """A worker without the change is counted as such with its reason; one that has died is not counted."""
    first, second = SharedEndpoints(tmp_path), SharedEndpoints(tmp_path)
    async with first.turn():
        number = first.publish("tumor", None).number
    first.report(Progress(number))
    second.report(Progress(number, {"tumor": "the model is too large"}))
    agreement = await first.agreement("tumor", number, 0.1)
    assert (agreement.workers, agreement.changed, agreement.problems) == (2, 1, ["the model is too large"])
    second.report(Progress(number, {f"other-{number}": "x" * 100 for number in range(20)}))
    assert (await first.agreement("tumor", number, 0.1)).changed == 2
    second.close()
    agreement = await first.agreement("tumor", number, 0.1)
    assert (agreement.workers, agreement.changed) == (1, 1)
    first.close()


@pytest.fixture
def workers(registry: Service, tmp_path: Path) -> Iterator[Service]:
    """A scoring service of two workers, which serves nothing yet."""
    arguments = ["--workers", "2", "--registry-url", registry.url, "--cache-dir", str(tmp_path / "cache")]
    service = Service("serving", *arguments, log=tmp_path / "serving.log").start()
    yield service
    service.kill()


def pids(service: Service) -> set[int]:
    """The living workers."""
    return living_children(service.pid)


def counted(service: Service, name: str) -> float:
    """The sum of a metric over its labels and all workers."""
    lines = request(service.port, "GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_two_workers_change_and_die_under_load(workers: Service) -> None:
    """No request is dropped by a change; a killed worker's own fail alone, and who replaces it knows the change."""
    port = workers.port
    put = {"content-type": "application/json"}

    def workers_that_agree() -> int:
        answer = request(port, "PUT", API, json.dumps(serving_version(1)), put, timeout_s=90)
        return answer.json["agreement"]["workers"]

    # The service is ready as soon as one worker is.
    wait_until(lambda: workers_that_agree() == 2)
    given: Counter[Any] = Counter()
    over = threading.Event()

    def caller() -> None:
        while not over.is_set():
            try:
                answer = score(port, BODY, PATH)
                given[answer.predictions[0] if answer.status == 200 else answer.status] += 1
            except (OSError, http.client.HTTPException):
                given["broken"] += 1

    threads = [threading.Thread(target=caller) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in (2, 1, 2):
        changed = request(port, "PUT", API, json.dumps(serving_version(number)), put, timeout_s=90)
        assert (changed.status, changed.json["agreement"]["changed"]) == (200, 2)
        assert {tuple(score(port, BODY, PATH).predictions) for _ in range(16)} == {(number,)}
    assert set(given) == {1, 2}

    victim = min(pids(workers))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(pids(workers)) == 2 and victim not in pids(workers))
    enough = given.total() + 200
    wait_until(lambda: given.total() > enough)
    over.set()
    for thread in threads:
        thread.join()
    # Each caller had at most one request with the worker that died.
    assert set(given) <= {1, 2, "broken"}
    assert given["broken"] <= len(threads)
    assert {tuple(score(port, BODY, PATH).predictions) for _ in range(32)} == {(2,)}
    answered = given[1] + given[2] + 3 * 16 + 32
    lost = answered - counted(workers, "tiltyard_serving_requests_total")
    assert -given["broken"] <= lost <= 0
