"""What clients give and upstream takes: names, places, orders and repeated calls that are no mistakes."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.registry.api_app import MLFLOW, MODELS, UNITY, VERSIONS, Api

in_one_loop = pytest.mark.asyncio(loop_scope="module")

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
INVALID = (400, "INVALID_PARAMETER_VALUE")


async def _run(api: Api, experiment_id: str = "0") -> str:
    run: str = (await api.ok("POST", f"{MLFLOW}/runs/create", {"experiment_id": experiment_id}))["run"]["info"][
        "run_id"
    ]
    return run


@in_one_loop
async def test_a_version_has_one_shape_everywhere(api: Api) -> None:
    """Versions inside a registered model are those that their own calls show, aliases and all."""
    await api.model("shape", versions=1)
    await api.alias("shape", "live", 1)
    shown = (await api.ok("GET", f"{VERSIONS}/get?name=shape&version=1"))["model_version"]
    assert shown["aliases"] == ["live"]
    assert (await api.ok("GET", f"{MODELS}/get?name=shape"))["registered_model"]["latest_versions"] == [shown]
    found = await api.ok("GET", f"{MODELS}/search", params={"filter": "name = 'shape'"})
    assert found["registered_models"][0]["latest_versions"] == [shown]
    assert (await api.ok("GET", f"{MODELS}/get-latest-versions?name=shape"))["model_versions"] == [shown]


@in_one_loop
async def test_a_rename_to_the_same_name_changes_nothing(api: Api) -> None:
    """A rename that is repeated ends in the same state: 200, no event, and the time of the last update stays."""
    await api.model("before")
    await api.ok("POST", f"{MODELS}/rename", {"name": "before", "new_name": "after"})
    once = await api.ok("GET", f"{MODELS}/get?name=after")
    again = await api.ok("POST", f"{MODELS}/rename", {"name": "after", "new_name": "workspace.default.after"})
    assert again == once
    await api.model("taken")
    assert (await api.refused("POST", f"{MODELS}/rename", {"name": "after", "new_name": "taken"}))[1] == (
        "RESOURCE_ALREADY_EXISTS"
    )


@in_one_loop
async def test_files_may_have_names_that_only_look_dangerous(api: Api) -> None:
    """A path is judged by its parts: names that begin with dots, a backslash or a tab in one are names."""
    run = await _run(api)
    names = ["..hidden.txt", "...", "..data", "sub/..cache/x", "back\\slash", "a\ttab", " two  blanks "]
    for name in names:
        url = f"{PROXY}/0/{run}/artifacts/{quote(name)}"
        assert (await api.ask("PUT", url, name.encode())).status_code == 200, name
        assert (await api.ask("GET", url)).content == name.encode()
    listed = await api.ok("GET", f"{MLFLOW}/artifacts/list?run_id={run}")
    assert {file["path"] for file in listed["files"]} == {*names, "sub"} - {"sub/..cache/x"}
    for bad in ("%2e%2e/x", "a/%2e%2e", "..%5Cx", "a%5C..%5C..%5Cx", "a%23b", "%00"):
        assert (await api.ask("PUT", f"{PROXY}/0/{run}/artifacts/{bad}", b"x")).status_code in (400, 404), bad


@pytest.mark.parametrize(
    "source",
    [
        *(
            "s3://bucket/a//b",
            "s3://bucket/a//b/",
            "s3://bucket/step#3",
            "gs://bucket/x y",
            "s3://bucket/a?versionId=1",
        ),
        *("abfss://fs@account.dfs.core.windows.net/m", "wasbs://c@account.blob.core.windows.net/m", "hdfs://nn:8020/m"),
        *("dbfs:/models/m", "azureml://locations/x/workspaces/y/models/m/versions/1", "hf://owner/name", "r2://b/..x"),
    ],
)
@in_one_loop
async def test_places_in_other_stores_are_recorded_as_they_came(api: Api, source: str) -> None:
    """What another store's key may look like is that store's business."""
    await api.ask("POST", f"{MODELS}/create", {"name": "elsewhere"})
    made = await api.ok("POST", f"{VERSIONS}/create", {"name": "elsewhere", "source": source})
    assert made["model_version"]["source"] == source


@pytest.mark.parametrize(
    "source",
    [
        *(
            "/etc",
            "file:///etc",
            "FILE:///etc",
            "C://windows",
            "mlflow-artifacts:/../x",
            "s3://b/a/../c",
            "s3://b/%2e%2e/c",
        ),
        *("hf://owner/..%5cx", "javascript://x", "data://x", "prompt:/", "prompt://x", "s3://", "nonsense", "x:y"),
    ],
)
@in_one_loop
async def test_what_names_no_place_elsewhere_is_refused(api: Api, source: str) -> None:
    """The server's own disk, ways out in any encoding, and what is no place at all are no sources."""
    await api.ask("POST", f"{MODELS}/create", {"name": "elsewhere"})
    assert (await api.refused("POST", f"{VERSIONS}/create", {"name": "elsewhere", "source": source}))[:2] == INVALID


@in_one_loop
async def test_a_dataset_needs_a_name_and_a_digest_only(api: Api) -> None:
    """Datasets without a source are kept with the others of their batch, in the order in which they were logged."""
    run = await _run(api)
    given: list[dict[str, Any]] = [
        {"name": "rows", "digest": "9", "source_type": "code", "source": "x"},
        {"name": "rows", "digest": "5"},
        {"name": "rows", "digest": "7", "source_type": "code", "source": "", "profile": ""},
    ]
    for batch in (given[:2], given[1:], [{"name": "rows", "digest": "1", "source": "y"}]):
        body = {"run_id": run, "datasets": [{"dataset": one} for one in batch]}
        await api.ok("POST", f"{MLFLOW}/runs/log-inputs", body)
    for answer in (
        (await api.ok("GET", f"{MLFLOW}/runs/get?run_id={run}"))["run"],
        (await api.ok("POST", f"{MLFLOW}/runs/search", {"experiment_ids": ["0"], "filter": f"run_id = '{run}'"}))[
            "runs"
        ][0],
    ):
        datasets = [one["dataset"] for one in answer["inputs"]["dataset_inputs"]]
        assert [one["digest"] for one in datasets] == ["9", "5", "7", "1"]
        assert datasets[1]["source"] == datasets[1]["source_type"] == ""


@in_one_loop
async def test_what_machines_read_is_never_cut(api: Api) -> None:
    """Tags in which clients keep JSON stay whole up to a million characters, over that they are refused."""
    run = await _run(api)
    for key in ("mlflow.loggedArtifacts", "mlflow.linkedPrompts", "mlflow.log-model.history"):
        value = json.dumps([{"path": f"epoch_{n}.json", "type": "table"} for n in range(500)])
        assert len(value) > 8000
        await api.ok("POST", f"{MLFLOW}/runs/set-tag", {"run_id": run, "key": key, "value": value})
        batch = {"run_id": run, "tags": [{"key": key, "value": value}, {"key": "note", "value": "x" * 9000}]}
        await api.ok("POST", f"{MLFLOW}/runs/log-batch", batch)
        tags = (await api.ok("GET", f"{MLFLOW}/runs/get?run_id={run}"))["run"]["data"]["tags"]
        kept = {tag["key"]: tag["value"] for tag in tags}
        assert kept[key] == value and len(kept["note"]) == 8000
        long = {"run_id": run, "key": key, "value": "x" * 1_000_001}
        assert (await api.refused("POST", f"{MLFLOW}/runs/set-tag", long))[:2] == INVALID


@pytest.mark.parametrize(("given", "kept"), [("rel", "rel"), ("./a/b/", "a/b"), ("team a", "team a")])
@in_one_loop
async def test_a_relative_location_is_below_the_registrys_own(api: Api, given: str, kept: str) -> None:
    """A path that each client would read from where it stands lies in the registry's store for all of them."""
    body = {"name": f"at {given}", "artifact_location": given}
    made = (await api.ok("POST", f"{MLFLOW}/experiments/create", body))["experiment_id"]
    shown = (await api.ok("GET", f"{MLFLOW}/experiments/get?experiment_id={made}"))["experiment"]
    assert shown["artifact_location"] == f"mlflow-artifacts:/{kept}"


@pytest.mark.parametrize("host", ["http://127.0.0.1:5000", "https://registry.example:8443/prefix"])
@in_one_loop
async def test_the_own_proxy_is_not_named_by_its_address(api: Api, host: str) -> None:
    """A location that is the artifact proxy by HTTP is refused, with the name to use instead."""
    body = {"name": "by http", "artifact_location": f"{host}/api/2.0/mlflow-artifacts/artifacts/x/y"}
    status, code, message = await api.refused("POST", f"{MLFLOW}/experiments/create", body)
    assert (status, code) == INVALID and "'mlflow-artifacts:/x/y'" in message


@in_one_loop
async def test_properties_of_catalogs_and_schemas_are_kept(api: Api) -> None:
    """They come back as they were given, are replaced as a whole, and are in the events."""
    made = await api.ok("POST", f"{UNITY}/catalogs", {"name": "props", "properties": {"a": "b", "ü": ""}})
    assert made["properties"] == {"a": "b", "ü": ""}
    schema = {"name": "s", "catalog_name": "props", "properties": {"k": "v"}}
    assert (await api.ok("POST", f"{UNITY}/schemas", schema))["properties"] == {"k": "v"}
    for path, first in ((f"{UNITY}/catalogs/props", made["properties"]), (f"{UNITY}/schemas/props.s", {"k": "v"})):
        assert (await api.ok("GET", path))["properties"] == first
        assert (await api.ok("PATCH", path, {"comment": "c"}))["properties"] == first
        assert (await api.ok("PATCH", path, {"properties": {"n": "1"}}))["properties"] == {"n": "1"}
        assert (await api.ok("PATCH", path, {"properties": {}}))["properties"] == {}
        status, _, message = await api.refused("PATCH", path, {"properties": {"k": "v" * 10_001}})
        assert status == 400 and "properties.k" in message
    told = (await api.ok("GET", "/api/tiltyard/v1/events", params={"name": "props", "max_results": 100}))["events"]
    assert {"a": "b", "ü": ""} in [event["after"].get("properties") for event in told if event["after"]]
    assert {"n": "1"} in [event["after"].get("properties") for event in told if event["after"]]
    listed = (await api.ok("GET", f"{UNITY}/catalogs"))["catalogs"]
    assert {one["name"]: one["properties"] for one in listed}["main"] == {}
