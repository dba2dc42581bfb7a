"""Bad input is the caller's mistake: a 4xx in the protocol's shape that names what is wrong, and nothing changes."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.services import Service
from tests.fixtures.waiting import until
from tests.registry.api_app import JSON, MLFLOW, MODELS, OWN, UNITY, VERSIONS, Api
from tests.registry.plain_http import post

in_one_loop = pytest.mark.asyncio(loop_scope="module")

INVALID, ABSENT = (400, "INVALID_PARAMETER_VALUE"), (404, "RESOURCE_DOES_NOT_EXIST")
MISSING = "Missing value for required parameter '{}'. See the API docs for more information about request parameters."
RESERVED = "'latest' alias name (case insensitive) is reserved."

BAD_NAMES = [
    "",
    " ",
    "\t",
    "a.b",
    "a.b.c.d",
    ".",
    "..",
    "a..b",
    "a/b",
    "a:b",
    "main.ml.",
    ".ml.x",
    "main.ml./x",
    "a\\b",
]
BAD_NAMES += ["x" * 300, "main.ml." + "x" * 300, "a\nb", " padded", "main. ml.x", "models:/x", "%2e%2e/x"]


@pytest.mark.parametrize("name", BAD_NAMES)
@in_one_loop
async def test_bad_model_names_are_refused_everywhere(api: Api, name: str) -> None:
    """A name that no model can have is refused by every call that takes one, with a message that says why."""
    version = {"name": name, "version": "1"}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", f"{MODELS}/create", {"name": name}),
        ("PATCH", f"{MODELS}/update", {"name": name, "description": "d"}),
        ("POST", f"{MODELS}/rename", {"name": name, "new_name": "fine"}),
        ("POST", f"{MODELS}/rename", {"name": "fine", "new_name": name}),
        ("DELETE", f"{MODELS}/delete", {"name": name}),
        ("POST", f"{MODELS}/get-latest-versions", {"name": name}),
        ("POST", f"{MODELS}/set-tag", {"name": name, "key": "k", "value": "v"}),
        ("POST", f"{MODELS}/alias", {**version, "alias": "a"}),
        ("POST", f"{VERSIONS}/create", {"name": name, "source": "s3://elsewhere/1"}),
        ("PATCH", f"{VERSIONS}/update", version),
        ("POST", f"{VERSIONS}/transition-stage", {**version, "stage": "Staging"}),
        ("DELETE", f"{VERSIONS}/delete", version),
        ("POST", f"{OWN}/changes", {"changes": [{"action": "set_tag", "name": name, "key": "k"}]}),
    ]
    for method, path, body in calls:
        status, code, message = await api.refused(method, path, body)
        assert (status, code) == INVALID and "name" in message, (path, message)
    for path in (f"{MODELS}/get", f"{VERSIONS}/get"):
        status, code, message = await api.refused("GET", path, params=version)
        assert (status, code) == INVALID and "name" in message


@pytest.mark.parametrize("name", ["é", "模型", "with space", "a_b-c@2", "main.ml.é", "x" * 255])
@in_one_loop
async def test_unusual_names_are_fine(api: Api, name: str) -> None:
    """Any script and spaces are allowed in a name, and it comes back as it went in."""
    created = await api.ok("POST", f"{MODELS}/create", {"name": name})
    found = await api.ok("GET", f"{MODELS}/get", params={"name": name})
    assert created["registered_model"]["name"] == found["registered_model"]["name"] == name
    assert (await api.ok("GET", f"{OWN}/models/{quote(name, safe='')}/aliases"))["name"] == name


@pytest.mark.parametrize("version", ["abc", "1.0", "-", "1e3", " 1", "٣", "0x1", "1" * 30])
@in_one_loop
async def test_versions_that_are_no_numbers_are_refused(api: Api, version: str) -> None:
    """A version that is not an integer is refused in upstream's words."""
    await api.ask("POST", f"{MODELS}/create", {"name": "versioned"})
    body = {"name": "versioned", "version": version}
    expected = (*INVALID, f"Parameter 'version' must be an integer, got '{version}'.")
    assert await api.refused("GET", f"{VERSIONS}/get", params=body) == expected
    assert await api.refused("DELETE", f"{VERSIONS}/delete", body) == expected
    assert await api.refused("POST", f"{MODELS}/alias", {**body, "alias": "a"}) == expected


@pytest.mark.parametrize("version", ["1", 1, "0", "-1", 2**31, 10**17])
@in_one_loop
async def test_versions_that_are_not_there_are_absent(api: Api, version: str | int) -> None:
    """A number that no version has is a 404, also for an alias."""
    await api.ask("POST", f"{MODELS}/create", {"name": "versioned"})
    body = {"name": "versioned", "version": version}
    expected = (*ABSENT, f"Model Version (name=versioned, version={version}) not found")
    assert await api.refused("GET", f"{VERSIONS}/get", params=body) == expected
    assert await api.refused("POST", f"{MODELS}/alias", {**body, "alias": "a"}) == expected
    assert await api.refused("PUT", f"{OWN}/models/versioned/aliases/a", {"version": version}) == expected


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", f"{MODELS}/alias", {"alias": "latest", "version": "1"}, RESERVED),
        ("POST", f"{MODELS}/alias", {"alias": "LaTeSt", "version": "1"}, RESERVED),
        ("POST", f"{MODELS}/alias", {"alias": "v1", "version": "1"}, "Version alias name 'v1' is reserved."),
        ("POST", f"{MODELS}/alias", {"alias": "a b", "version": "1"}, "Invalid alias name: 'a b'."),
        ("POST", f"{MODELS}/alias", {"alias": "x" * 256, "version": "1"}, "Invalid alias name: 256 characters"),
        ("POST", f"{MODELS}/alias", {"alias": "", "version": "1"}, MISSING.format("alias")),
        ("POST", f"{MODELS}/alias", {"alias": "a"}, MISSING.format("version")),
        (
            "POST",
            f"{VERSIONS}/transition-stage",
            {"version": "1", "stage": "prod"},
            "Invalid Model Version stage: prod. Value must be one of None, Staging, Production, Archived.",
        ),
        ("POST", f"{VERSIONS}/transition-stage", {"version": "1"}, MISSING.format("stage")),
        (
            "POST",
            f"{VERSIONS}/transition-stage",
            {"version": "1", "stage": "None", "archive_existing_versions": True},
            "Model version transition cannot archive existing model versions",
        ),
        ("POST", f"{MODELS}/get-latest-versions", {"stages": ["prod"]}, "Invalid Model Version stage: prod."),
        ("POST", f"{MODELS}/set-tag", {"key": "k" * 251, "value": "v"}, "'key' exceeds the maximum length of 250"),
        ("POST", f"{MODELS}/set-tag", {"key": "k", "value": "v" * 100_001}, "'value' exceeds the maximum"),
        ("POST", f"{MODELS}/set-tag", {"key": "a$b", "value": "v"}, 'Invalid value "a$b" for parameter'),
        ("POST", f"{MODELS}/set-tag", {"key": "../k", "value": "v"}, "Invalid value"),
        ("POST", f"{MODELS}/set-tag", {"value": "v"}, MISSING.format("key")),
        ("POST", f"{VERSIONS}/create", {}, MISSING.format("source")),
        ("POST", f"{VERSIONS}/create", {"source": "/etc/passwd"}, "To use a local path as a model version source"),
        ("POST", f"{VERSIONS}/create", {"source": "file:///etc"}, "To use a local path as a model version source"),
        ("POST", f"{VERSIONS}/create", {"source": "s3://b/a/../c"}, "Invalid"),
        ("POST", f"{VERSIONS}/create", {"source": "s3://b/%2e%2e/c"}, "Invalid"),
        ("POST", f"{VERSIONS}/create", {"source": "javascript:alert(1)"}, "Invalid model version source"),
        ("POST", f"{VERSIONS}/create", {"source": "mlflow-artifacts:/0/r/artifacts/m"}, "To use an artifact"),
        ("POST", f"{VERSIONS}/create", {"source": "runs:/abc/m"}, "Invalid model version source"),
    ],
    ids=lambda value: str(value)[:40],
)
@in_one_loop
async def test_bad_values_are_refused_in_upstreams_words(
    api: Api, method: str, path: str, body: dict[str, Any], expected: str
) -> None:
    """Reserved aliases, unknown stages, keys and values over their limits, sources that prove nothing: all 400."""
    await api.ask("POST", f"{MODELS}/create", {"name": "strict"})
    await api.ask("POST", f"{VERSIONS}/create", {"name": "strict", "source": "s3://elsewhere/1"})
    status, code, message = await api.refused(method, path, {"name": "strict", **body})
    assert (status, code) == INVALID and expected.lower() in message.lower(), message


@in_one_loop
async def test_values_are_repeated_in_part_alone(api: Api) -> None:
    """An error shows so much of what came that it is known again, and no more; of many values only the first few."""
    runs, long = f"{MLFLOW}/runs", "s3cret-" * 700
    run = (await api.ok("POST", f"{runs}/create", {"experiment_id": "0"}))["run"]["info"]["run_id"]
    model = (await api.ok("POST", f"{MLFLOW}/logged-models", {"experiment_id": "0"}))["model"]["info"]["model_id"]
    many = [{"key": f"k{number}", "value": long} for number in range(100)]
    changed = [{**one, "value": one["value"] + "x"} for one in many]
    await api.ok("POST", f"{runs}/log-batch", {"run_id": run, "params": many})
    await api.ok("POST", f"{MLFLOW}/logged-models/{model}/params", {"params": many})
    asked: list[tuple[str, str, Any]] = [
        ("POST", f"{runs}/log-batch", {"run_id": run, "params": changed}),
        ("POST", f"{runs}/log-parameter", {"run_id": run, **changed[0]}),
        ("POST", f"{MLFLOW}/logged-models/{model}/params", {"params": changed}),
        ("POST", f"{runs}/delete-tag", {"run_id": run, "key": long}),
        ("POST", f"{runs}/set-tag", {"run_id": run, "key": long, "value": "v"}),
        ("POST", f"{runs}/update", {"run_id": long}),
        ("POST", f"{MLFLOW}/experiments/delete-experiment-tag", {"experiment_id": "0", "key": long}),
        ("POST", f"{MLFLOW}/experiments/update", {"experiment_id": long, "new_name": "n"}),
        ("POST", f"{MLFLOW}/experiments/create", {"name": "long", "artifact_location": f"runs:/{long[:1500]}"}),
        ("GET", f"{MLFLOW}/experiments/get-by-name?experiment_name={long}", None),
        ("GET", f"{MODELS}/get?name={long}", None),
        ("GET", f"{MODELS}/alias?name=strict&alias={long}", None),
        ("GET", f"{VERSIONS}/get?name=strict&version={long}", None),
        ("GET", f"{MLFLOW}/artifacts/list?run_id={run}&path=../{long}", None),
        ("POST", f"{VERSIONS}/create", {"name": "strict", "source": f"runs:/{long}"}),
        ("POST", f"{runs}/search", {"experiment_ids": ["0"], "filter": f"params.`{long}` ~ 'x'"}),
        ("POST", f"{runs}/search", {"experiment_ids": ["0"], "order_by": [long]}),
        ("POST", f"{runs}/search", {"experiment_ids": ["0"], "page_token": long}),
    ]
    for method, path, body in asked:
        status, _, message = await api.refused(method, path, body)
        assert 400 <= status < 500 and len(message) < 4000, (path, len(message))
        assert long[:400] not in message, (path, message[:300])


@in_one_loop
@pytest.mark.parametrize(
    "query",
    ["name=&version=1", "version=1", "name=m", "name=m&version="],
)
async def test_required_queries_are_named(api: Api, query: str) -> None:
    """An absent and an empty required query parameter are both missing, in upstream's words."""
    missing = "name" if "name=m" not in query else "version"
    assert await api.refused("GET", f"{VERSIONS}/get?{query}") == (*INVALID, MISSING.format(missing))


@in_one_loop
@pytest.mark.parametrize("query", ["at=-1", "at=soon", f"at={2**63}", "at=1.5"])
async def test_times_are_milliseconds(api: Api, query: str) -> None:
    """A time that is no integer of milliseconds, or beyond 64 bits, is refused."""
    await api.ask("POST", f"{MODELS}/create", {"name": "timed"})
    for path in (f"{OWN}/models/timed/aliases", f"{OWN}/models/timed/aliases/a"):
        assert (await api.refused("GET", f"{path}?{query}"))[:2] == INVALID
    assert (await api.refused("GET", f"{OWN}/events?{query.replace('at', 'since')}"))[:2] == INVALID


@in_one_loop
async def test_what_is_taken_and_what_is_missing(api: Api) -> None:
    """Taken names and missing nouns have upstream's status, code and text."""
    await api.model("taken")
    assert await api.refused("POST", f"{MODELS}/create", {"name": "taken"}) == (
        400,
        "RESOURCE_ALREADY_EXISTS",
        "Registered Model (name=taken) already exists.",
    )
    await api.model("other")
    renamed = await api.refused("POST", f"{MODELS}/rename", {"name": "other", "new_name": "taken"})
    assert renamed[:2] == (400, "RESOURCE_ALREADY_EXISTS")
    expected = (*ABSENT, "Registered Model with name=gone not found")
    assert await api.refused("GET", f"{MODELS}/get", params={"name": "gone"}) == expected
    assert await api.refused("POST", f"{VERSIONS}/create", {"name": "gone", "source": "s3://a/b"}) == expected
    absent = await api.refused("GET", f"{MODELS}/alias", params={"name": "taken", "alias": "nobody"})
    assert absent == (*INVALID, "Registered model alias nobody not found.")


@pytest.mark.parametrize(
    ("body", "headers", "beginning"),
    [
        (b'{"name": "m"}', {}, "Bad Request. Content-Type must be 'application/json', it is missing."),
        (b'{"name": "m"}', {"content-type": "text/plain"}, "Bad Request. Content-Type must be 'application/json', got"),
        (b"name=m", {"content-type": "application/x-www-form-urlencoded"}, "Bad Request. Content-Type must be"),
        (b'{"name": ', JSON, "The request body is not valid JSON"),
        (b"\xff\xfe", JSON, "The request body is not valid JSON"),
        (b"", JSON, MISSING.format("name")),
        (b'{"name": 5}', JSON, "Invalid value 5 for parameter 'name' supplied:  Hint: Value was of type 'int'."),
        (b'{"name": "a", "tags": "x"}', JSON, "Invalid value \"x\" for parameter 'tags' supplied:"),
        (b'{"name": "a", "description": {}}', JSON, "Invalid value {} for parameter 'description' supplied:"),
        (b'{"name": "a\\u0000b"}', JSON, "Invalid value"),
        (b'{"name": "a\\ud800b"}', JSON, "The request body is not valid JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
@in_one_loop
async def test_bodies_that_cannot_be_read_are_refused(
    api: Api, body: bytes, headers: dict[str, str], beginning: str
) -> None:
    """Missing content type, broken JSON, wrong types: 400, and the message says which."""
    for method, path in (("POST", f"{MODELS}/create"), ("PATCH", f"{MODELS}/update")):
        if method == "PATCH" and b"tags" in body:
            continue  # a field that this call does not know
        status, code, message = await api.refused(method, path, body, headers=headers)
        assert ((status, code), message[: len(beginning)]) == (INVALID, beginning)


@pytest.mark.parametrize(
    "query",
    [
        "max_results=many",
        "max_results=0",
        "max_results=-1",
        "max_results=1001",
        "max_results=1.5",
        "max_results=",
        "max_results=1e999",
        "max_results=99999999999999999999",
        "page_token=x",
        "page_token=%00",
        "filter=%00",
        "filter=%20",
        "filter=name%20%3D",
        "filter=a%ff",
        "filter=name%20%3D%20'a'%3B%20DROP%20TABLE%20runs",
        "order_by=nope",
        "order_by=name%20UP",
        "order_by=name&order_by=name",
    ],
)
@in_one_loop
async def test_bad_queries_are_refused(api: Api, query: str) -> None:
    """Query parameters of a wrong type, out of range or unreadable are a 400, and hold no connection afterwards."""
    for path in (f"{MODELS}/search", f"{VERSIONS}/search"):
        if "1001" in query and path.startswith(VERSIONS):
            continue
        assert (await api.refused("GET", f"{path}?{query}"))[:2] == INVALID
    # The background may hold one for a moment.
    await until(lambda: not api.app.state.database.connections_in_use)


@in_one_loop
async def test_changes_are_all_refused_when_one_is(api: Api) -> None:
    """A batch with one bad change changes nothing, and says which one was bad."""
    await api.model("batch", versions=2)
    good = {"action": "set_alias", "name": "batch", "alias": "champion", "version": 1}
    bad: list[tuple[dict[str, Any], int]] = [
        ({"action": "set_alias", "name": "batch", "alias": "b", "version": 9}, 404),
        ({"action": "set_alias", "name": "batch", "alias": "latest", "version": 1}, 400),
        ({"action": "set_alias", "name": "batch", "alias": "b"}, 400),
        ({"action": "set_alias", "name": "batch", "alias": "champion", "version": 2, "expected_version": 2}, 409),
        ({"action": "set_alias", "name": "batch", "alias": "champion", "version": 2, "expected_version": ""}, 409),
        ({"action": "delete_tag", "name": "batch"}, 400),
        ({"action": "set_tag", "name": "nobody", "key": "k"}, 404),
        ({"action": "explode", "name": "batch"}, 400),
        ({"action": "set_tag", "name": "batch", "key": "a$b"}, 400),
    ]
    for change, status in bad:
        assert (await api.refused("POST", f"{OWN}/changes", {"changes": [good, change]}))[0] == status, change
    assert (await api.ok("GET", f"{OWN}/models/batch/aliases"))["aliases"] == []
    swap = [good, {"action": "set_alias", "name": "batch", "alias": "challenger", "version": 2}]
    swap += [{"action": "set_tag", "name": "batch", "version": 1, "key": "k", "value": "v"}]
    assert await api.ok("POST", f"{OWN}/changes", {"changes": swap}) == {}
    aliases = (await api.ok("GET", f"{OWN}/models/batch/aliases"))["aliases"]
    assert {one["alias"]: one["version"] for one in aliases} == {"champion": "1", "challenger": "2"}
    for count in (0, 1001):
        assert (await api.refused("POST", f"{OWN}/changes", {"changes": [good] * count}))[:2] == INVALID


@pytest.mark.parametrize("query", ["wait=-1", "wait=61", "wait=nan", "wait=inf", "wait=soon"])
@in_one_loop
async def test_nobody_waits_without_end(api: Api, query: str) -> None:
    """A blocking query may wait up to a minute; any other wait is refused."""
    assert (await api.refused("GET", f"{OWN}/resolve?uri=models:/m/1&{query}"))[:2] == INVALID


@in_one_loop
async def test_resolve_tells_apart_what_is_wrong_with_each_uri(api: Api) -> None:
    """Each URI has its own answer: one that is bad or names nothing spoils no other."""
    await api.model("found", versions=1)
    uris = ["models:/found/1", "models:/found@nobody", "models:/found/9", "models:/found/Production", "models:/gone/1"]
    uris += ["models:/a.b/1", "runs:/abc/model", "nonsense", "models:/found/latest"]
    models = (await api.ok("GET", f"{OWN}/resolve", params={"uri": uris}))["models"]
    assert [one["uri"] for one in models] == uris
    outcomes = [one.get("error_code", one["outcome"]) for one in models]
    invalid, absent = "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"
    assert outcomes == ["resolved", invalid, absent, absent, absent, invalid, invalid, invalid, "resolved"]
    assert (await api.refused("GET", f"{OWN}/resolve"))[:2] == INVALID
    assert (await api.refused("GET", f"{OWN}/resolve", params={"uri": ["models:/m/1"] * 257}))[:2] == INVALID


PATHS = st.sampled_from(
    [
        f"{MODELS}/create",
        f"{MODELS}/alias",
        f"{MODELS}/set-tag",
        f"{VERSIONS}/create",
        f"{VERSIONS}/transition-stage",
        f"{OWN}/changes",
        f"{UNITY}/models",
        f"{UNITY}/models/versions",
        f"{MLFLOW}/runs/create",
        f"{MLFLOW}/runs/log-batch",
        f"{MLFLOW}/experiments/create",
        f"{MLFLOW}/logged-models",
        f"{MLFLOW}/nothing",
    ]
)
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just([{"key": "k", "value": 1}])
)
FIELDS = st.sampled_from(
    [
        "name",
        "source",
        "version",
        "alias",
        "stage",
        "key",
        "value",
        "tags",
        "run_id",
        "runId",
        "experiment_id",
        "metrics",
        "changes",
        "model_name",
        "catalog_name",
        "schema_name",
        "model_id",
        "description",
        "start_time",
        "user_id",
    ]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PATHS, st.binary(max_size=40) | st.dictionaries(FIELDS, VALUES, max_size=8))
def test_no_body_makes_the_server_fail(shared_registry: Service, path: str, body: bytes | dict[str, Any]) -> None:
    """Whatever is posted to a running server, the answer is a 200 or a 4xx in the protocol's shape, never a 5xx."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, said = post(shared_registry.port, path, raw)
    assert status == 200 or (400 <= status < 500 and {"error_code", "message"} <= set(said)), (status, said)
