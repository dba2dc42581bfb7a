"""Named endpoints: percentages, stickiness, shadows, changes under load, and configurations that are refused."""

import asyncio
import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.fixtures.databases import migrated_sqlite
from tests.fixtures.services import Service
from tests.fixtures.waiting import until
from tests.serving.in_process import App, running
from tests.serving.saved_models import IRIS, SETOSA, column, constant, signature
from tiltyard import pyfunc
from tiltyard.client import Client
from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists
from tiltyard.models.logged import upload_model
from tiltyard_serving.endpoints.config import read_file, read_request
from tiltyard_serving.endpoints.shadow import IN_FLIGHT, Shadow
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.settings import ServingSettings

BODY = json.dumps({"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}).encode()
PATH = "/serving-endpoints/tumor/invocations"
API = "/api/tiltyard/v1/endpoints"
NAME, FAILING = "main.ml.tried", "main.ml.failing"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model directories that answer 1 and 2."""
    folder = tmp_path_factory.mktemp("constants")
    for answer in (1, 2):
        constant(folder / f"m{answer}", answer)
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[tuple[Service, Client]]:
    """A registry where `champion` names a version that answers 1, `challenger` one that answers 2.

    Version 2 of the other model loads, answers its example and fails for everything else.
    """
    data = tmp_path_factory.mktemp("registry")
    pyfunc.save_model(
        _fails_but_for_setosa,
        data / "failing",
        signature=signature([column(name, "double") for name in IRIS]),
        input_example=pd.DataFrame([SETOSA], columns=IRIS),
        pip_requirements=[],
    )
    migrated_sqlite(data / "data/tiltyard.db")
    service = Service("registry", "--data-dir", str(data / "data"), log=data / "registry.log").start()
    with Client(service.url) as client:
        for name, path in [
            (NAME, folder / "m1"),
            (NAME, folder / "m2"),
            (FAILING, folder / "m1"),
            (FAILING, data / "failing"),
        ]:
            with contextlib.suppress(ResourceAlreadyExists):
                client.create_registered_model(name)
            model_id = upload_model(client, path, "constant")
            client.create_model_version(name, f"models:/{model_id}", model_id=model_id)
        client.set_alias(NAME, "champion", 1)
        client.set_alias(NAME, "challenger", 2)
        client.set_alias(FAILING, "champion", 1)
        yield service, client
    service.terminate()


async def compared(shadow: Shadow, copies: int) -> None:
    """Returns once so many copies have come to an end."""
    counts = shadow.counts
    await until(lambda: counts.agreed + counts.disagreed + counts.failed + counts.dropped == copies)


def _fails_but_for_setosa(frame: Any) -> Any:
    if frame.iloc[0, 0] > 6:
        raise ValueError("the model's secret")
    return [1] * len(frame)


def write(path: Path, **endpoint: Any) -> Path:
    """A configuration file with the endpoint `tumor`."""
    path.write_text(yaml.safe_dump({"endpoints": {"tumor": endpoint}}))
    return path


def split(folder: Path, first: float, second: float) -> list[dict[str, Any]]:
    """Two entities with these percentages."""
    return [
        {"model": str(folder / "m1"), "traffic_percentage": first},
        {"model": str(folder / "m2"), "traffic_percentage": second},
    ]


async def many(app: App, count: int, headers: Callable[[int], Any] = lambda _number: ()) -> list[int]:
    """The predictions of `count` requests, 32 at once, in their order."""
    given = [0] * count
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            answer = await app.request("POST", PATH, BODY, headers(number))
            [given[number]] = answer.predictions

    await asyncio.gather(*(caller() for _ in range(32)))
    return given


@pytest.mark.parametrize("requests", [2_000, pytest.param(20_000, marks=pytest.mark.bench)])
async def test_traffic_is_shared_by_percentage(folder: Path, tmp_path: Path, requests: int) -> None:
    """Of the requests to a 90/10 endpoint 10 % go to the second model, the shadow hears all, and the counts add up."""
    entities = split(folder, 90, 10)
    config = write(tmp_path / "endpoints.yaml", served_entities=entities, shadow=str(tmp_path / "m1"))
    constant(tmp_path / "m1", 1)
    async with running(config=config) as app:
        shadow = app.app.state.endpoints.named("tumor").shadow
        await until(lambda: shadow.served.ready)
        counts = Counter(await many(app, requests))
        await compared(shadow, requests)
        assert counts[1] + counts[2] == requests
        # Five standard deviations.
        assert abs(counts[2] - requests / 10) < 5 * (requests * 0.1 * 0.9) ** 0.5
        [state] = (await app.request("GET", API)).json["endpoints"]
        assert [entity["requests"] for entity in state["served_entities"]] == [counts[1], counts[2]]
        told = state["shadow"]
        assert told["agreed"] + told["disagreed"] + told["dropped"] == requests
        assert told["failed"] == 0
        assert counts[1] - told["dropped"] <= told["agreed"] <= counts[1]
        assert counts[2] - told["dropped"] <= told["disagreed"] <= counts[2]
        metrics = (await app.request("GET", "/metrics")).body.decode()
        second = f'tiltyard_serving_endpoint_requests_total{{endpoint="tumor",served="m2"}} {float(counts[2])}'
        assert second in metrics
        print(f"\n{requests:,} requests: {counts[1]:,} and {counts[2]:,}; the shadow: {told}")


async def test_nobody_waits_for_the_shadow(folder: Path, tmp_path: Path) -> None:
    """A shadow that does not answer delays no caller; what it cannot hear is dropped and counted."""
    go = str(tmp_path / "go")

    def predict(frame: Any) -> Any:
        while not os.path.exists(go):
            time.sleep(0.01)
        return [1] * len(frame)

    slow = tmp_path / "slow"
    pyfunc.save_model(predict, slow, signature=signature([column(n, "double") for n in IRIS]), pip_requirements=[])
    one = [{"model": str(folder / "m1"), "traffic_percentage": 100}]
    config = write(tmp_path / "endpoints.yaml", served_entities=one, shadow=str(slow))
    async with running(config=config) as app:
        shadow = app.app.state.endpoints.named("tumor").shadow
        await until(lambda: shadow.served.ready)
        assert set(await many(app, 200)) == {1}
        assert shadow.counts.dropped >= 200 - IN_FLIGHT - 10
        Path(go).touch()


@pytest.mark.parametrize("headers", [[], [("x-tiltyard-sticky", "a")]])
async def test_the_share_of_a_model_that_is_missing_goes_to_the_others(
    headers: Any, registry: tuple[Service, Client], tmp_path: Path
) -> None:
    """An alias that names nothing yet costs no request an answer, the state says so, and its share is its own again."""
    service, client = registry
    entities = [
        {"model": f"models:/{NAME}@champion", "traffic_percentage": 10},
        {"model": f"models:/{NAME}@later", "traffic_percentage": 90},
    ]
    config = write(tmp_path / "endpoints.yaml", served_entities=entities)
    async with running(config=config, registry_url=service.url, cache_dir=tmp_path / "cache") as app:
        assert await many(app, 50, lambda number: [(name, f"{value}{number}") for name, value in headers]) == [1] * 50
        state = (await app.request("GET", f"{API}/tumor")).json
        assert state["path"] == PATH
        assert [entity["current_percentage"] for entity in state["served_entities"]] == [100, 0]
        assert "There is no version to serve" in state["served_entities"][1]["problem"]
        client.set_alias(NAME, "later", 2)

        async def has_its_share() -> bool:
            state = (await app.request("GET", f"{API}/tumor")).json
            return state["served_entities"][1]["current_percentage"] == 90

        await until(has_its_share)
        assert set(await many(app, 100)) == {1, 2}
    client.delete_alias(NAME, "later")


async def test_there_may_be_so_many_endpoints(
    registry: tuple[Service, Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers cannot make more and more of them; those that are there may be changed."""
    monkeypatch.setattr("tiltyard_serving.endpoints.endpoint_changes.MAX_ENDPOINTS", 1)
    async with running(registry_url=registry[0].url, cache_dir=tmp_path / "cache") as app:
        for name, status in (("a", 200), ("b", 400), ("a", 200)):
            assert (await app.request("PUT", f"{API}/{name}", {"served_entities": [ONE]})).status == status


async def test_a_caller_keeps_its_model(folder: Path, tmp_path: Path) -> None:
    """Requests with one value of the sticky header go to one model, also in another process of another day."""
    config = write(tmp_path / "endpoints.yaml", served_entities=split(folder, 90, 10), sticky_header="X-User")
    seen: dict[int, set[int]] = {}
    users = 1000
    for _ in range(2):
        async with running(config=config) as app:
            given = await many(app, 3 * users, lambda number: [("x-user", f"user {number % users}")])
            for number, prediction in enumerate(given):
                seen.setdefault(number % users, set()).add(prediction)
    assert all(len(predictions) == 1 for predictions in seen.values())
    second = sum(predictions == {2} for predictions in seen.values())
    assert abs(second - 100) < 5 * (1000 * 0.1 * 0.9) ** 0.5


async def test_a_model_without_traffic_gets_none(folder: Path, tmp_path: Path) -> None:
    """0 % is none at all, wherever it stands."""
    config = write(tmp_path / "endpoints.yaml", served_entities=split(folder, 100, 0))
    async with running(config=config) as app:
        assert set(await many(app, 500, lambda number: [("x-tiltyard-sticky", str(number))])) == {1}


async def test_a_shadow_is_compared_and_never_returned(folder: Path, tmp_path: Path) -> None:
    """Its answers count as agreed or not; callers get those of the served model alone."""
    one = [{"model": str(folder / "m1"), "traffic_percentage": 100}]
    for shadow, outcome in (("m2", "disagreed"), ("m1b", "agreed")):
        if shadow == "m1b":
            constant(folder / "m1b", 1)
        config = write(tmp_path / "endpoints.yaml", served_entities=one, shadow=str(folder / shadow))
        async with running(config=config) as app:
            endpoints = app.app.state.endpoints
            await until(lambda endpoints=endpoints: endpoints.named("tumor").shadow.served.ready)
            assert set(await many(app, 300)) == {1}
            await compared(endpoints.named("tumor").shadow, 300)
            state = (await app.request("GET", f"{API}/tumor")).json["shadow"]
            assert state[outcome] + state["dropped"] == 300
            assert state[outcome] > 0
            assert state["agreement_rate"] == (1.0 if outcome == "agreed" else 0.0)
            assert state["mean_seconds"] > 0
            metrics = (await app.request("GET", "/metrics")).body.decode()
            assert f'shadow_requests_total{{endpoint="tumor",outcome="{outcome}"}} {float(state[outcome])}' in metrics


@pytest.mark.parametrize("binary", [False, True])
async def test_a_shadow_hears_the_open_inference_protocol_too(folder: Path, tmp_path: Path, binary: bool) -> None:
    """Requests under `/v2/` are mirrored and compared like the others, whatever form the caller asked for."""
    one = [{"model": str(folder / "m1"), "traffic_percentage": 100}]
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.5]} for name in IRIS]
    body = {"id": "7", "inputs": inputs, "parameters": {"binary_data_output": binary}}
    constant(tmp_path / "m1", 1)
    for shadow, outcome in ((folder / "m2", "disagreed"), (tmp_path / "m1", "agreed")):
        config = write(tmp_path / "endpoints.yaml", served_entities=one, shadow=str(shadow))
        async with running(config=config) as app:
            shadowed = app.app.state.endpoints.named("tumor").shadow
            await until(lambda shadowed=shadowed: shadowed.served.ready)
            for _ in range(5):
                assert (await app.request("POST", "/v2/models/tumor/infer", body)).status == 200
            await compared(shadowed, 5)
            assert getattr(shadowed.counts, outcome) == 5


async def test_changing_an_endpoint_drops_no_request(registry: tuple[Service, Client], tmp_path: Path) -> None:
    """Under load an endpoint is made, changed and ended; every request before its end is answered."""
    settings = {"registry_url": registry[0].url, "cache_dir": tmp_path / "cache"}
    champion, challenger = f"models:/{NAME}@champion", f"models:/{NAME}@challenger"
    configs: list[dict[str, Any]] = [
        {"served_entities": [{"model": champion, "traffic_percentage": 100}], "shadow": challenger},
        {"served_entities": [{"model": challenger, "traffic_percentage": 100}]},
        {
            "served_entities": [
                {"model": champion, "traffic_percentage": 50},
                {"model": challenger, "traffic_percentage": 50},
            ]
        },
        {"served_entities": [{"model": champion, "traffic_percentage": 100}]},
    ]
    async with running(**settings) as app:
        assert (await app.request("POST", PATH, BODY)).refusal() == (404, "RESOURCE_DOES_NOT_EXIST")
        assert (await app.request("PUT", f"{API}/tumor", configs[0])).status == 200
        given: Counter[tuple[int, str]] = Counter()
        over = asyncio.Event()

        async def caller() -> None:
            while not over.is_set():
                answer = await app.request("POST", PATH, BODY)
                [prediction] = answer.predictions
                given[prediction, answer.headers["x-tiltyard-model"]] += 1

        callers = [asyncio.create_task(caller()) for _ in range(8)]
        for config in configs[1:] * 3:
            assert (await app.request("PUT", f"{API}/tumor", config)).status == 200
            enough = given.total() + 16
            await until(lambda enough=enough: given.total() > enough)
        over.set()
        await asyncio.gather(*callers)
        assert set(given) == {(1, f"{NAME}/1"), (2, f"{NAME}/2")}
        assert (await app.request("DELETE", f"{API}/tumor")).status == 200
        assert (await app.request("POST", PATH, BODY)).status == 404
        assert (await app.request("GET", API)).json == {"endpoints": []}


async def test_aliases_of_one_version_share_the_loaded_model(registry: tuple[Service, Client], tmp_path: Path) -> None:
    """Whatever names a version, it is loaded once, and goes when the last who serves it has gone."""
    settings = {"registry_url": registry[0].url, "cache_dir": tmp_path / "cache"}
    one = {"served_entities": [{"model": f"models:/{NAME}/1", "traffic_percentage": 100}]}
    async with running(models=(f"models:/{NAME}@champion",), **settings) as app:
        assert (await app.request("PUT", f"{API}/tumor", one)).status == 200
        endpoints = app.app.state.endpoints
        first, second = (served.slot.current for served in endpoints)
        assert first is second
        assert (await app.request("DELETE", f"{API}/tumor")).status == 200
        assert not first.closed
        assert (await app.request("POST", "/invocations", BODY)).predictions == [1]


async def test_a_version_that_fails_is_taken_back(registry: tuple[Service, Client], tmp_path: Path) -> None:
    """After too many failures among its first requests the version before it serves again, and it is said why."""
    service, client = registry
    served = f"models:/{FAILING}@champion"
    bad = json.dumps({"dataframe_split": {"columns": IRIS, "data": [[6.3, 3.3, 6.0, 2.5]]}}).encode()
    settings = {"registry_url": service.url, "cache_dir": tmp_path / "cache", "trial_requests": 20}
    async with running(models=(f"tumor={served}",), **settings) as app:

        async def version() -> str:
            return (await app.request("POST", PATH, bad)).headers["x-tiltyard-model"]

        assert await version() == f"{FAILING}/1"
        client.set_alias(FAILING, "champion", 2)
        answers: list[int] = []

        async def second_version() -> Any:
            [state] = (await app.request("GET", f"{API}/tumor")).json["served_entities"]
            return state if state["version"] == "2" else None

        assert (await until(second_version))["on_trial"]
        while await version() == f"{FAILING}/2":
            answers.append(1)
        # Eleven of twenty are more than half. Each is counted once the version before has answered the same.
        failed = len(answers)
        assert failed >= 11
        [state] = (await app.request("GET", f"{API}/tumor")).json["served_entities"]
        assert state["version"] == "1"
        assert state["problem"] == (
            f"{FAILING}/2 was taken back: 11 of its first 11 requests failed, more than 50% of 20 may not"
        )
        metrics = (await app.request("GET", "/metrics")).body.decode()
        assert 'tiltyard_serving_models_taken_back_total{served="tumor"} 1.0' in metrics
        assert {await version() for _ in range(20)} == {f"{FAILING}/1"}
    client.set_alias(FAILING, "champion", 1)


ONE = {"model": f"models:/{NAME}/1", "traffic_percentage": 100}
BAD: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "cannot be read"),
    "not UTF-8": (b'{"shadow": "\xff"}', "cannot be read"),
    "nothing": ({}, "served_entities"),
    "no entities": ({"served_entities": []}, "1 to 32 entities"),
    "sum": ({"served_entities": [ONE | {"traffic_percentage": 99}]}, "must sum to 100, got 99"),
    "negative": (
        {"served_entities": [ONE | {"traffic_percentage": -1}, ONE | {"model": f"models:/{NAME}/2"}]},
        "$.served_entities[0].traffic_percentage must be from 0 to 100, got -1",
    ),
    "text": ({"served_entities": [ONE | {"traffic_percentage": "100"}]}, "served_entities[0].traffic_percentage"),
    "unknown": ({"served_entities": [ONE], "mirror": 1}, "mirror"),
    "twice": ({"served_entities": [ONE, ONE]}, "$.served_entities[1].model"),
    "shadow twice": ({"served_entities": [ONE], "shadow": ONE["model"]}, "$.shadow"),
    "uri": ({"served_entities": [ONE | {"model": "models:/a@"}]}, "$.served_entities[0].model"),
    "path": ({"served_entities": [ONE | {"model": "s3://bucket/model"}]}, "expected a registered model"),
    "header": ({"served_entities": [ONE], "sticky_header": "a b"}, "$.sticky_header"),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD)
def test_a_bad_configuration_is_refused(body: Any, message: str) -> None:
    """What is wrong is named."""
    with pytest.raises(InvalidParameterValue) as refused:
        read_request(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert message in refused.value.message


async def test_a_bad_change_changes_nothing(registry: tuple[Service, Client], tmp_path: Path) -> None:
    """A configuration that is wrong, or names what does not exist, is a 4xx and the endpoint stays."""
    settings = {"registry_url": registry[0].url, "cache_dir": tmp_path / "cache"}
    async with running(models=(f"tumor=models:/{NAME}/1",), **settings) as app:
        for config, message in [
            ({"served_entities": []}, "entities"),
            ({"served_entities": [ONE | {"model": f"models:/{NAME}/9"}]}, "$.served_entities[0].model"),
            ({"served_entities": [ONE | {"model": "models:/main.ml.absent@champion"}]}, "main.ml.absent"),
        ]:
            answer = await app.request("PUT", f"{API}/tumor", config)
            assert answer.refusal() == (400, "INVALID_PARAMETER_VALUE")
            assert message in answer.json["message"]
        assert (await app.request("PUT", f"{API}/a.b", {"served_entities": [ONE]})).status == 400
        assert (await app.request("DELETE", f"{API}/other")).refusal() == (404, "RESOURCE_DOES_NOT_EXIST")
        assert (await app.request("POST", PATH, BODY)).predictions == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("endpoints: [", "is no YAML"),
        ("[]", "Expected `object`"),
        ("endpoints: {a b: {served_entities: []}}", "An endpoint's name"),
        ("endpoints: {a: {served_entities: [{model: /nowhere, traffic_percentage: 100}]}}", "no model directory"),
        ("endpoints: {a: {served_entities: [{model: 'models:/a/1', traffic_percentage: 10}]}}", "must sum to 100"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A configuration file that cannot be served is refused at the start, naming what is wrong."""
    path = tmp_path / "endpoints.yaml"
    path.write_text(text)
    with pytest.raises(InvalidParameterValue) as refused:
        read_file(path)
    assert message in refused.value.message
    from tiltyard_serving.endpoints.endpoint_changes import EndpointChanges

    with pytest.raises(InvalidParameterValue):
        EndpointChanges(ServingSettings(config=path), Telemetry())
