"""The hottest writes do what their routes do, and say what they say, on both databases."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fixtures.postgres import Postgres
from tests.registry.api_app import JSON, MLFLOW, Api, opened
from tiltyard_registry.store.one_statement import log_batch
from tiltyard_registry.store.sql.database import Database

RUNS = f"{MLFLOW}/runs"
# Makes a request one that only its route answers; the route takes no notice of it.
_BY_ROUTE = {"by": "\0"}
MARKS: tuple[dict[str, str], ...] = ({}, _BY_ROUTE)

_KEYS = st.sampled_from(["a", "b", "c/d", "é 1", "a$", "../a", "", "k" * 251])
_GOOD_KEYS = st.sampled_from(["a", "b", "c/d", "é 1"])
_NUMBERS = st.sampled_from([0, 1, 2, 3, "7", 2**63 - 1, -(2**63), 2**63, -1, 1.0, 1.5, None])
_TIMES = st.sampled_from([0, 1, 2, 3, "7", 2**63 - 1])
_VALUES = st.sampled_from([0, 0.5, -0.0, 1e308, 5e-324, "NaN", "Infinity", "-Infinity", "0.25", 10**20])
_TEXTS = st.sampled_from(["", "1", "1.0", "é\n", "x" * 8001, "a\0b", "\\u0000"])
_PARAM_TEXTS = st.sampled_from(["", "1"])


def _metric(keys: Any, times: Any) -> Any:
    return st.fixed_dictionaries(
        {"key": keys, "value": _VALUES, "timestamp": times},
        optional={"step": times, "model_id": st.just(""), "dataset_name": st.just("d"), "datasetName": st.just("e")},
    )


def _pair(keys: Any, values: Any) -> Any:
    return st.fixed_dictionaries({"key": keys}, optional={"value": values})


_GOOD_BATCH = st.fixed_dictionaries(
    {"metrics": st.lists(_metric(_GOOD_KEYS, _TIMES), max_size=8)},
    optional={
        "params": st.lists(_pair(_GOOD_KEYS, _PARAM_TEXTS), max_size=3, unique_by=lambda param: param["key"]),
        "tags": st.lists(_pair(_GOOD_KEYS | st.just("mlflow.runName"), _TEXTS), max_size=3),
    },
)
_ANY_BATCH = st.fixed_dictionaries(
    {"metrics": st.lists(_metric(_KEYS, _NUMBERS), max_size=3)},
    optional={"params": st.lists(_pair(_KEYS, _TEXTS), max_size=3), "tags": st.lists(_pair(_KEYS, _TEXTS), max_size=3)},
)
_CALLS = st.one_of(
    st.tuples(st.just("log-batch"), _GOOD_BATCH),
    st.tuples(st.just("log-batch"), _ANY_BATCH),
    st.tuples(st.just("log-metric"), _metric(_KEYS, _NUMBERS)),
    st.tuples(st.just("log-metric"), _metric(_GOOD_KEYS, _TIMES)),
    st.tuples(st.just("log-parameter"), _pair(_KEYS, _PARAM_TEXTS)),
    st.tuples(st.just("set-tag"), _pair(_KEYS | st.just("mlflow.runName"), _TEXTS)),
    st.tuples(st.sampled_from(["delete", "restore"]), st.just({})),
)


class Ways:
    """One work done by each way: past the framework and by the route, on both databases."""

    def __init__(self, postgres: Api, sqlite: Api) -> None:
        self.ways: list[tuple[Api, dict[str, str]]] = [(api, mark) for api in (postgres, sqlite) for mark in MARKS]

    async def ask(self, call: str, bodies: list[Any]) -> list[tuple[int, Any]]:
        """Status and JSON of each way's answer to its own body."""
        answers = []
        for (api, mark), body in zip(self.ways, bodies, strict=True):
            content = json.dumps({**body, **mark}).encode() if isinstance(body, dict) else body
            answer = await api.http.post(f"{RUNS}/{call}", content=content, headers=JSON)
            assert answer.status_code < 500, answer.text
            answers.append((answer.status_code, answer.json()))
        return answers

    async def state(self, run_ids: list[str]) -> list[Any]:
        """All that is kept of each way's run."""
        return [await _kept(api, run_id) for (api, _), run_id in zip(self.ways, run_ids, strict=True)]

    async def start(self, body: dict[str, Any]) -> list[tuple[int, Any]]:
        """Each way's answer to the start of a run."""
        return await self.ask("create", [body] * len(self.ways))


async def _kept(api: Api, run_id: str) -> Any:
    run = (await api.ok("GET", f"{RUNS}/get?run_id={run_id}"))["run"]
    histories = [
        await api.ok("GET", f"{MLFLOW}/metrics/get-history", params={"run_id": run_id, "metric_key": metric["key"]})
        for metric in run["data"]["metrics"]
    ]
    return _without(run_id, [run, histories])


def _without(run_id: str, value: Any) -> Any:
    """`value` with another text for the run's id, so that two runs can be compared."""
    return json.loads(json.dumps(value).replace(run_id, "RUN"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ways(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ways]:
    """The application on both databases."""
    folder = tmp_path_factory.mktemp("ways")
    url = postgres_server.create_database()
    async with opened(folder / "p", database_url=url) as postgres, opened(folder / "s") as sqlite:
        yield Ways(postgres, sqlite)


def _are_equal(values: list[Any]) -> bool:
    return all(value == values[0] for value in values)


def _comparable(asked: dict[str, Any], answer: Any) -> Any:
    """The answer to a start, without what no two starts have alike."""
    if "run" not in answer:
        return answer
    info = answer["run"]["info"]
    assert {"key": "mlflow.runName", "value": info["run_name"]} in answer["run"]["data"]["tags"]
    shown = _without(info["run_id"], answer)
    if not asked.keys() & {"run_name", "runName"}:
        shown = _without(info["run_name"], shown)
    if "start_time" not in asked:
        shown["run"]["info"].pop("start_time")
    return shown


def _batch(*metrics: tuple[str, float, int, int], **others: Any) -> tuple[str, Any]:
    names = ("key", "value", "timestamp", "step")
    return "log-batch", {"metrics": [dict(zip(names, metric, strict=True)) for metric in metrics], **others}


# Enough that they are first taken for new ones; some come twice.
_MANY = [("ab"[at % 2], at % 7 * 0.0, at % 60, at % 110) for at in range(130)]
_OTHER = [{"key": "a", "value": "other"}]


@pytest.mark.asyncio(loop_scope="module")
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(_CALLS, min_size=1, max_size=6))
@example(
    [_batch(("a", 1, 1, 1), ("a", 2, 1, 1), ("a", 3, 0, 1), ("a", 9, 9, 0)), _batch(("a", 4, 0, 2), ("b", 0, 0, 0))]
)
@example([_batch(params=[{"key": "a", "value": "1"}]), _batch(("a", 1, 1, 1), params=[{"key": "a", "value": "2"}])])
@example([_batch(*_MANY), _batch(*_MANY[50:], ("a", 7, 7, 7), params=[{"key": "a", "value": "1"}])])
@example([_batch(("b", 0, 5, 5)), _batch(*_MANY, params=[{"key": "a"}]), _batch(*_MANY, ("b", 9, 9, 9), params=_OTHER)])
@example([("delete", {}), _batch(("a", 1, 1, 1)), ("log-parameter", {"key": "a"}), ("restore", {}), _batch()])
async def test_every_way_answers_and_keeps_the_same(ways: Ways, calls: list[tuple[str, Any]]) -> None:
    """Whatever is logged, right or wrong, one way or another, and all of it twice: the same in every byte."""
    started = await ways.start({"run_name": "r", "start_time": 5, "tags": [{"key": "t", "value": "v"}]})
    run_ids = [answer["run"]["info"]["run_id"] for _, answer in started]
    shown = [_without(run_id, answer) for run_id, answer in zip(run_ids, started, strict=True)]
    assert _are_equal(shown)
    for call, body in [*calls, *calls]:
        answers = await ways.ask(call, [{"run_id": run_id, **body} for run_id in run_ids])
        shown = [_without(run_id, answer) for run_id, answer in zip(run_ids, answers, strict=True)]
        assert _are_equal(shown), (call, body)
    kept = await ways.state(run_ids)
    assert _are_equal(kept)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"experiment_id": "999"},
        {"experiment_id": "x"},
        {"experiment_id": " 0 ", "run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]},
        {"experiment_id": "0", "run_name": "é", "user_id": "u" * 257},
        {"experimentId": "0", "runName": "camel"},
        {"run_name": "a\0b"},
        {"start_time": 2**63},
        {"start_time": "17", "tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]},
        {"run_id": "unknown"},
    ],
)
async def test_a_run_is_started_or_refused_alike(ways: Ways, body: dict[str, Any]) -> None:
    """Apart from ids, invented names and times, the answers are one another's."""
    shown = [(status, _comparable(body, answer)) for status, answer in await ways.start(body)]
    assert _are_equal(shown)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("location", ["s3://bucket/base/?region=x", "s3://bucket/a//", "file:///tmp/x", "/", "%_a"])
async def test_a_run_lies_below_its_experiment(ways: Ways, location: str) -> None:
    """Each way puts the run's artifacts at one place, whatever the experiment's location looks like."""
    for api, _ in ways.ways[::2]:
        found = await api.ask("POST", f"{MLFLOW}/experiments/create", {"name": location, "artifact_location": location})
        number = found.json().get("experiment_id", "0")
    shown = [
        _without(answer["run"]["info"]["run_id"], answer["run"]["info"]["artifact_uri"])
        for _, answer in await ways.start({"experiment_id": number})
    ]
    assert _are_equal(shown)
    assert shown[0] != "mlflow-artifacts:/0/RUN/artifacts"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"{}"',
        b'{"run_id": "\xff"}',
        b"[" * 5000,
        b'{"run_id": null}',
        b'{"run_id": "\\ud800"}',
        b'{"run_id": 1}',
    ],
)
@pytest.mark.parametrize("call", ["create", "log-batch", "log-metric"])
async def test_odd_bodies_are_read_alike(ways: Ways, call: str, body: bytes) -> None:
    """What is no plain object gets its route's answer."""
    answers = [(status, said.get("message")) for status, said in await ways.ask(call, [body] * len(ways.ways))]
    assert _are_equal(answers)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("way", [0, 2], ids=["postgresql", "sqlite"])
async def test_plain_writes_go_past_the_framework(ways: Ways, way: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the stock client sends is done in one visit, under either prefix, and counted by its route."""
    api = ways.ways[way][0]
    done: list[bool] = []
    log = log_batch._log

    async def noted(*arguments: Any, **options: Any) -> bool:
        done.append(await log(*arguments, **options))
        return done[-1]

    monkeypatch.setattr(log_batch, "_log", noted)
    run_id = (await api.ok("POST", f"{RUNS}/create", {}))["run"]["info"]["run_id"]
    metric = {"key": "m", "value": 1.0, "timestamp": 1, "step": 0}
    pair = {"key": "k", "value": "v"}
    batch = {"run_id": run_id, "metrics": [metric], "params": [pair], "tags": [pair]}
    assert await api.ok("POST", f"{RUNS}/log-batch", batch) == {}
    assert await api.ok("POST", f"{RUNS}/log-metric".replace("/api", "/ajax-api"), {"run_uuid": run_id, **metric}) == {}
    assert await api.ok("POST", f"{RUNS}/log-parameter", {"run_id": run_id, **pair}) == {}
    assert await api.ok("POST", f"{RUNS}/set-tag", {"run_id": run_id, **pair}) == {}
    assert done == [True] * 4
    answer = await api.ask("POST", f"{RUNS}/log-batch", batch, headers={"x-request-id": "w-1"})
    assert (answer.headers["x-request-id"], answer.headers["content-length"]) == ("w-1", "2")
    foreign = await api.ask("POST", f"{RUNS}/log-batch", batch, headers={"origin": "http://elsewhere.example"})
    assert (foreign.status_code, len(done)) == (403, 5)
    assert f'method="POST",route="{RUNS}/log-batch",status="200"' in (await api.ask("GET", "/metrics")).text


async def test_a_body_over_the_limit_is_refused_by_its_route(postgres_url: str, tmp_path: Any) -> None:
    """However it comes, in one piece or in many, it is a 413."""
    async with opened(tmp_path, database_url=postgres_url, max_body_bytes=1000) as api:
        body = json.dumps({"run_id": "0" * 32, "tags": [{"key": "k", "value": "v" * 2000}]}).encode()

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(body), 100):
                yield body[at : at + 100]

        for content in (body, pieces()):
            answer = await api.http.post(f"{RUNS}/log-batch", content=content, headers=JSON)
            assert answer.status_code == 413, answer.text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("way", [0, 2], ids=["postgresql", "sqlite"])
async def test_writers_of_one_run_by_both_ways_do_not_stop_each_other(ways: Ways, way: int) -> None:
    """Batches with the same keys in different orders, half of them by the route: none fails, the newest point stays."""
    api = ways.ways[way][0]
    run_id = (await api.ok("POST", f"{RUNS}/create", {}))["run"]["info"]["run_id"]
    keys = [f"k{number:02}" for number in range(20)]

    async def write(writer: int) -> None:
        order = keys[::-1] if writer % 3 else keys
        for turn in range(5):
            step = 1 + writer + 16 * ((turn * 7 + writer) % 5)
            body = {
                "run_id": run_id,
                "metrics": [{"key": key, "value": writer, "timestamp": 0, "step": step} for key in order],
                "params": [{"key": key, "value": "same"} for key in order],
                "tags": [{"key": key, "value": str(writer)} for key in order],
            }
            await api.ok("POST", f"{RUNS}/log-batch", {**body, **(_BY_ROUTE if writer % 2 else {})})

    await asyncio.gather(*(write(writer) for writer in range(16)))
    run = (await api.ok("GET", f"{RUNS}/get?run_id={run_id}"))["run"]
    assert {(metric["step"], metric["value"]) for metric in run["data"]["metrics"]} == {(80, 15.0)}
    assert len(run["data"]["metrics"]) == len(run["data"]["params"]) == len(keys)
    history = await api.ok("GET", f"{MLFLOW}/metrics/get-history?run_id={run_id}&metric_key=k07")
    assert [point["step"] for point in history["metrics"]] == list(range(1, 81))


async def test_a_full_pool_makes_writers_wait_and_then_come_again(
    postgres_url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its only connection taken a write waits, then is a 429 with Retry-After; nothing of it is stored."""
    monkeypatch.setattr("tiltyard_registry.app.Database", partial(Database, pool_wait_s=0.3))
    async with opened(tmp_path, database_url=postgres_url, max_connections=1) as api:
        run_id = (await api.ok("POST", f"{RUNS}/create", {}))["run"]["info"]["run_id"]
        body = {"run_id": run_id, "key": "k", "value": "v"}
        async with api.app.state.database.read():
            refused = await api.ask("POST", f"{RUNS}/set-tag", body)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert refused.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
            started = await api.ask("POST", f"{RUNS}/create", {"run_name": "never"})
            assert started.status_code == 429
            waiting = asyncio.create_task(api.ok("POST", f"{RUNS}/log-parameter", body))
            await asyncio.sleep(0)
        assert await waiting == {}
        data = (await api.ok("GET", f"{RUNS}/get?run_id={run_id}"))["run"]["data"]
        assert ([param["key"] for param in data["params"]], [tag["key"] for tag in data["tags"]]) == (
            ["k"],
            ["mlflow.runName"],
        )
        assert len((await api.ok("POST", f"{RUNS}/search", {"experiment_ids": ["0"]}))["runs"]) == 1


async def test_writers_get_over_lost_connections(postgres_server: Postgres, postgres_url: str, tmp_path: Any) -> None:
    """When PostgreSQL ends every connection, each write is stored or told to come again, and soon all are stored."""
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    async with opened(tmp_path, database_url=postgres_url) as api:
        run_id = (await api.ok("POST", f"{RUNS}/create", {}))["run"]["info"]["run_id"]

        async def tag(key: str) -> int:
            answer = await api.ask("POST", f"{RUNS}/set-tag", {"run_id": run_id, "key": key, "value": "v"})
            return answer.status_code

        assert await asyncio.gather(*(tag(f"before {n}") for n in range(4))) == [200] * 4
        await asyncio.to_thread(
            postgres_server.execute, f"{ended} AND pid <> pg_backend_pid()", postgres_url.rsplit("/", 1)[1]
        )
        answers = [await tag(f"after {n}") for n in range(8)]
        assert set(answers) <= {200, 429, 503}
        assert answers[-2:] == [200, 200]
        tags = (await api.ok("GET", f"{RUNS}/get?run_id={run_id}"))["run"]["data"]["tags"]
        stored = {tag["key"] for tag in tags}
        assert {f"after {n}" for n, status in enumerate(answers) if status == 200} <= stored
