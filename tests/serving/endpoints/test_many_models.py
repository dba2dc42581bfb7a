"""Many models in one process: loaded when asked for, one load however many ask, within a budget, memory given back."""

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.databases import migrated_sqlite
from tests.fixtures.services import Service
from tests.fixtures.waiting import until
from tests.serving.in_process import App, running
from tests.serving.saved_models import IRIS, SETOSA, column, constant, mlflow_iris, signature
from tiltyard import pyfunc
from tiltyard.client import Client
from tiltyard.errors import ResourceAlreadyExists
from tiltyard.models.logged import upload_model
from tiltyard.uri import VersionUri
from tiltyard_serving.operations.memory import give_back, size_of

BODY = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}
MANY, HEAVY, BROKEN = "main.many.small", "main.many.heavy", "main.many.broken"
MODELS = 24
HEAVY_BYTES = 32 * 2**20


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories: a small model, one that holds 32 MiB, and one that cannot be loaded."""
    folder = tmp_path_factory.mktemp("models")
    constant(folder / "small", 1)
    ballast = os.urandom(HEAVY_BYTES)

    def heavy(frame: Any) -> Any:
        return [ballast[0]] * len(frame)

    signed = signature([column(name, "double") for name in IRIS])
    pyfunc.save_model(heavy, folder / "heavy", signature=signed, pip_requirements=[])
    constant(folder / "broken", 1)
    [file] = (folder / "broken").rglob("model.pkl")
    file.write_bytes(b"broken")
    return {MANY: folder / "small", HEAVY: folder / "heavy", BROKEN: folder / "broken"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Iterator[Service]:
    """A registry with many versions of the small model, and two of each other."""
    folder = tmp_path_factory.mktemp("registry")
    migrated_sqlite(folder / "data/tiltyard.db")
    service = Service("registry", "--data-dir", str(folder / "data"), log=folder / "registry.log").start()
    with Client(service.url) as client:
        for name, path in models.items():
            register(client, name, path, MODELS if name == MANY else 2)
    yield service
    service.terminate()


def register(client: Client, name: str, path: Path, versions: int) -> None:
    """Registers so many versions of one directory."""
    model_id = upload_model(client, path, "model")
    with contextlib.suppress(ResourceAlreadyExists):
        client.create_registered_model(name)
    for _ in range(versions):
        client.create_model_version(name, f"models:/{model_id}", model_id=model_id)


async def ask(app: App, name: str, version: int) -> Any:
    """The answer of a version."""
    return await app.request("POST", f"/model/{name}/{version}/invocations", BODY)


def metric(text: bytes, name: str) -> float:
    """The sum of a metric over its labels."""
    lines = text.decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if line.startswith(name) and "{" not in line[: len(name)]
    )


async def loads(app: App) -> float:
    """How many models were loaded, and how many could not be."""
    return metric((await app.request("GET", "/metrics")).body, "tiltyard_serving_model_loads_total")


@pytest.mark.parametrize("count", [MODELS, pytest.param(200, marks=pytest.mark.bench)])
async def test_models_are_loaded_on_demand_within_a_budget(
    registry: Service, models: dict[str, Path], tmp_path: Path, count: int
) -> None:
    """Every version answers; never more are loaded than fit; who was asked last stays; a hit costs next to nothing."""
    with Client(registry.url) as client:
        register(client, MANY, models[MANY], count - MODELS)
    fit = count // 3
    budget = fit * size_of(models[MANY])
    settings = {"registry_url": registry.url, "cache_dir": tmp_path, "on_demand": ("main.many.*",)}
    async with running(model_budget_bytes=budget, **settings) as app:
        endpoints = app.app.state.endpoints
        for version in range(1, count + 1):
            answer = await ask(app, MANY, version)
            assert (answer.predictions, answer.headers["x-tiltyard-model"]) == ([1], f"{MANY}/{version}")
            # The first one is asked for again and again, so it is never the longest unused.
            assert (await ask(app, MANY, 1)).status == 200
            assert len(list(endpoints)) <= fit
        loaded = {served.slot.current.version for served in endpoints}
        assert loaded == {"1", *(str(version) for version in range(count - fit + 2, count + 1))}
        assert await loads(app) == count
        metrics = (await app.request("GET", "/metrics")).body
        assert metric(metrics, "tiltyard_serving_on_demand_evictions_total") == count - fit
        assert metric(metrics, "tiltyard_serving_on_demand_bytes") == budget

        hits = 2000
        began_s = time.process_time()
        for _ in range(hits):
            await endpoints.of_model(MANY, str(count))
        hit_s = (time.process_time() - began_s) / hits
        print(f"{count} models, {fit} loaded: a hit costs {hit_s * 1e6:.1f} µs")
        assert hit_s < 0.0005
        assert (await ask(app, "main.other.model", 1)).refusal() == (404, "RESOURCE_DOES_NOT_EXIST")


async def test_metrics_of_evicted_models_go_with_them(registry: Service, tmp_path: Path) -> None:
    """However many versions callers have asked for, what is shown grows with what is loaded; no sum falls."""
    settings = {"registry_url": registry.url, "cache_dir": tmp_path, "on_demand": ("main.many.*",)}
    async with running(on_demand_models=1, **settings) as app:
        lines: list[int] = []
        for version in (1, 2, 3, 4, 5, 6):
            assert (await ask(app, MANY, version)).status == 200
            # What belongs to requests is counted at the end of a turn of the event loop.
            await asyncio.sleep(0)
            metrics = (await app.request("GET", "/metrics")).body
            lines.append(metrics.count(b"\n"))
            assert metric(metrics, "tiltyard_serving_requests_total") == version
            assert metric(metrics, "tiltyard_serving_model_loads_total") == version
        assert lines[2:] == lines[2:3] * 4
        assert f'{MANY}",status="200",version="6"' in metrics.decode()


async def test_failures_that_may_be_tried_again_are_not_kept(
    registry: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many names callers try that cannot be loaded, only the latest are remembered."""
    monkeypatch.setattr("tiltyard_serving.endpoints.on_demand._RETRY_AFTER_S", 0.0)
    async with running(on_demand=("*",), registry_url=registry.url, cache_dir=tmp_path) as app:
        on_demand = app.app.state.endpoints._on_demand
        for number in range(1, 50):
            on_demand._note_failure(VersionUri("a.b.c", number), "it cannot be loaded")
        assert len(on_demand._failed) == 1


async def test_one_load_however_many_ask(registry: Service, tmp_path: Path) -> None:
    """Callers of one model that is not loaded wait for one load; a bad model is tried once, and says why."""
    settings = {"registry_url": registry.url, "cache_dir": tmp_path, "on_demand": ("main.many.*",)}
    async with running(**settings) as app:
        answers = await asyncio.gather(*(ask(app, MANY, 1) for _ in range(32)))
        assert {answer.status for answer in answers} == {200}
        assert await loads(app) == 1
        answers = await asyncio.gather(*(ask(app, BROKEN, 1) for _ in range(32)))
        answers.append(await ask(app, BROKEN, 1))
        assert {answer.refusal() for answer in answers} == {(503, "TEMPORARILY_UNAVAILABLE")}
        assert all(f"{BROKEN}/1 could not be loaded" in answer.json["message"] for answer in answers)
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert await loads(app) == 2


async def test_eviction_fails_no_request_and_gives_memory_back(registry: Service, tmp_path: Path) -> None:
    """Models that push each other out answer all their callers, and what they needed is free again."""
    settings = {"registry_url": registry.url, "cache_dir": tmp_path, "on_demand": ("main.many.*",)}
    async with running(model_budget_bytes=HEAVY_BYTES + 2**20, **settings) as app:
        assert (await ask(app, HEAVY, 1)).status == 200
        before = resident_bytes()
        for _ in range(4):
            answers = await asyncio.gather(*(ask(app, HEAVY, version) for version in (1, 2) for _ in range(4)))
            assert {answer.status for answer in answers} == {200}
        assert len(list(app.app.state.endpoints)) == 1
        # Eight or more were loaded; the memory of two is left to all else that this process does.
        await until(lambda: resident_bytes() - before < 2 * HEAVY_BYTES)


def resident_at_rest_bytes() -> int:
    """The resident memory once all that can be given back now is given back."""
    gc.collect()
    give_back()
    return resident_bytes()


def resident_bytes() -> int:
    """The memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("swaps", [10, pytest.param(50, marks=pytest.mark.bench)])
async def test_memory_is_given_back_after_swaps(tmp_path: Path, swaps: int) -> None:
    """After so many swaps between models the process has at most 10 % more memory than after the first."""
    from tiltyard_serving.models.target import ModelTarget

    mlflow_iris(tmp_path / "a")
    constant(tmp_path / "b", 1)
    async with running(models=(f"m={tmp_path / 'a'}",), trial_requests=0) as app:
        served = app.app.state.endpoints.named("m").members[0].served
        first = 0
        for number in range(swaps + 2):
            target = ModelTarget(str(tmp_path / "ab"[number % 2]), digest=str(number))
            served.want(target)
            await until(lambda target=target: served.current == target)
            assert (await app.request("POST", "/invocations", BODY)).status == 200
            if number == 1:
                first = resident_at_rest_bytes()
        await until(lambda: resident_at_rest_bytes() < 1.1 * first)
        print(f"{swaps} swaps: {first / 2**20:.0f} MiB, {resident_bytes() / 2**20:.0f} MiB")
