"""The tracking endpoints as bytes on the wire: what REST users see and what bad input gets."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Engine, event

from tests.registry.api_app import MLFLOW, Api, opened

RUNS = f"{MLFLOW}/runs"
EXPERIMENTS = f"{MLFLOW}/experiments"
LOGGED = f"{MLFLOW}/logged-models"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@pytest_asyncio.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """The whole application over an empty database, on each backend."""
    async with opened(tmp_path, database_url=database_url) as running:
        yield running


@pytest_asyncio.fixture
async def run_id(api: Api) -> str:
    """A run of the default experiment."""
    return (await api.ok("POST", f"{RUNS}/create", {"experiment_id": "0"}))["run"]["info"]["run_id"]


async def test_infinities_and_nan_are_texts_both_ways(api: Api, run_id: str) -> None:
    """The wire's JSON is valid: what JSON lacks travels as text, in runs and in histories."""
    body = {"run_id": run_id, "metrics": [{"key": "m", "value": "NaN", "timestamp": "1", "step": "2"}]}
    await api.ok("POST", f"{RUNS}/log-batch", body)
    await api.ok("POST", f"{RUNS}/log-metric", {"run_id": run_id, "key": "i", "value": "-Infinity", "timestamp": 0})
    run = (await api.ok("GET", f"{RUNS}/get", params={"run_id": run_id}))["run"]
    assert run["data"]["metrics"] == [
        {"key": "i", "value": "-Infinity", "timestamp": 0, "step": 0},
        {"key": "m", "value": "NaN", "timestamp": 1, "step": 2},
    ]
    history = await api.ok("GET", f"{MLFLOW}/metrics/get-history", params={"run_uuid": run_id, "metric_key": "m"})
    assert history == {"metrics": [{"key": "m", "value": "NaN", "timestamp": 1, "step": 2}]}


async def test_a_run_has_the_shape_that_clients_read(api: Api) -> None:
    """Both spellings of the id, numbers as numbers, ids as texts, no end time before the end."""
    created = await api.ok("POST", f"{RUNS}/create", {"experiment_id": "0", "user_id": "ann", "start_time": "5"})
    info = created["run"]["info"]
    assert info == {
        "run_uuid": info["run_id"],
        "run_id": info["run_id"],
        "experiment_id": "0",
        "run_name": info["run_name"],
        "user_id": "ann",
        "status": "RUNNING",
        "start_time": 5,
        "artifact_uri": f"mlflow-artifacts:/0/{info['run_id']}/artifacts",
        "lifecycle_stage": "active",
    }
    update = {"run_uuid": info["run_id"], "status": 3, "end_time": 9}
    updated = await api.ok("POST", f"{RUNS}/update", update)
    assert updated["run_info"] == info | {"status": "FINISHED", "end_time": 9}


async def test_searches_answer_get_and_post(api: Api) -> None:
    """Experiments are searched both ways, with the same answer and without a page size."""
    for name in ("a", "b"):
        await api.ok("POST", f"{EXPERIMENTS}/create", {"name": name})
    posted = await api.ok("POST", f"{EXPERIMENTS}/search", {"order_by": ["name"], "filter": "name != 'a'"})
    asked = {"order_by": "name", "filter": "name != 'a'", "view_type": "active_only"}
    assert await api.ok("GET", f"{EXPERIMENTS}/search", params=asked) == posted
    assert [found["name"] for found in posted["experiments"]] == ["Default", "b"]
    assert await api.ok("POST", f"{RUNS}/search", {}) == {"runs": []}


async def test_page_tokens_belong_to_their_query(api: Api, run_id: str) -> None:
    """A token of another query, of another run's history, or of nobody is refused."""
    for step in range(4):
        body = {"run_id": run_id, "key": "m", "value": step, "timestamp": step, "step": step}
        await api.ok("POST", f"{RUNS}/log-metric", body)
        await api.ok("POST", f"{RUNS}/create", {"experiment_id": "0"})
    search = {"experiment_ids": ["0"], "max_results": 2}
    token = (await api.ok("POST", f"{RUNS}/search", search))["next_page_token"]
    path, asked = f"{MLFLOW}/metrics/get-history", {"run_id": run_id, "metric_key": "m", "max_results": 2}
    history = (await api.ok("GET", path, params=asked))["next_page_token"]
    for wrong in ({"filter": "run_id != 'x'"}, {"run_view_type": "ALL"}, {"experiment_ids": ["0", "1"]}):
        refused = await api.refused("POST", f"{RUNS}/search", search | {"page_token": token} | wrong)
        assert refused[:2] == (400, "INVALID_PARAMETER_VALUE")
    for forged in (token, "bm9wZQ", "%%%", history[:-4]):
        refused = await api.refused("GET", path, params=asked | {"page_token": forged})
        assert refused[:2] == (400, "INVALID_PARAMETER_VALUE")
    refused = await api.refused("GET", path, params=asked | {"metric_key": "n", "page_token": history})
    assert refused[:2] == (400, "INVALID_PARAMETER_VALUE")
    assert len((await api.ok("GET", path, params=asked | {"page_token": history}))["metrics"]) == 2


LONG = "x" * 251
BAD_BODIES: list[tuple[str, dict[str, Any], str]] = [
    ("runs/create", {"experiment_id": "abc"}, "Invalid experiment ID 'abc'. Experiment ID must be a valid integer."),
    ("runs/create", {"experiment_id": "0", "start_time": "soon"}, "start_time"),
    ("runs/create", {"experiment_id": "0", "start_time": 2**63}, "start_time"),
    ("runs/create", {"experiment_id": "0", "tags": [{"value": "v"}]}, "key"),
    ("runs/create", {"experiment_id": "0", "tags": [{"key": "a$b"}]}, "Names may only contain alphanumerics"),
    ("runs/create", {"experiment_id": "0", "user_id": "u" * 257}, "'user_id' exceeds the maximum length of 256"),
    ("runs/create", {"experiment_id": "0", "run_name": "a\x00b"}, "NUL"),
    ("runs/update", {"status": "FINISHED"}, "Missing value for required parameter 'run_id'"),
    ("runs/update", {"run_id": "RUN", "status": "DONE"}, "status"),
    ("runs/update", {"run_id": "RUN", "status": 9}, "status"),
    ("runs/update", {"run_id": "RUN", "end_time": 1.5}, "end_time"),
    ("runs/log-metric", {"run_id": "RUN", "key": "m", "timestamp": 0}, "value"),
    ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": 1.0}, "timestamp"),
    ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": "high", "timestamp": 0}, "value"),
    ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": True, "timestamp": 0}, "value"),
    ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": 1, "timestamp": -1}, "Timestamp must be a nonnegative"),
    ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": 1, "timestamp": 0, "step": 2**63}, "step"),
    (
        "runs/log-metric",
        {"run_id": "RUN", "key": LONG, "value": 1, "timestamp": 0},
        "'Metric name' exceeds the maximum",
    ),
    (
        "runs/log-metric",
        {"run_id": "RUN", "key": "../m", "value": 1, "timestamp": 0},
        "must not resolve to other names",
    ),
    (
        "runs/log-parameter",
        {"run_id": "RUN", "key": LONG, "value": ""},
        "'Param key' exceeds the maximum length of 250",
    ),
    ("runs/log-parameter", {"run_id": "RUN", "key": "p", "value": 5}, "value"),
    ("runs/log-parameter", {"run_id": "RUN", "key": ""}, "Missing value for required parameter 'key'"),
    ("runs/log-batch", {"run_id": "RUN", "params": [{"key": "a"}, {"key": "a"}]}, "Duplicate parameter keys"),
    ("runs/log-batch", {"run_id": "RUN", "metrics": [{"key": "a", "value": 1}]}, "metrics[0].timestamp"),
    ("runs/log-batch", {"run_id": "RUN", "tags": {"key": "a"}}, "tags"),
    ("runs/log-batch", {"run_id": "RUN", "tags": [{"key": "t$", "value": ""}]}, "tags[0].key"),
    ("runs/log-inputs", {"run_id": "RUN", "datasets": [{"tags": []}]}, "dataset"),
    ("runs/log-inputs", {"run_id": "RUN", "models": [{"model_id": "m" * 35}]}, "model_id"),
    (
        "runs/log-inputs",
        {
            "run_id": "RUN",
            "datasets": [{"dataset": {"name": "n", "digest": "d" * 37, "source_type": "s", "source": "s"}}],
        },
        "'digest' exceeds the maximum length of 36",
    ),
    ("runs/outputs", {"run_id": "RUN", "models": [{"step": 1}]}, "model_id"),
    ("runs/search", {"experiment_ids": ["0"], "max_results": 0}, "max_results"),
    ("runs/search", {"experiment_ids": ["0"], "max_results": 50_001}, "max_results"),
    ("runs/search", {"experiment_ids": ["x"]}, "Invalid experiment ID 'x'"),
    ("runs/search", {"experiment_ids": ["0"], "order_by": ["metrics.a", "metrics.a"]}, "duplicate"),
    ("runs/search", {"experiment_ids": ["0"], "run_view_type": "SOME"}, "run_view_type"),
    ("runs/search", {"experiment_ids": ["0"], "page_token": "x"}, "page token"),
    ("experiments/create", {}, "Missing value for required parameter 'name'"),
    ("experiments/create", {"name": ""}, "Missing value for required parameter 'name'"),
    ("experiments/create", {"name": "n" * 501}, "'name' exceeds the maximum length of 500"),
    ("experiments/create", {"name": "n", "tags": [{"key": "k", "value": "v" * 20_001}]}, "'value' exceeds"),
    ("experiments/create", {"name": "n", "artifact_location": "runs:/x"}, "Artifact location cannot be a runs:/ URI"),
    ("experiments/create", {"name": "n", "artifact_location": "s3://b/../c"}, "artifact_location"),
    ("experiments/create", {"name": "n", "artifact_location": "s3://b/%252e%252e/c"}, "artifact_location"),
    ("experiments/create", {"name": "n", "artifact_location": "s3://b/c#f"}, "can't include fragments or params"),
    ("experiments/create", {"name": "n", "artifact_location": "s3://" + "b" * 2048}, "Invalid artifact path length"),
    ("experiments/update", {"experiment_id": "0"}, "Missing value for required parameter 'new_name'"),
    ("experiments/search", {"max_results": -1}, "max_results"),
    ("experiments/search", {"view_type": 7}, "view_type"),
    ("experiments/search", {"filter": "attributes.name = 'x'"}, "Invalid entity type"),
    ("logged-models", {"experiment_id": "0", "name": "a/b"}, "Invalid model name"),
    ("logged-models", {"name": "a"}, "Missing value for required parameter 'experiment_id'"),
    ("logged-models", {"experiment_id": "0", "params": [{"key": "p"}, {"key": "p"}]}, "Duplicate parameter keys"),
    ("logged-models/search", {}, "Missing value for required parameter 'experiment_ids'"),
    ("logged-models/search", {"experiment_ids": ["0"], "filter": "foo = 'x'"}, "foo"),
    ("logged-models/search", {"experiment_ids": ["0"], "page_token": "x"}, "page token"),
]


async def test_bad_bodies_are_the_callers_mistake(api: Api, run_id: str) -> None:
    """Every wrong value is a 400 that names it; nothing is stored of any."""
    for path, body, said in BAD_BODIES:
        sent = json.loads(json.dumps(body).replace('"RUN"', f'"{run_id}"'))
        status, code, message = await api.refused("POST", f"{MLFLOW}/{path}", sent)
        assert (status, code) == (400, "INVALID_PARAMETER_VALUE"), (path, body, message)
        assert said in message, (path, body, message)
    run = (await api.ok("GET", f"{RUNS}/get", params={"run_id": run_id}))["run"]
    assert (run["data"]["metrics"], run["data"]["params"], run["info"]["status"]) == ([], [], "RUNNING")
    assert len((await api.ok("POST", f"{RUNS}/search", {"experiment_ids": ["0"]}))["runs"]) == 1


async def test_what_is_absent_is_a_404(api: Api) -> None:
    """Runs, experiments and logged models that are not there are named."""
    absent = [
        ("GET", f"{RUNS}/get?run_id=nope", None, "Run with id=nope not found"),
        ("GET", f"{MLFLOW}/metrics/get-history?run_id=nope&metric_key=m", None, "Run with id=nope not found"),
        ("POST", f"{RUNS}/delete", {"run_id": "nope"}, "Run with id=nope not found"),
        ("GET", f"{EXPERIMENTS}/get?experiment_id=99", None, "No Experiment with id=99 exists"),
        ("GET", f"{EXPERIMENTS}/get-by-name?experiment_name=n", None, "Could not find experiment with name 'n'"),
        ("POST", f"{RUNS}/create", {"experiment_id": "99"}, "No Experiment with id=99 exists"),
        ("GET", f"{LOGGED}/m-1", None, "Logged model with ID 'm-1' not found."),
        ("PATCH", f"{LOGGED}/m-1", {"model_id": "m-1", "status": 2}, "Logged model with ID 'm-1' not found."),
        ("DELETE", f"{LOGGED}/m-1", {"model_id": "m-1"}, "Logged model with ID 'm-1' not found."),
        ("PATCH", f"{LOGGED}/m-1/tags", {"tags": [{"key": "k", "value": "v"}]}, "not found."),
        ("POST", f"{LOGGED}/m-1/params", {"params": [{"key": "k", "value": "v"}]}, "not found."),
        ("DELETE", f"{LOGGED}/m-1/tags/k", None, "not found."),
    ]
    for method, path, body, said in absent:
        status, code, message = await api.refused(method, path, body)
        assert (status, code) == (404, "RESOURCE_DOES_NOT_EXIST"), (method, path, message)
        assert said in message


async def test_files_of_runs_and_models_are_listed(api: Api, run_id: str) -> None:
    """Paths are relative to the run or model; unsafe ones are refused, and so are stores that are not ours."""
    model = (await api.ok("POST", LOGGED, {"experiment_id": "0"}))["model"]["info"]
    run = (await api.ok("GET", f"{RUNS}/get", params={"run_id": run_id}))["run"]["info"]
    for root in (run["artifact_uri"], model["artifact_uri"]):
        path = f"{PROXY}/{root.removeprefix('mlflow-artifacts:/')}/a dir/file.txt"
        assert (await api.ask("PUT", path, b"five5")).status_code == 200
    expected = [{"path": "a dir/file.txt", "is_dir": False, "file_size": 5}]
    of_run, of_model = f"{MLFLOW}/artifacts/list", f"{LOGGED}/{model['model_id']}/artifacts/directories"
    found = await api.ok("GET", of_run, params={"run_id": run_id, "path": "a dir"})
    assert found == {"root_uri": run["artifact_uri"], "files": expected}
    found = await api.ok("GET", of_run, params={"run_id": run_id})
    assert found["files"] == [{"path": "a dir", "is_dir": True}]
    found = await api.ok("GET", of_model, params={"artifact_directory_path": "a dir"})
    assert found == {"root_uri": model["artifact_uri"], "files": expected}
    assert await api.ok("GET", of_run, params={"run_id": run_id, "path": "none"}) == {"root_uri": run["artifact_uri"]}
    for unsafe in ("../..", "%2e%2e/x", "/etc", "a\\..\\b"):
        refused = await api.refused("GET", of_run, params={"run_id": run_id, "path": unsafe})
        assert refused[:2] == (400, "INVALID_PARAMETER_VALUE")
        refused = await api.refused("GET", of_model, params={"artifact_directory_path": unsafe})
        assert refused[:2] == (400, "INVALID_PARAMETER_VALUE")
    elsewhere = {"name": "elsewhere", "artifact_location": "s3://bucket/a"}
    experiment_id = (await api.ok("POST", f"{EXPERIMENTS}/create", elsewhere))["experiment_id"]
    other = (await api.ok("POST", f"{RUNS}/create", {"experiment_id": experiment_id}))["run"]["info"]["run_id"]
    refused = await api.refused("GET", of_run, params={"run_id": other})
    assert refused[:2] == (400, "INVALID_PARAMETER_VALUE")


async def test_a_tag_key_with_slashes_can_be_deleted(api: Api) -> None:
    """The key of a logged model's tag is the rest of the path, whatever it holds."""
    model = (await api.ok("POST", LOGGED, {"experiment_id": "0", "tags": [{"key": "a/b c", "value": "v"}]}))["model"]
    path = f"{LOGGED}/{model['info']['model_id']}"
    assert model["info"]["tags"] == [{"key": "a/b c", "value": "v"}]
    await api.ok("DELETE", f"{path}/tags/a%2Fb%20c")
    assert (await api.ok("GET", path))["model"]["info"]["tags"] == []


@pytest.mark.parametrize("page", [1, 12])
async def test_a_page_costs_the_same_statements_whatever_its_size(
    api: Api, page: int, request: pytest.FixtureRequest
) -> None:
    """Runs, experiments and logged models are read with one statement per kind of data."""
    for index in range(page):
        run = (await api.ok("POST", f"{RUNS}/create", {"experiment_id": "0"}))["run"]["info"]["run_id"]
        model = await api.ok("POST", LOGGED, {"experiment_id": "0", "params": [{"key": "p", "value": "v"}]})
        model_id = model["model"]["info"]["model_id"]
        metric = {"key": "m", "value": index, "timestamp": 0, "model_id": model_id}
        await api.ok("POST", f"{RUNS}/log-batch", {"run_id": run, "metrics": [metric]})
        dataset = {"name": "d", "digest": str(index), "source_type": "s", "source": "s"}
        inputs = {"run_id": run, "datasets": [{"dataset": dataset}], "models": [{"model_id": model_id}]}
        await api.ok("POST", f"{RUNS}/log-inputs", inputs)
        await api.ok("POST", f"{EXPERIMENTS}/create", {"name": f"e{index}", "tags": [{"key": "k", "value": "v"}]})
    statements: list[str] = []
    event.listen(Engine, "before_cursor_execute", note := lambda *arguments: statements.append(arguments[2]))
    request.addfinalizer(lambda: event.remove(Engine, "before_cursor_execute", note))

    async def count(path: str, body: dict[str, Any], kind: str) -> int:
        statements.clear()
        found = await api.ok("POST", f"{MLFLOW}/{path}", body)
        assert len(found[kind]) >= page
        return len(statements)

    assert await count("runs/search", {"experiment_ids": ["0"]}, "runs") <= 7
    assert await count("experiments/search", {}, "experiments") <= 3
    assert await count("logged-models/search", {"experiment_ids": ["0"]}, "models") <= 6
