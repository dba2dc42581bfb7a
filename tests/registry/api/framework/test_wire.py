"""The shapes of answers, to the byte where clients could notice."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.registry.api_app import JSON, MLFLOW, MODELS, OWN, UNITY, VERSIONS, Api, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMES = ("creation_timestamp", "last_updated_timestamp", "created_at", "updated_at", "time")


def timeless(value: Any) -> Any:
    """`value` with its times, which must be milliseconds of this century, as 0 and its random ids as 'id'."""
    if isinstance(value, list):
        return [timeless(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, item in value.items():
        if name in TIMES:
            assert isinstance(item, int) and 946_684_800_000 < item < 4_102_444_800_000
        found[name] = 0 if name in TIMES else timeless(item)
    return found


async def test_registered_models_have_upstreams_shape(api: Api) -> None:
    """A model shows name, times, tags, aliases and the highest version of each stage; unset fields are left out."""
    body = {"name": "main.ml.iris", "tags": [{"key": "team", "value": "a"}]}
    created = await api.ok("POST", f"{MODELS}/create", body)
    shown = {
        "name": "main.ml.iris",
        "creation_timestamp": 0,
        "last_updated_timestamp": 0,
        "tags": [{"key": "team", "value": "a"}],
        "aliases": [],
        "latest_versions": [],
    }
    assert timeless(created) == {"registered_model": shown}
    await api.ok("POST", f"{VERSIONS}/create", {"name": "main.ml.iris", "source": "s3://elsewhere/1"})
    await api.alias("main.ml.iris", "champion", 1)
    got = await api.ok("GET", f"{MODELS}/get", params={"name": "main.ml.iris"})
    version = {
        "name": "main.ml.iris",
        "version": "1",
        "creation_timestamp": 0,
        "last_updated_timestamp": 0,
        "current_stage": "None",
        "source": "s3://elsewhere/1",
        "status": "READY",
        "tags": [],
        "aliases": [],
        "description": "",
        "run_id": "",
        "run_link": "",
        "user_id": "anonymous",
    }
    shown |= {
        "aliases": [{"alias": "champion", "version": "1"}],
        "latest_versions": [version | {"aliases": ["champion"]}],
    }
    assert timeless(got) == {"registered_model": shown}
    by_alias = await api.ok("GET", f"{MODELS}/alias", params={"name": "main.ml.iris", "alias": "champion"})
    assert timeless(by_alias) == {"model_version": version | {"aliases": ["champion"]}}


async def test_every_change_answers_an_empty_object(api: Api) -> None:
    """Calls that only change state answer exactly `{}`, with status 200, DELETE with its body included."""
    await api.model("emptied", versions=1)
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", f"{MODELS}/set-tag", {"name": "emptied", "key": "k", "value": "v"}),
        ("DELETE", f"{MODELS}/delete-tag", {"name": "emptied", "key": "k"}),
        ("POST", f"{VERSIONS}/set-tag", {"name": "emptied", "version": "1", "key": "k", "value": "v"}),
        ("DELETE", f"{VERSIONS}/delete-tag", {"name": "emptied", "version": "1", "key": "k"}),
        ("POST", f"{MODELS}/alias", {"name": "emptied", "alias": "a", "version": "1"}),
        ("DELETE", f"{MODELS}/alias", {"name": "emptied", "alias": "a"}),
        ("DELETE", f"{VERSIONS}/delete", {"name": "emptied", "version": "1"}),
        ("DELETE", f"{MODELS}/delete", {"name": "emptied"}),
    ]
    for method, path, body in calls:
        answer = await api.ask(method, path, body)
        assert (answer.status_code, answer.content) == (200, b"{}"), path
        assert answer.headers["content-type"] == "application/json"


async def test_log_and_set_and_delete_can_be_repeated(api: Api) -> None:
    """The stock client repeats what it got no answer to: the second time ends where the first did."""
    await api.model("repeated", versions=1)
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", f"{MODELS}/update", {"name": "repeated", "description": "d"}),
        ("POST", f"{MODELS}/set-tag", {"name": "repeated", "key": "k", "value": "v"}),
        ("POST", f"{MODELS}/alias", {"name": "repeated", "alias": "a", "version": "1"}),
        ("POST", f"{VERSIONS}/transition-stage", {"name": "repeated", "version": "1", "stage": "Staging"}),
        ("DELETE", f"{MODELS}/delete-tag", {"name": "repeated", "key": "k"}),
        ("DELETE", f"{MODELS}/alias", {"name": "repeated", "alias": "a"}),
    ]
    for method, path, body in calls:
        await api.ok(method, path, body)
        events = (await api.ok("GET", f"{OWN}/events"))["events"]
        await api.ok(method, path, body)
        assert (await api.ok("GET", f"{OWN}/events"))["events"] == events, path
    for path, body in [
        (f"{VERSIONS}/delete", {"name": "repeated", "version": "1"}),
        (f"{MODELS}/delete", {"name": "repeated"}),
    ]:
        await api.ok("DELETE", path, body)
        assert (await api.refused("DELETE", path, body))[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


async def test_both_prefixes_serve_the_same(api: Api) -> None:
    """The prefix of upstream's web pages leads to the same endpoints."""
    await api.model("ajax")
    path = "/2.0/mlflow/registered-models/get?name=ajax"
    plain, ajax = await api.ask("GET", f"/api{path}"), await api.ask("GET", f"/ajax-api{path}")
    assert plain.status_code == 200 and plain.content == ajax.content


async def test_searches_page_through_everything_once(api: Api) -> None:
    """Following next_page_token gives every model and every version once; the last page has no token."""
    for name in ("page-a", "page-b", "page-c"):
        await api.model(name, versions=2)
    for path, key in ((f"{MODELS}/search", "registered_models"), (f"{VERSIONS}/search", "model_versions")):
        seen, token, pages = [], "", 0
        while pages == 0 or token:
            page = await api.ok(
                "GET",
                path,
                params={"filter": "name LIKE 'page-%'", "max_results": 2, **({"page_token": token} if token else {})},
            )
            seen += [(one["name"], one.get("version")) for one in page[key]]
            token, pages = page.get("next_page_token", ""), pages + 1
        assert len(seen) == len(set(seen)) == (3 if key == "registered_models" else 6)
    found = await api.ok("GET", f"{VERSIONS}/search", params={"filter": "name = 'page-b' AND version_number > 1"})
    assert [(one["name"], one["version"]) for one in found["model_versions"]] == [("page-b", "2")]


async def test_query_strings_repeat_keys_and_take_any_case_of_true(api: Api) -> None:
    """Repeated keys are a list; booleans are true and false in any case, and nothing else."""
    await api.model("staged", versions=2)
    for version, stage in ((1, "Staging"), (2, "Production")):
        await api.ok("POST", f"{VERSIONS}/transition-stage", {"name": "staged", "version": version, "stage": stage})
    answer = await api.ok("GET", f"{MODELS}/get-latest-versions?name=staged&stages=Staging&stages=production")
    assert [one["version"] for one in answer["model_versions"]] == ["1", "2"]
    for spelling, status in (("TRUE", 200), ("yes", 400)):
        await api.ok("POST", f"{UNITY}/models", {"name": "u", "catalog_name": "main", "schema_name": "s"})
        path = f"{UNITY}/models/main.s.u?force={spelling}"
        assert (await api.ask("DELETE", path, {"full_name": "main.s.u"})).status_code == status


async def test_server_info_says_what_the_client_needs(api: Api) -> None:
    """server-info names the features a client may use, under both prefixes."""
    expected = (
        b'{"store_type":"SqlStore","workspaces_enabled":false,"trace_archival_enabled":false,'
        b'"multipart_uploads_enabled":false,"multipart_downloads_enabled":false,"artifact_serving_enabled":true,'
        b'"features_enabled":{"gateway":false,"scheduled_issue_detection":false}}'
    )
    for prefix in ("/api", "/ajax-api"):
        assert (await api.ask("GET", f"{prefix}/3.0/mlflow/server-info")).content == expected
    assert (await api.ask("GET", "/version")).text.count(".") == 2


async def test_a_short_name_and_its_full_name_are_one_model(api: Api) -> None:
    """A model of the built-in schema answers to both spellings and is shown by the short one."""
    await api.model("short")
    for name in ("short", "workspace.default.short"):
        found = await api.ok("GET", f"{MODELS}/get", params={"name": name})
        assert found["registered_model"]["name"] == "short"
    assert (await api.ok("GET", f"{UNITY}/models/workspace.default.short"))["full_name"] == "workspace.default.short"


async def test_unity_models_and_versions_have_its_shape(api: Api) -> None:
    """Flat bodies, integer versions, `comment`, times in milliseconds, PENDING until finalized."""
    body = {"name": "uciris", "catalog_name": "main", "schema_name": "ml", "comment": "c"}
    model = timeless(await api.ok("POST", f"{UNITY}/models", body))
    assert model.pop("storage_location").endswith(f"/models/{model.pop('id')}")
    assert model == body | {
        "full_name": "main.ml.uciris",
        "owner": "anonymous",
        "created_at": 0,
        "created_by": "anonymous",
        "updated_at": 0,
        "updated_by": "anonymous",
    }
    request = {"model_name": "uciris", "catalog_name": "main", "schema_name": "ml", "source": "models:/m-5566"}
    version = timeless(await api.ok("POST", f"{UNITY}/models/versions", request))
    place = version.pop("storage_location")
    assert place.startswith("file:///") and place.endswith(version.pop("id"))
    assert version == request | {
        "version": 1,
        "run_id": None,
        "status": "PENDING_REGISTRATION",
        "comment": None,
        "created_at": 0,
        "created_by": "anonymous",
        "updated_at": 0,
        "updated_by": "anonymous",
    }
    listed = await api.ok("GET", f"{UNITY}/models/main.ml.uciris/versions?max_results=10000")
    assert [one["version"] for one in listed["model_versions"]] == [1] and listed["next_page_token"] is None


async def test_unity_finalize_pins_what_was_written(api: Api) -> None:
    """The caller writes to the place he was given; finalize hashes it, refuses another name, and happens once."""
    await api.ok("POST", f"{UNITY}/models", {"name": "written", "catalog_name": "main", "schema_name": "ml"})
    request = {"model_name": "written", "catalog_name": "main", "schema_name": "ml", "source": "models:/m-1"}
    place = Path(urlsplit((await api.ok("POST", f"{UNITY}/models/versions", request))["storage_location"]).path)
    finalize = f"{UNITY}/models/main.ml.written/versions/1/finalize"
    assert (await api.refused("PATCH", finalize, {"full_name": "main.ml.written", "version": 1}))[0] == 400
    (place / "MLmodel").write_bytes(b"flavors: {}\n")
    for other in ({"full_name": "main.ml.x", "version": 1}, {"full_name": "main.ml.written", "version": 2}):
        assert (await api.refused("PATCH", finalize, other))[:2] == (400, "INVALID_ARGUMENT")
    done = await api.ok("PATCH", finalize, {"full_name": "main.ml.written", "version": 1})
    assert done["status"] == "READY"
    again = await api.refused("PATCH", finalize, {"full_name": "main.ml.written", "version": 1})
    assert again == (400, "INVALID_ARGUMENT", "Model version not in a pending registration state: main.ml.written/1")
    manifest = await api.ok("GET", f"{OWN}/models/main.ml.written/versions/1/manifest")
    assert [(file["path"], file["size_bytes"]) for file in manifest["files"]] == [("MLmodel", 12)]
    assert manifest["digest"].startswith("sha256:") and manifest["location"].startswith("mlflow-artifacts:/")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/models", {"name": "m", "catalog_name": "main", "schema_name": "s"}, 409, "ALREADY_EXISTS"),
        ("GET", "/models/main.s.nope", None, 404, "NOT_FOUND"),
        ("GET", "/models/m", None, 404, "NOT_FOUND"),
        ("GET", "/models/main.s.m/versions/9", None, 404, "NOT_FOUND"),
        ("GET", "/models?catalog_name=main", None, 400, "INVALID_ARGUMENT"),
        ("GET", "/models?max_results=-1", None, 400, "INVALID_ARGUMENT"),
        ("GET", "/models?page_token=x", None, 400, "INVALID_ARGUMENT"),
        ("PATCH", "/models/main.s.m", {}, 400, "INVALID_ARGUMENT"),
        ("DELETE", "/models/main.s.m", {"full_name": "main.s.m"}, 409, "ABORTED"),
        ("GET", "/catalogs/nope", None, 404, "NOT_FOUND"),
        ("GET", "/schemas/nope", None, 404, "NOT_FOUND"),
        ("DELETE", "/catalogs/main", None, 400, "INVALID_ARGUMENT"),
        ("GET", "/nothing-here", None, 404, "NOT_FOUND"),
        (
            "POST",
            "/temporary-model-version-credentials",
            {"catalog_name": "main", "schema_name": "s", "model_name": "m", "version": 1, "operation": "READ"},
            400,
            "INVALID_ARGUMENT",
        ),
    ],
    ids=str,
)
async def test_unity_refuses_in_its_own_shape(
    api: Api, method: str, path: str, body: dict[str, Any] | None, status: int, code: str
) -> None:
    """Below Unity Catalog's prefix every error has its codes and its `details`."""
    await api.ask("POST", f"{MODELS}/create", {"name": "main.s.m"})
    await api.ask("POST", f"{VERSIONS}/create", {"name": "main.s.m", "source": "s3://elsewhere/1"})
    answer = await api.ask(method, f"{UNITY}{path}", body)
    said = answer.json()
    assert (answer.status_code, said["error_code"]) == (status, code), said
    assert said["details"] == [{"reason": code, "@type": "type.googleapis.com/google.rpc.ErrorInfo"}]
    assert set(said) == {"error_code", "message", "details"}


async def test_unity_namespaces_can_be_made_listed_and_removed(api: Api) -> None:
    """Catalogs and schemas are created, paged by name, renamed with their models, and removed when empty."""
    await api.ok("POST", f"{UNITY}/catalogs", {"name": "lab", "comment": "c"})
    await api.ok("POST", f"{UNITY}/schemas", {"name": "one", "catalog_name": "lab"})
    await api.model("lab.one.m")
    first = await api.ok("GET", f"{UNITY}/catalogs?max_results=1")
    rest = await api.ok("GET", f"{UNITY}/catalogs?page_token={first['next_page_token']}")
    assert [one["name"] for one in first["catalogs"]] == ["lab"]
    assert [one["name"] for one in rest["catalogs"]] == ["main", "workspace"] and rest["next_page_token"] is None
    await api.ok("PATCH", f"{UNITY}/schemas/lab.one", {"new_name": "two"})
    assert (await api.ok("GET", f"{UNITY}/models/lab.two.m"))["full_name"] == "lab.two.m"
    assert (await api.refused("DELETE", f"{UNITY}/schemas/lab.two"))[0] == 409
    await api.ok("DELETE", f"{MODELS}/delete", {"name": "lab.two.m"})
    await api.ok("DELETE", f"{UNITY}/catalogs/lab?force=true")
    assert (await api.refused("GET", f"{UNITY}/catalogs/lab"))[:2] == (404, "NOT_FOUND")


async def test_old_bodies_are_decoded_twice(api: Api) -> None:
    """A body that is a JSON text holding JSON is understood, as old clients send it."""
    body = json.dumps(json.dumps({"name": "old"})).encode()
    answer = await api.ask("POST", f"{MODELS}/create", body, headers=JSON)
    assert answer.status_code == 200
    assert (await api.ask("GET", f"{MLFLOW}/registered-models/get?name=old")).status_code == 200


async def test_object_stores_have_no_credentials_to_give(tmp_path: Path) -> None:
    """Over an object store the place of a version is its URI, and credentials for it are not implemented."""
    async with opened(tmp_path, artifact_root="memory://unity") as api:
        await api.model("main.s.m")
        request = {"model_name": "m", "catalog_name": "main", "schema_name": "s", "source": "models:/m-1"}
        version = await api.ok("POST", f"{UNITY}/models/versions", request)
        assert version["storage_location"].startswith("memory://unity/")
        wanted = {**request, "version": 1, "operation": "READ_WRITE_MODEL_VERSION"}
        refused = await api.refused("POST", f"{UNITY}/temporary-model-version-credentials", wanted)
        assert refused[:2] == (501, "UNIMPLEMENTED")
