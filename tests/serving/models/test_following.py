"""Serving follows the registry: promotions under load, a registry that dies, versions that cannot be loaded."""

import asyncio
import contextlib
import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pandas as pd
import pytest

from tests.fixtures.databases import migrated_sqlite
from tests.fixtures.services import Service, StartService
from tests.fixtures.waiting import wait_until
from tests.serving.http_calls import request, score
from tests.serving.saved_models import IRIS, SETOSA, constant
from tiltyard.client import Client
from tiltyard.errors import ResourceAlreadyExists
from tiltyard.models import log_model
from tiltyard.models.logged import upload_model
from tiltyard.pyfunc import infer_signature

# One registered model for each test that moves an alias, all served by one process.
NAMES = ["main.ml.promoted", "main.ml.demanded", "main.ml.surviving", "main.ml.flipped", "main.ml.broken"]
PROMOTED, DEMANDED, SURVIVING, FLIPPED, BROKEN = NAMES
BODY = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}


def register(client: Client, path: Path, name: str) -> int:
    """Registers a model directory as the next version, and gives its number."""
    model_id = upload_model(client, path, "constant")
    with contextlib.suppress(ResourceAlreadyExists):
        client.create_registered_model(name)
    return int(client.create_model_version(name, f"models:/{model_id}", model_id=model_id).version)


@pytest.fixture(scope="module")
def constants(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Gives a function that gives the directory of a model with that constant answer."""
    folder = tmp_path_factory.mktemp("constants")

    def saved(answer: int) -> Path:
        path = folder / str(answer)
        if not path.exists():
            constant(path, answer)
        return path

    return saved


@pytest.fixture(scope="module")
def registry_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the registry that is followed."""
    return tmp_path_factory.mktemp("registry") / "data"


@pytest.fixture(scope="module")
def store(registry_data: Path, constants: Callable[[int], Path]) -> Iterator[tuple[Service, Client]]:
    """A registry with versions 1 and 2 of each model, answering with their number; `champion` names 1."""
    log = registry_data.parent / "registry.log"
    migrated_sqlite(registry_data / "tiltyard.db")
    service = Service("registry", "--data-dir", str(registry_data), log=log).start()
    with Client(service.url) as client:
        for name in NAMES:
            for answer in (1, 2):
                assert register(client, constants(answer), name) == answer
            client.set_alias(name, "champion", 1)
        yield service, client
    service.terminate()


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the scoring service keeps what it fetched."""
    return tmp_path_factory.mktemp("following") / "cache"


@pytest.fixture(scope="module")
def service(store: tuple[Service, Client], cache_dir: Path) -> Iterator[Service]:
    """A scoring service that follows `champion` of every model."""
    models = [argument for name in NAMES for argument in ("--model", f"models:/{name}@champion")]
    options = ["--registry-url", store[0].url, "--cache-dir", str(cache_dir)]
    service = Service("serving", *models, *options, log=cache_dir.parent / "serving.log").start()
    yield service
    service.terminate()


def path_of(name: str, selector: str = "champion") -> str:
    return f"/model/{name}/{selector}/invocations"


def metric(service: Service, name: str, label: str = "") -> float:
    """The sum of a metric over the lines that hold `label`."""
    lines = request(service.port, "GET", "/metrics").body.decode().splitlines()
    found = [line for line in lines if line.split("{")[0].split(" ")[0] == name and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def problem(service: Service, name: str) -> str | None:
    """Why the model's champion is not what it should be."""
    models = request(service.port, "GET", "/api/tiltyard/v1/models").json["models"]
    [found] = [model["problem"] for model in models if model["served"] == f"models:/{name}@champion"]
    assert found is None or isinstance(found, str)
    return found


def answered_by(service: Service, name: str, selector: str = "champion") -> str:
    """The version that answers now; its answer must be its own."""
    answer = score(service.port, BODY, path_of(name, selector))
    version = answer.headers["x-tiltyard-model"].removeprefix(f"{name}/")
    assert answer.predictions == [int(version)]
    return version


class Load:
    """Callers that never stop, and what they were answered."""

    def __init__(self, service: Service, name: str, callers: int = 50) -> None:
        self.failures: list[str] = []
        self.answers: Counter[str] = Counter()
        self.first: dict[str, float] = {}
        self._name = name
        self._url = service.url + path_of(name)
        self._callers = callers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Load":
        self._thread.start()
        wait_until(lambda: sum(self.answers.values()) > self._callers)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def first_after(self, version: str, moved: float) -> bool:
        """Whether `version` has answered since `moved`."""
        return self.first.get(version, 0.0) > moved

    async def _run(self) -> None:
        limits = httpx2.Limits(max_connections=self._callers)
        async with httpx2.AsyncClient(timeout=30, limits=limits, trust_env=False) as client:
            await asyncio.gather(*(self._call(client) for _ in range(self._callers)))

    async def _call(self, client: httpx2.AsyncClient) -> None:
        while not self._stop.is_set():
            try:
                answer = await client.post(self._url, json=BODY)
            except httpx2.HTTPError as error:
                self.failures.append(repr(error))
                continue
            version = answer.headers.get("x-tiltyard-model", "").removeprefix(f"{self._name}/")
            if answer.status_code != 200 or answer.json() != {"predictions": [int(version)]}:
                self.failures.append(f"{answer.status_code} {version} {answer.text}")
            self.answers[version] += 1
            self.first.setdefault(version, time.monotonic())


def test_promotions_under_load(store: tuple[Service, Client], service: Service) -> None:
    """With 50 requests in flight a promotion fails none, is live soon, and no answer is mixed."""
    _, client = store
    assert answered_by(service, PROMOTED) == "1"
    with Load(service, PROMOTED) as load:
        for version in ("2", "1", "2", "1"):
            load.first.clear()
            moved = time.monotonic()
            client.set_alias(PROMOTED, "champion", version)
            wait_until(functools.partial(load.first_after, version, moved))
            answered = load.answers[version]
            wait_until(lambda version=version, enough=answered + 30: load.answers[version] > enough)
    assert load.failures == []
    assert min(load.answers["1"], load.answers["2"]) > 50
    assert answered_by(service, PROMOTED) == "1"
    batches = metric(service, "tiltyard_serving_batch_requests_count", PROMOTED)
    assert batches < sum(load.answers.values())


def test_versions_aliases_and_stages_on_demand(
    store: tuple[Service, Client], service: Service, constants: Callable[[int], Path]
) -> None:
    """Any version, alias or stage of a configured model has its own path, and is followed; others are 404."""
    _, client = store
    client.set_alias(DEMANDED, "challenger", 2)
    client.transition_model_version_stage(DEMANDED, 2, "Production")
    selectors = {"1": "1", "2": "2", "champion": "1", "challenger": "2", "Production": "2", "latest": "2"}
    for selector, version in selectors.items():
        assert answered_by(service, DEMANDED, selector) == version
    client.set_alias(DEMANDED, "challenger", 1)
    wait_until(lambda: answered_by(service, DEMANDED, "challenger") == "1")
    for selector in ("3", "0", "nobody", "Staging", "v1", "99999999999999999999"):
        answer = score(service.port, BODY, path_of(DEMANDED, selector))
        assert answer.refusal() == (404, "RESOURCE_DOES_NOT_EXIST")
    register(client, constants(1), "main.ml.unconfigured")
    answer = score(service.port, BODY, path_of("main.ml.unconfigured", "1"))
    assert answer.refusal() == (404, "RESOURCE_DOES_NOT_EXIST")
    assert register(client, constants(3), DEMANDED) == 3
    assert answered_by(service, DEMANDED, "3") == "3"
    wait_until(lambda: answered_by(service, DEMANDED, "latest") == "3")


def test_an_alias_may_be_called_as_a_stage_or_a_version_is(store: tuple[Service, Client], service: Service) -> None:
    """Under /v2/ `NAME@ALIAS` is that alias, as in a URI, whatever a stage or a version of that name would be."""
    _, client = store
    client.transition_model_version_stage(DEMANDED, 2, "Production")
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}]}
    for alias in ("production", "latest-good"):
        client.set_alias(DEMANDED, alias, 1)
        answer = score(service.port, body, f"/v2/models/{DEMANDED}@{alias}/infer")
        assert answer.json["model_version"] == "1"
    assert answered_by(service, DEMANDED, "Production") == "2"
    assert score(service.port, body, f"/v2/models/{DEMANDED}@2/infer").status == 404


def test_plain_invocations_are_the_first_model(service: Service) -> None:
    """Of several models without a name the first one answers `/invocations`."""
    assert score(service.port, BODY).headers["x-tiltyard-model"].startswith(f"{PROMOTED}/")


def test_a_flipped_byte_is_refused(
    store: tuple[Service, Client], service: Service, registry_data: Path, constants: Callable[[int], Path]
) -> None:
    """A version whose stored bytes changed is not loaded: the one before it serves on, and the reason is told."""
    _, client = store
    # Bytes that nobody has fetched yet, so that no cache can help out.
    assert register(client, constants(4), FLIPPED) == 3
    model_id = client.get_model_version(FLIPPED, 3).source.rpartition("/")[2]
    [stored] = [path for path in registry_data.rglob("model.*") if model_id in path.parts]
    good = stored.read_bytes()
    middle = len(good) // 2
    stored.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
    client.set_alias(FLIPPED, "champion", 3)
    wait_until(lambda: problem(service, FLIPPED))
    assert "ModelIntegrityError" in str(problem(service, FLIPPED))
    assert answered_by(service, FLIPPED) == "1"
    assert service.healthy()
    assert metric(service, "tiltyard_serving_model_stale", FLIPPED) == 1
    stored.write_bytes(good)
    path = path_of(FLIPPED)
    wait_until(lambda: score(service.port, BODY, path).headers["x-tiltyard-model"] == f"{FLIPPED}/3")
    assert score(service.port, BODY, path).predictions == [4]
    assert problem(service, FLIPPED) is None


def test_a_version_that_fails_to_load_keeps_the_old_one(store: tuple[Service, Client], service: Service) -> None:
    """A version that cannot predict its own example never takes traffic."""
    registry, client = store

    def predict(frame: Any) -> Any:
        raise RuntimeError("broken inside")

    example = pd.DataFrame({"a": [1.0]})
    info = log_model(
        predict,
        "broken",
        registered_model_name=BROKEN,
        registry_url=registry.url,
        signature=infer_signature(example),
        input_example=example,
        pip_requirements=[],
    )
    assert info.registered_model_version == 3
    client.set_alias(BROKEN, "champion", 3)
    wait_until(lambda: problem(service, BROKEN))
    assert "broken inside" not in str(problem(service, BROKEN))
    assert "broken inside" in service.logs
    assert answered_by(service, BROKEN) == "1"
    client.set_alias(BROKEN, "champion", 2)
    wait_until(lambda: answered_by(service, BROKEN) == "2")


def test_what_nobody_vouches_for_is_not_loaded(store: tuple[Service, Client], service: Service) -> None:
    """A version whose files lie outside the registry's stores has no manifest, and is not unpickled."""
    _, client = store
    client.set_alias(BROKEN, "champion", 1)
    wait_until(lambda: answered_by(service, BROKEN) == "1")
    outside = client.create_model_version(BROKEN, "s3://elsewhere/model")
    client.set_alias(BROKEN, "champion", outside.version)
    wait_until(lambda: problem(service, BROKEN))
    assert "ModelIntegrityError" in str(problem(service, BROKEN))
    assert answered_by(service, BROKEN) == "1"


def test_the_registry_may_die(store: tuple[Service, Client], service: Service) -> None:
    """While the registry is gone serving goes on and says so; once it is back the next promotion is live."""
    registry, client = store
    assert metric(service, "tiltyard_serving_registry_connected") == 1
    with Load(service, SURVIVING, callers=5) as load:
        registry.kill()
        wait_until(lambda: metric(service, "tiltyard_serving_registry_connected") == 0)
        assert service.healthy()
        answer = score(service.port, BODY, path_of(SURVIVING, "2"))
        assert answer.refusal() == (503, "TEMPORARILY_UNAVAILABLE")
        registry.start()
        moved = time.monotonic()
        client.set_alias(SURVIVING, "champion", 2)
        wait_until(functools.partial(load.first_after, "2", moved))
        wait_until(lambda: metric(service, "tiltyard_serving_registry_connected") == 1)
    assert load.failures == []


def test_two_workers_follow_and_count_together(store: tuple[Service, Client], serving: StartService) -> None:
    """With two processes on one port every one of them follows the alias, and their metrics add up."""
    registry, client = store
    uri = f"models:/{PROMOTED}@champion"
    client.set_alias(PROMOTED, "champion", 1)
    service = serving("--model", uri, "--registry-url", registry.url, "--workers", "2")
    wait_until(lambda: metric(service, "tiltyard_serving_model_loads_total") == 2)
    before = metric(service, "tiltyard_serving_requests_total")
    assert {answered_by(service, PROMOTED) for _ in range(40)} == {"1"}
    assert metric(service, "tiltyard_serving_requests_total") == before + 40
    client.set_alias(PROMOTED, "champion", 2)
    wait_until(lambda: metric(service, "tiltyard_serving_model_loads_total") == 4)
    assert {answered_by(service, PROMOTED) for _ in range(40)} == {"2"}
    assert service.terminate() == 0


def test_serving_waits_for_the_registry_and_the_alias(
    registry: StartService, serving: StartService, constants: Callable[[int], Path]
) -> None:
    """Started first, serving is alive but not healthy; it becomes so by itself when its alias names a version."""
    name = "main.ml.late"
    store = registry(start=False)
    service = serving("--model", f"models:/{name}@champion", "--registry-url", store.url, start=False)
    service.start(wait=False)
    wait_until(lambda: not service.healthy() and _answers(service))
    answer = score(service.port, BODY)
    assert answer.refusal() == (503, "TEMPORARILY_UNAVAILABLE")
    assert answer.headers["retry-after"]
    assert request(service.port, "GET", "/health").refusal() == (503, "TEMPORARILY_UNAVAILABLE")
    store.start()
    wait_until(lambda: problem(service, name))
    assert not service.healthy()
    with Client(store.url) as client:
        register(client, constants(1), name)
        client.set_alias(name, "champion", 1)
    service.wait_until_healthy()
    assert answered_by(service, name) == "1"
    assert problem(service, name) is None


def _answers(service: Service) -> bool:
    try:
        return request(service.port, "GET", "/version").status == 200
    except OSError:
        return False
