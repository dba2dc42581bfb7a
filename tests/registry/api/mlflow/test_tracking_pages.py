"""What upstream's web pages and old clients ask: sampled histories, files by run, datasets, model notes."""

import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from tests.registry.api_app import MLFLOW, MODELS, VERSIONS, Api, opened
from tests.registry.store_house import House
from tiltyard.wire.mlflow.runs import MetricIn
from tiltyard_registry.store.runs import chart_histories, log_batch
from tiltyard_registry.tables.runs import runs

AJAX = "/ajax-api/2.0/mlflow"
RUNS = f"{MLFLOW}/runs"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@pytest_asyncio.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """The whole application over an empty database, on each backend."""
    async with opened(tmp_path, database_url=database_url) as running:
        yield running


async def new_run(api: Api) -> dict[str, Any]:
    """The info of a new run."""
    info: dict[str, Any] = (await api.ok("POST", f"{RUNS}/create", {"experiment_id": "0"}))["run"]["info"]
    return info


async def log(api: Api, run_id: str, points: list[tuple[int, float | str]]) -> None:
    """Logs points (step, value) of the metric m."""
    metrics = [{"key": "m", "value": value, "timestamp": step, "step": step} for step, value in points]
    for start in range(0, len(metrics), 1000):
        await api.ok("POST", f"{RUNS}/log-batch", {"run_id": run_id, "metrics": metrics[start : start + 1000]})


async def test_histories_of_several_runs_come_in_one_answer(api: Api) -> None:
    """Flat points with their run, by run and time; a run nobody knows has none; bad requests are refused."""
    first, second = sorted([(await new_run(api))["run_id"] for _ in range(2)])
    await log(api, second, [(0, 1.0), (1, "NaN")])
    await log(api, first, [(5, "Infinity")])
    path = f"{AJAX}/metrics/get-history-bulk"
    asked = {"run_id": [second, first, "nobody"], "metric_key": "m"}
    expected = [
        {"key": "m", "value": "Infinity", "timestamp": 5, "step": 5, "run_id": first},
        {"key": "m", "value": 1.0, "timestamp": 0, "step": 0, "run_id": second},
        {"key": "m", "value": "NaN", "timestamp": 1, "step": 1, "run_id": second},
    ]
    assert await api.ok("GET", path, params=asked) == {"metrics": expected}
    assert await api.ok("GET", path, params=asked | {"max_results": 2}) == {"metrics": expected[:2]}
    wrong: dict[str, Any]
    for wrong in ({"run_id": []}, {"run_id": ["x"] * 101}, {"max_results": 0}):
        refused = await api.refused("GET", path, params=asked | wrong)
        assert refused[:2] == (400, "INVALID_PARAMETER_VALUE")


async def test_a_sampled_history_keeps_the_ends_and_an_interval(api: Api) -> None:
    """Evenly spaced steps, the first and last of each run among them, cut to the interval that was asked for."""
    long, short = [(await new_run(api))["run_id"] for _ in range(2)]
    await log(api, long, [(step, step / 2) for step in range(1000)])
    await log(api, short, [(3, 1.0), (333, 2.0)])
    path = f"{MLFLOW}/metrics/get-history-bulk-interval"
    asked = {"run_ids": [long, short], "metric_key": "m", "max_results": 10}
    found = (await api.ok("GET", path, params=asked))["metrics"]
    steps = [point["step"] for point in found if point["run_id"] == long]
    assert steps == sorted({*range(0, 1000, 100), 3, 333, 999})
    assert [point["step"] for point in found if point["run_id"] == short] == [3, 333]
    assert [point["run_id"] for point in found] == [long] * len(steps) + [short] * 2
    inside = await api.ok("GET", path, params=asked | {"start_step": 100, "end_step": 109})
    assert [point["step"] for point in inside["metrics"]] == list(range(100, 110))
    assert await api.ok("GET", path, params=asked | {"metric_key": "other"}) == {"metrics": []}
    wrong: dict[str, Any]
    for wrong in (
        {"start_step": 1},
        {"start_step": 2, "end_step": 1},
        {"start_step": 0, "end_step": 2**63},
        {"max_results": 0},
        {"max_results": 2501},
        {"run_ids": []},
        {"run_ids": ["x"] * 101},
    ):
        assert (await api.refused("GET", path, params=asked | wrong))[:2] == (400, "INVALID_PARAMETER_VALUE")


@settings(
    max_examples=12,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.sets(st.integers(-60, 60), min_size=1), st.integers(1, 30))
async def test_samples_are_spaced_evenly(house: House, steps: set[int], count: int) -> None:
    """What the database picks is what the arithmetic of even spacing picks."""
    run_id, _ = await house.run()
    await house.do(log_batch.log_batch, run_id, metrics=[MetricIn("m", 1.0, 0, step) for step in steps])
    rows = await house.see(chart_histories.get_sampled_histories, [run_id], "m", max_results=count)
    ordered = sorted(steps)
    spaced = {ordered[math.floor(index * len(ordered) / count)] for index in range(min(count, len(ordered)))}
    expected = set(ordered) if len(ordered) <= count else spaced | {ordered[-1]}
    assert [row["step"] for row in rows] == sorted(expected)


async def test_points_of_one_step_are_thinned_out_too(house: House) -> None:
    """A run that never says its step has at most 2,500 points and one, the last among them."""
    run_id, _ = await house.run()
    for start in range(0, 3000, 1000):
        points = [MetricIn("m", float(time), time) for time in range(start, start + 1000)]
        await house.do(log_batch.log_batch, run_id, metrics=points)
    rows = await house.see(chart_histories.get_sampled_histories, [run_id], "m")
    assert len(rows) in (2500, 2501)
    assert (rows[0]["timestamp"], rows[-1]["timestamp"]) == (0, 2999)


async def test_old_clients_note_the_models_of_a_run(api: Api) -> None:
    """Each logged model is appended once to the run's tag; what is no model is refused."""
    run_id = (await new_run(api))["run_id"]
    model = {
        "artifact_path": "model",
        "flavors": {"python_function": {"loader_module": "x", "config": {"long": 1}}},
        "utc_time_created": "2026-01-01",
        "run_id": run_id,
        "signature": {},
    }
    for path in ("model", "model", "other"):
        body = {"run_id": run_id, "model_json": json.dumps(model | {"artifact_path": path})}
        await api.ok("POST", f"{RUNS}/log-model", body)
    run = (await api.ok("GET", f"{RUNS}/get", params={"run_id": run_id}))["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    kept = {key: model[key] for key in ("flavors", "utc_time_created", "run_id")}
    kept["flavors"] = {"python_function": {"loader_module": "x"}}
    history = json.loads(tags["mlflow.log-model.history"])
    assert history == [kept | {"artifact_path": "model"}, kept | {"artifact_path": "other"}]
    for wrong in ("{", "[]", "{}", json.dumps(model | {"flavors": 3}), "[" * 5000):
        refused = await api.refused("POST", f"{RUNS}/log-model", {"run_id": run_id, "model_json": wrong})
        assert refused[:2] == (400, "INVALID_PARAMETER_VALUE")


async def test_datasets_are_summed_up_by_context(api: Api) -> None:
    """A dataset shows once per context in the experiments asked for."""
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "{}"}
    tagged = [{"key": "mlflow.data.context", "value": "train"}]
    for tags in (tagged, tagged, []):
        run_id = (await new_run(api))["run_id"]
        body = {"run_id": run_id, "datasets": [{"dataset": dataset, "tags": tags}]}
        await api.ok("POST", f"{RUNS}/log-inputs", body)
    path = f"{AJAX}/experiments/search-datasets"
    found = (await api.ok("POST", path, {"experiment_ids": ["0"]}))["dataset_summaries"]
    summary = {"experiment_id": "0", "name": "d", "digest": "1"}
    assert sorted(found, key=len) == [summary, summary | {"context": "train"}]
    assert await api.ok("POST", path, {"experiment_ids": ["7"]}) == {"dataset_summaries": []}
    for wrong in ([], ["0"] * 21, ["x"]):
        assert (await api.refused("POST", path, {"experiment_ids": wrong}))[0] == 400


async def test_files_are_read_by_what_they_belong_to(api: Api) -> None:
    """A file of a run, of a logged model and of a version, as an inert download; nothing outside of it."""
    run = await new_run(api)
    base = run["artifact_uri"].removeprefix("mlflow-artifacts:")
    await api.ask("PUT", f"{PROXY}{base}/dir/a%20b.html", b"<b>hello</b>")
    asked = {"run_id": run["run_id"], "path": "dir/a b.html"}
    answer = await api.ask("GET", "/get-artifact", params=asked)
    assert (answer.status_code, answer.content) == (200, b"<b>hello</b>")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    part = await api.ask("GET", "/get-artifact", params=asked, headers={"range": "bytes=3-7"})
    assert (part.status_code, part.content) == (206, b"hello")

    model = (await api.ok("POST", f"{MLFLOW}/logged-models", {"experiment_id": "0", "name": "n"}))["model"]["info"]
    base = model["artifact_uri"].removeprefix("mlflow-artifacts:")
    await api.ask("PUT", f"{PROXY}{base}/MLmodel", b"flavors: {}\n")
    files = f"{AJAX}/logged-models/{model['model_id']}/artifacts/files"
    assert (await api.ask("GET", files, params={"artifact_file_path": "MLmodel"})).content == b"flavors: {}\n"
    await api.ok("POST", f"{MODELS}/create", {"name": "m"})
    body = {"name": "m", "source": f"models:/{model['model_id']}", "model_id": model["model_id"]}
    await api.ok("POST", f"{VERSIONS}/create", body)
    version = {"name": "m", "version": "1", "path": "MLmodel"}
    answer = await api.ask("GET", "/model-versions/get-artifact", params=version)
    assert (answer.status_code, answer.content) == (200, b"flavors: {}\n")

    for path, wrong, status in (
        ("/get-artifact", asked | {"path": "../secret"}, 400),
        ("/get-artifact", asked | {"path": "%2e%2e/secret"}, 400),
        ("/get-artifact", asked | {"path": ""}, 400),
        ("/get-artifact", asked | {"path": "dir"}, 400),
        ("/get-artifact", asked | {"path": "absent"}, 404),
        ("/get-artifact", asked | {"run_id": "nobody"}, 404),
        ("/model-versions/get-artifact", version | {"version": "9"}, 404),
        ("/model-versions/get-artifact", version | {"path": "/etc/passwd"}, 400),
        (files, {}, 400),
    ):
        assert (await api.refused("GET", path, params=wrong))[0] == status
    assert (await api.refused("POST", "/get-artifact", {}, params=asked))[0] in (404, 405)


async def test_a_page_uploads_a_small_file(api: Api) -> None:
    """Up to 10 MiB go into an active run; more, nothing, or a place outside are refused and leave nothing."""
    run = await new_run(api)
    path, asked = f"{AJAX}/upload-artifact", {"run_uuid": run["run_id"], "path": "notes/a.txt"}
    answer = await api.ask("POST", path, b"hello", params=asked)
    assert answer.status_code == 200, answer.text
    read = await api.ask("GET", "/get-artifact", params={"run_id": run["run_id"], "path": "notes/a.txt"})
    assert read.content == b"hello"
    assert (await api.refused("POST", path, b"x" * (10 * 1024 * 1024 + 1), params=asked))[0] == 400
    assert (await api.refused("POST", path, b"", params=asked))[0] == 400
    assert (await api.refused("POST", path, b"x", params=asked | {"path": "../x"}))[0] == 400
    assert (await api.refused("POST", path, b"x", params={"path": "a"}))[0] == 400
    await api.ok("POST", f"{RUNS}/delete", {"run_id": run["run_id"]})
    assert (await api.refused("POST", path, b"x", params=asked))[0] == 400


@pytest.mark.parametrize("path", ["upload", "proxy"])
async def test_a_cut_off_upload_leaves_nothing(api: Api, path: str) -> None:
    """A connection that breaks within the body stores no file and keeps the one that was there."""
    run = await new_run(api)
    base = f"{PROXY}{run['artifact_uri'].removeprefix('mlflow-artifacts:')}"
    await api.ask("PUT", f"{base}/there.txt", b"whole")
    for name in ("there.txt", "absent.txt"):
        messages: list[Any] = [
            {"type": "http.request", "body": b"half of ", "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Any] = []

        async def receive(messages: list[Any] = messages) -> Any:
            return messages.pop(0)

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        to = {"upload": ("POST", f"{AJAX}/upload-artifact"), "proxy": ("PUT", f"{base}/{name}")}[path]
        scope: Any = {
            "type": "http",
            "method": to[0],
            "path": to[1],
            "raw_path": to[1].encode(),
            "query_string": f"run_uuid={run['run_id']}&path={name}".encode(),
            "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"1000")],
            "state": {},
        }
        await api.app(scope, receive, send)
        assert not sent and not messages
    assert (await api.ask("GET", f"{base}/there.txt")).content == b"whole"
    assert (await api.ask("GET", f"{base}/absent.txt")).status_code == 404


@pytest.mark.parametrize("address", ["http://old.example:5000/api", "https://old.example/mlflow/ajax-api"])
async def test_files_of_a_run_whose_place_is_the_proxy_by_its_address_are_found(api: Api, address: str) -> None:
    """Such places are refused when an experiment is made; those that are stored lead below the artifact root."""
    info = await new_run(api)
    place = f"{address}/2.0/mlflow-artifacts/artifacts"
    refused = await api.refused(
        "POST", f"{MLFLOW}/experiments/create", {"name": "x", "artifact_location": f"{place}/x"}
    )
    assert refused[:2] == (400, "INVALID_PARAMETER_VALUE") and "mlflow-artifacts:/x" in refused[2]
    below = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
    assert (await api.ask("PUT", f"{PROXY}/{below}/dir/f.txt", content=b"kept")).status_code == 200
    async with api.app.state.database.write() as session:
        moved = update(runs).where(runs.c.run_id == info["run_id"]).values(artifact_uri=f"{place}/{below}")
        await session.execute(moved)
    asked = {"run_id": info["run_id"], "path": "dir"}
    listed = await api.ok("GET", f"{MLFLOW}/artifacts/list", params=asked)
    assert [file["path"] for file in listed["files"]] == ["dir/f.txt"]
    answer = await api.ask("GET", "/get-artifact", params=asked | {"path": "dir/f.txt"})
    assert (answer.status_code, answer.content) == (200, b"kept")
