"""Other ways to ask what a GET asks: HEAD, and a GET whose parameters are in a JSON body."""

from typing import Any

import pytest
from litestar.routes import HTTPRoute

from tests.registry.api_app import JSON, MLFLOW, MODELS, OWN, VERSIONS, Api

in_one_loop = pytest.mark.asyncio(loop_scope="module")

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
SEARCHES = [f"{MODELS}/search", f"{VERSIONS}/search", f"{MLFLOW}/experiments/search"]
INVALID = (400, "INVALID_PARAMETER_VALUE")


async def _furnished(api: Api, name: str) -> dict[str, str]:
    """A run with a metric and a file, and a model with two versions and an alias."""
    experiment = (await api.ok("POST", f"{MLFLOW}/experiments/create", {"name": name}))["experiment_id"]
    run = (await api.ok("POST", f"{MLFLOW}/runs/create", {"experiment_id": experiment}))["run"]["info"]["run_id"]
    for step in range(3):
        point = {"run_id": run, "key": "loss", "value": 0.5, "timestamp": 1, "step": step}
        await api.ok("POST", f"{MLFLOW}/runs/log-metric", point)
    await api.ask("PUT", f"{PROXY}/{experiment}/{run}/artifacts/a.txt", b"12345")
    await api.model(name, versions=2)
    await api.alias(name, "live", 1)
    return {"name": name, "experiment": experiment, "run": run}


@in_one_loop
async def test_head_is_answered_like_get(api: Api) -> None:
    """Wherever GET is, HEAD has its status and its headers, and no body; elsewhere it is absent as GET is."""
    made = await _furnished(api, "head")
    paths = [route.path for route in api.app.routes if isinstance(route, HTTPRoute) and not route.path_parameters]
    paths += [
        f"{MLFLOW}/runs/get?run_id={made['run']}",
        f"{MODELS}/alias?name=head&alias=live",
        f"/get-artifact?run_id={made['run']}&path=a.txt",
        f"{PROXY}/{made['experiment']}/{made['run']}/artifacts/a.txt",
        f"{PROXY}?path={made['experiment']}",
        f"{OWN}/models/head/aliases",
        f"{OWN}/runs.csv?experiment_id={made['experiment']}",
        "/nothing",
    ]
    assert len(paths) > 60
    answered = 0
    for path in paths:
        got, head = await api.ask("GET", path), await api.ask("HEAD", path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers["content-type"] == got.headers["content-type"], path
        if path.partition("?")[0] not in ("/metrics", "/api/tiltyard/v1/events"):
            assert head.headers.get("content-length") == got.headers.get("content-length"), path
        answered += head.status_code == 200
    assert answered > 20


@in_one_loop
async def test_parameters_of_a_get_may_be_in_its_body(api: Api) -> None:
    """Every endpoint that reads a query reads a JSON body in its place, and answers the same."""
    made = await _furnished(api, "body")
    version = {"name": "body", "version": "1"}
    asked: dict[str, dict[str, Any]] = {
        f"{MLFLOW}/experiments/get": {"experiment_id": made["experiment"]},
        f"{MLFLOW}/experiments/get-by-name": {"experiment_name": "body"},
        f"{MLFLOW}/runs/get": {"run_id": made["run"]},
        f"{MLFLOW}/metrics/get-history": {"run_id": made["run"], "metric_key": "loss", "max_results": 2},
        f"{MLFLOW}/metrics/get-history-bulk": {"run_id": [made["run"]], "metric_key": "loss"},
        f"{MLFLOW}/artifacts/list": {"run_id": made["run"]},
        f"{MODELS}/get": {"name": "body"},
        f"{MODELS}/alias": {"name": "body", "alias": "live"},
        f"{MODELS}/get-latest-versions": {"name": "body", "stages": ["None", "Production"]},
        f"{MODELS}/search": {"filter": "name = 'body'", "max_results": 1},
        f"{VERSIONS}/search": {"filter": "name = 'body'", "max_results": 1, "order_by": ["version_number DESC"]},
        f"{MLFLOW}/experiments/search": {"filter": "name = 'body'", "max_results": 1},
        f"{VERSIONS}/get": version,
        f"{VERSIONS}/get-download-uri": version,
        PROXY: {"path": made["experiment"]},
        f"{OWN}/resolve": {"uri": ["models:/body/1", "models:/body@live"]},
    }
    for path, parameters in asked.items():
        by_query = await api.ok("GET", path, params=parameters)
        assert await api.ok("GET", path, parameters) == by_query, path
    found = await api.ok("GET", f"{VERSIONS}/search", {"filter": "name = 'body'", "maxResults": 1})
    assert len(found["model_versions"]) == 1 and found["next_page_token"]
    ajax = await api.ok("GET", "/ajax-api/2.0/mlflow/runs/get", {"runId": made["run"]})
    assert ajax["run"]["info"]["run_id"] == made["run"]


@pytest.mark.parametrize("path", SEARCHES)
@in_one_loop
async def test_no_filter_is_dropped(api: Api, path: str) -> None:
    """A body that cannot be read, or says otherwise than the query, is refused; an empty one is none."""
    for body in (
        b"{",
        b"[1]",
        b'"text"',
        b"\xff",
        b'{"filter": {"a": 1}}',
        b'{"order_by": [["a"]]}',
        b'{"filter": "\\u0000"}',
    ):
        assert (await api.refused("GET", path, body, headers=JSON))[:2] == INVALID, body
    beside = f"{path}?max_results=1"
    assert (await api.refused("GET", beside, {"filter": "name = 'x'"}))[:2] == INVALID
    assert (await api.refused("GET", beside, {"max_results": 2}))[:2] == INVALID
    for body in (b"{}", b"null", b'{"max_results": null}', b'{"max_results": 1}', b'{"max_results": 1.0}'):
        await api.ok("GET", beside, body)
    await api.ok("GET", path, b"{}")
