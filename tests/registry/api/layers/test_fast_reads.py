"""The hottest reads answer what their routes answer, and leave the rest to them."""

import json
import math
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.registry.api_app import MLFLOW, MODELS, VERSIONS, Api
from tiltyard_registry.api.layers import fast_routes
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.one_statement.reads import read_run
from tiltyard_registry.store.sql.database import Database

RUN, ALIAS, VERSION = f"{MLFLOW}/runs/get", f"{MODELS}/alias", f"{VERSIONS}/get"
# Makes a request one that only the route answers.
_BY_ROUTE = "&by=route"

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
_VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, 1e-5, 1e15, 1e16, 1e17, 5e-324, math.nan, math.inf, -math.inf]),
)


def _wire(value: float) -> float | str:
    return value if math.isfinite(value) else str(value).replace("inf", "Infinity").replace("nan", "NaN")


async def _both(api: Api, path: str, query: str) -> bytes:
    """The body of the short way; that of the route says the same, value by value, kinds and order included."""
    hot = await api.ask("GET", f"{path}?{query}")
    route = await api.ask("GET", f"{path}?{query}{_BY_ROUTE}")
    assert (hot.status_code, hot.headers["content-type"]) == (route.status_code, route.headers["content-type"])
    # Only the spelling of a float may differ: 1e+16 and 1e16.
    assert json.dumps(hot.json()) == json.dumps(route.json())
    return hot.content


@pytest.mark.asyncio(loop_scope="module")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=_TEXTS,
    values=st.lists(_VALUES, max_size=8),
    texts=st.lists(_TEXTS, max_size=6),
    step=st.integers(-(2**63), 2**63 - 1),
    ended=st.none() | st.integers(0, 2**63 - 1),
)
async def test_a_run_is_the_same_text_by_both_ways(
    api: Api, name: str, values: list[float], texts: list[str], step: int, ended: int | None
) -> None:
    """Whatever is logged: odd floats, escapes, empty texts, nothing at all; under both spellings and prefixes."""
    run = await api.ok("POST", f"{MLFLOW}/runs/create", {"run_name": name, "start_time": 5})
    run_id = run["run"]["info"]["run_id"]
    body = {
        "run_id": run_id,
        "metrics": [
            {"key": f"m{at}", "value": _wire(value), "timestamp": at, "step": step} for at, value in enumerate(values)
        ],
        "params": [{"key": f"p{at}", "value": text} for at, text in enumerate(texts)],
        "tags": [{"key": f"T.{at}", "value": text} for at, text in enumerate(texts)],
    }
    await api.ok("POST", f"{MLFLOW}/runs/log-batch", body)
    if ended is not None:
        await api.ok("POST", f"{MLFLOW}/runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": ended})
    first = await _both(api, RUN, f"run_id={run_id}")
    assert first == await _both(api, RUN, f"run_uuid={run_id}")
    assert first == await _both(api, RUN, f"run_uuid={run_id}&run_id={run_id}")
    assert first == await _both(api, RUN.replace("/api/", "/ajax-api/"), f"run_id={run_id}")


@pytest.mark.asyncio(loop_scope="module")
async def test_what_links_a_run_has_is_shown(api: Api) -> None:
    """A run's datasets with their tags, and the models that it took and made, in one order."""
    run_id = (await api.ok("POST", f"{MLFLOW}/runs/create", {}))["run"]["info"]["run_id"]
    about: dict[str, Any]
    for name, about in (("d", {}), ('e"', {"schema": "{}", "profile": "\\"}), ("f", {"profile": ""})):
        dataset = {"name": name, "digest": "1", "source_type": "local", "source": "s", **about}
        tags = [{"key": key, "value": f"{name}{key}"} for key in ("b", "a")[: len(about)]]
        body = {"run_id": run_id, "datasets": [{"dataset": dataset, "tags": tags}]}
        await api.ok("POST", f"{MLFLOW}/runs/log-inputs", body)
    models = [
        (await api.ok("POST", f"{MLFLOW}/logged-models", {"experiment_id": "0"}))["model"]["info"]["model_id"]
        for _ in range(3)
    ]
    body = {"run_id": run_id, "models": [{"model_id": model_id} for model_id in models]}
    await api.ok("POST", f"{MLFLOW}/runs/log-inputs", body)
    steps = [{"model_id": model_id, "step": step} for model_id, step in zip(models, (2, 1, 1), strict=True)]
    await api.ok("POST", f"{MLFLOW}/runs/outputs", {"run_id": run_id, "models": steps})
    assert b'"name":"d"' in await _both(api, RUN, f"run_id={run_id}")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ["hot", "main.default.hot", "ein Modell é%"])
async def test_a_version_is_the_same_text_by_both_ways(api: Api, name: str) -> None:
    """With and without tags, description and run; aliases in one order."""
    await api.model(name, 1)
    await api.alias(name, "champion", 1)
    bare = await _both(api, ALIAS, f"name={quote(name)}&alias=champion")
    assert b'"tags":[]' in bare
    version = {"name": name, "version": "1"}
    await api.ok("POST", f"{VERSIONS}/set-tag", {**version, "key": "a", "value": '"\\\n\x01é'})
    await api.ok("POST", f"{VERSIONS}/set-tag", {**version, "key": "B", "value": ""})
    await api.ok("PATCH", f"{VERSIONS}/update", {**version, "description": "what it is\t"})
    await api.alias(name, "Best", 1)
    await api.alias(name, "a1", 1)
    assert b"what it is" in await _both(api, ALIAS, f"alias=champion&name={quote(name)}")
    await _both(api, ALIAS, f"name={quote(name)}&alias=latest")
    by_number = await _both(api, VERSION, f"name={quote(name)}&version=1")
    assert by_number == await _both(api, ALIAS, f"name={quote(name)}&alias=champion")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "query"),
    [
        (RUN, ""),
        (RUN, "run_id=0123"),
        (RUN, f"run_id={'0' * 32}"),
        (RUN, f"run_id={'0' * 32}&run_uuid={'1' * 32}"),
        (ALIAS, "name=nobody&alias=a"),
        (ALIAS, "name=nobody"),
        (ALIAS, "name=a.b&alias=c"),
        (ALIAS, "name=nobody&alias="),
        (ALIAS, f"name=nobody&alias={'a' * 300}"),
        (VERSION, "name=nobody&version=1"),
        (VERSION, "name=nobody&version=one"),
        (VERSION, "name=nobody"),
        (VERSION, f"name=nobody&version={10**17}"),
    ],
)
async def test_refusals_are_the_routes_own(api: Api, path: str, query: str) -> None:
    """A request that cannot be answered is refused as ever, in the protocol's shape."""
    assert b'"error_code"' in await _both(api, path, query)


@pytest.mark.asyncio(loop_scope="module")
async def test_they_are_guarded_and_measured(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Foreign hosts are kept away, requests counted by their template, and the database is visited once."""
    run_id = (await api.ok("POST", f"{MLFLOW}/runs/create", {}))["run"]["info"]["run_id"]
    asked: list[str] = []

    async def noted(database: Database, who: Principal, run_id: str) -> bytes | None:
        asked.append(run_id)
        return await read_run(database, who, run_id)

    monkeypatch.setattr(fast_routes, "read_run", noted)
    foreign = await api.ask("GET", f"{RUN}?run_id={run_id}", headers={"host": "elsewhere.example"})
    assert (foreign.status_code, asked) == (403, [])
    assert (await api.ask("GET", f"{RUN}?run_id={run_id}")).headers["x-request-id"]
    assert asked == [run_id]
    assert f'method="GET",route="{RUN}",status="200"' in (await api.ask("GET", "/metrics")).text


@pytest.mark.asyncio(loop_scope="module")
async def test_a_probe_is_answered_the_same_by_both_ways(api: Api) -> None:
    """Content type and text, and that the server stops."""
    fast, route = await api.ask("GET", "/health"), await api.ask("GET", "/readyz")
    assert (fast.status_code, fast.text, fast.headers["content-type"]) == (200, "OK", route.headers["content-type"])
    api.app.state.draining.set()
    try:
        assert (await api.ask("GET", "/health")).status_code == 503
    finally:
        api.app.state.draining.clear()
