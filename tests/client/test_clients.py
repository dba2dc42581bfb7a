"""Both shells against a real HTTP server: what they send, and what they make of the answers."""

import asyncio
import base64
import inspect
import logging
import pkgutil
import socket
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import tiltyard.client.calls as calls
from tests.client.server import Reply, ScriptedServer, error, reply
from tiltyard import errors
from tiltyard.client import AsyncClient, Client, retry
from tiltyard.client.address import Credentials, registry_url

VERSION = {
    "name": "m",
    "version": "3",
    "creation_timestamp": 1,
    "last_updated_timestamp": 2,
    "current_stage": "None",
    "source": "s",
    "status": "READY",
}


class Awaited:
    """An `AsyncClient` whose methods are run to their end, so that one test drives both shells."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._make = lambda: AsyncClient(*arguments, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            async def main() -> Any:
                async with self._make() as client:
                    result = getattr(client, name)(*arguments, **options)
                    if inspect.isasyncgen(result):
                        return [chunk async for chunk in result]
                    return await result

            return asyncio.run(main())

        return run


class Closed:
    """A `Client` that is closed after each call."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._make = lambda: Client(*arguments, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            with self._make() as client:
                result = getattr(client, name)(*arguments, **options)
                return list(result) if inspect.isgenerator(result) else result

        return run


@pytest.fixture(params=[Closed, Awaited], ids=["sync", "async"])
def client_of(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a client of each kind."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays are the policy's own test; here they only cost time."""
    monkeypatch.setattr(retry, "FIRST_DELAY_S", 0.001)
    patient_for(1.0, monkeypatch)


def patient_for(retry_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long clients go on by default."""
    for kind in (Client, AsyncClient):
        monkeypatch.setattr(kind.__init__, "__kwdefaults__", {**kind.__init__.__kwdefaults__, "retry_s": retry_s})


def test_every_call_is_a_method_of_both_clients() -> None:
    """The table of calls and both shells hold the same names, with the same arguments and docstrings."""
    modules = [import_module(found.name) for found in pkgutil.iter_modules(calls.__path__, f"{calls.__name__}.")]
    written = {
        name: function
        for module in modules
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
        and "Call[" in str(function.__annotations__["return"])
    }
    assert len(written) > 40
    for shell in (Client, AsyncClient):
        for name, function in written.items():
            assert getattr(shell, name).__wrapped__ is function, f"{shell.__name__}.{name}"
            assert getattr(shell, name).__doc__


def test_a_call_and_its_answer(client_of: Callable[..., Any], server: ScriptedServer) -> None:
    """A request goes out as the protocol wants it, and the answer comes back as a Struct."""
    server.answers(reply(200, {"model_version": VERSION}))
    version = client_of(server.url).create_model_version("m", "models:/m-1", model_id="m-1", tags={"k": "v"})
    assert (version.name, version.version, version.tags, version.aliases) == ("m", "3", [], [])
    sent = server.received[0]
    assert (sent.method, sent.path) == ("POST", "/api/2.0/mlflow/model-versions/create")
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.json == {
        "name": "m",
        "source": "models:/m-1",
        "model_id": "m-1",
        "tags": [{"key": "k", "value": "v"}],
    }


def test_names_are_quoted(client_of: Callable[..., Any], server: ScriptedServer) -> None:
    """No name can become another path or another parameter."""
    server.answers(reply(200, {"alias": "a", "version": "3"}))
    client_of(server.url).set_alias("main.ml.a/b ?#é", "x/y", 3, expected_version=2)
    sent = server.received[0]
    assert sent.path == "/api/tiltyard/v1/models/main.ml.a%2Fb%20%3F%23%C3%A9/aliases/x%2Fy"
    assert sent.headers["If-Match"] == '"2"'
    assert sent.json == {"version": "3"}


@pytest.mark.parametrize(("expected", "header"), [(None, None), (2, ("If-Match", '"2"')), ("", ("If-None-Match", "*"))])
def test_compare_and_set_headers(
    client_of: Callable[..., Any],
    server: ScriptedServer,
    expected: int | str | None,
    header: tuple[str, str] | None,
) -> None:
    """An expected version travels as If-Match, the expectation of none as If-None-Match."""
    server.answers(reply(200, {"alias": "a", "version": "3"}))
    client_of(server.url).set_alias("m", "a", 3, expected_version=expected)
    conditions = {key: value for key, value in server.received[0].headers.items() if key.startswith("If-")}
    assert conditions == (dict([header]) if header else {})


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "INVALID_PARAMETER_VALUE", errors.InvalidParameterValue),
        (400, "RESOURCE_ALREADY_EXISTS", errors.ResourceAlreadyExists),
        (401, "UNAUTHENTICATED", errors.Unauthenticated),
        (403, "PERMISSION_DENIED", errors.PermissionDenied),
        (404, "RESOURCE_DOES_NOT_EXIST", errors.ResourceDoesNotExist),
        (404, "ENDPOINT_NOT_FOUND", errors.EndpointNotFound),
        (409, "RESOURCE_CONFLICT", errors.ResourceConflict),
        (501, "NOT_IMPLEMENTED", errors.NotImplementedYet),
    ],
)
def test_errors_are_those_that_the_server_raised(
    client_of: Callable[..., Any],
    server: ScriptedServer,
    status: int,
    code: str,
    kind: type[errors.TiltyardError],
) -> None:
    """An error comes back as the class it left as, with its message, and is not repeated."""
    server.answers(error(status, code, "what is wrong"))
    with pytest.raises(kind, match="what is wrong") as caught:
        client_of(server.url).get_registered_model("m")
    assert type(caught.value) is kind
    assert len(server.received) == 1


@pytest.mark.parametrize("body", [b"<html>Not Found</html>", b"", b"{", b"[1]", b"\xff\xfe"])
def test_an_answer_that_is_no_protocol_is_still_an_error(
    client_of: Callable[..., Any], server: ScriptedServer, body: bytes
) -> None:
    """A proxy's page, a broken body and an empty one are told by their status."""
    server.answers(Reply(404, body))
    with pytest.raises(errors.ResourceDoesNotExist):
        client_of(server.url).get_registered_model("m")
    server.answers(Reply(200, body or b"[]"))
    with pytest.raises(errors.InternalError):
        client_of(server.url).get_registered_model("m")


def test_a_busy_server_is_asked_again(client_of: Callable[..., Any], server: ScriptedServer) -> None:
    """503 is repeated until the answer comes."""
    server.answers(
        error(503, "TEMPORARILY_UNAVAILABLE"),
        error(503, "TEMPORARILY_UNAVAILABLE", **{"Retry-After": "0"}),
        reply(200, {"model_version": VERSION}),
    )
    assert client_of(server.url).get_model_version("m", 3).version == "3"
    assert len(server.received) == 3


def test_a_create_is_not_repeated_after_a_lost_answer(client_of: Callable[..., Any], server: ScriptedServer) -> None:
    """When the connection breaks after a create was sent, the caller is told instead of a second create."""
    server.answers(Reply(cut=0))
    with pytest.raises(errors.TransportError):
        client_of(server.url).create_registered_model("m")
    assert len(server.received) == 1


def test_a_read_is_repeated_after_a_lost_answer(client_of: Callable[..., Any], server: ScriptedServer) -> None:
    """When the connection breaks during a read, it is sent again."""
    server.answers(Reply(cut=0), reply(200, {"model_version": VERSION}))
    assert client_of(server.url).get_model_version("m", 3).version == "3"


def test_no_server_is_a_transport_error(client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody answers is told as such, without the password it may hold."""
    patient_for(0.05, monkeypatch)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://someone:secret@127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(errors.TransportError, match=r"127\.0\.0\.1") as caught:
            client_of(url).get_registered_model("m")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_USERNAME": "u"}, None),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
        ({"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p:ä"}, "Basic u:p:ä"),
        (
            {
                "MLFLOW_TRACKING_USERNAME": "u",
                "MLFLOW_TRACKING_PASSWORD": "p",
                "MLFLOW_TRACKING_TOKEN": "t",
            },
            "Basic u:p",
        ),
        ({"TILTYARD_TOKEN": "own", "MLFLOW_TRACKING_TOKEN": "t"}, "Bearer own"),
        ({"TILTYARD_TOKEN": "own", "MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p"}, "Bearer own"),
    ],
)
def test_credentials_come_from_the_environment(
    client_of: Callable[..., Any],
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    header: str | None,
) -> None:
    """The stock client's variables are honoured as it honours them, and our own token wins."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client_of(server.url).delete_alias("m", "a")
    sent = server.received[0].headers.get("Authorization")
    if sent and sent.startswith("Basic "):
        sent = "Basic " + base64.b64decode(sent.removeprefix("Basic ")).decode()
    assert sent == header


def test_secrets_are_never_shown(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the text forms, nor the log at its finest, nor an error holds a credential."""
    caplog.set_level(logging.DEBUG)
    credentials = Credentials(token="s3cret-token")
    server.answers(error(401, "UNAUTHENTICATED"))
    with_password = server.url.replace("http://", "http://user:s3cret%40pass@")
    for client in (Client(server.url, credentials=credentials), Client(with_password)):
        with client, pytest.raises(errors.Unauthenticated) as caught:
            client.get_registered_model("m")
        assert "s3cret" not in f"{client!r} {client.url} {credentials!r} {caught.value!r} {caplog.text}"
    assert server.received[0].headers["Authorization"] == "Bearer s3cret-token"
    basic = base64.b64encode(b"user:s3cret@pass").decode()
    assert server.received[1].headers["Authorization"] == f"Basic {basic}"


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        ("http://a:1/", {"TILTYARD_REGISTRY_URL": "http://b"}, "http://a:1"),
        (None, {"TILTYARD_REGISTRY_URL": "http://b", "MLFLOW_REGISTRY_URI": "http://c"}, "http://b"),
        (None, {"MLFLOW_REGISTRY_URI": "http://c", "MLFLOW_TRACKING_URI": "http://d"}, "http://c"),
        (None, {"MLFLOW_TRACKING_URI": "https://d/prefix/"}, "https://d/prefix"),
    ],
)
def test_the_address(
    monkeypatch: pytest.MonkeyPatch, given: str | None, variables: dict[str, str], expected: str
) -> None:
    """The argument wins, then our variable, then the stock client's two."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert registry_url(given) == expected


@pytest.mark.parametrize(
    "url",
    [None, "sqlite:///secret.db", "databricks", "./mlruns", "http://", "ftp://x", "http://h:99999", "http://[::1"],
)
def test_an_address_that_is_none(url: str | None) -> None:
    """A missing address, or one of another kind, is refused with what is expected and without what it holds."""
    with pytest.raises(errors.InvalidParameterValue) as caught:
        registry_url(url)
    assert "secret" not in str(caught.value)


def test_a_path_prefix_is_kept(client_of: Callable[..., Any], server: ScriptedServer) -> None:
    """A registry behind a prefix is reached below it."""
    server.answers(reply(200, {"model_version": VERSION}))
    client_of(f"{server.url}/team/ml/").get_model_version("m", 3)
    assert server.received[0].path.startswith("/team/ml/api/2.0/mlflow/model-versions/get?")


@pytest.mark.parametrize("kind", ["bytes", "file", "chunks", "empty"])
def test_uploads_are_sent_whole_and_again_when_need_be(
    client_of: Callable[..., Any], server: ScriptedServer, tmp_path: Path, kind: str
) -> None:
    """Bytes, a file and chunks arrive as they are, also when the first try meets a busy server."""
    body = b"" if kind == "empty" else bytes(range(256)) * 3000
    file = tmp_path / "file"
    file.write_bytes(body)
    upload: Any = {"bytes": body, "empty": body, "file": file, "chunks": lambda: iter([body[:100], body[100:]])}[kind]
    server.answers(error(503, "TEMPORARILY_UNAVAILABLE"), Reply(200, b""))
    client_of(server.url).upload("1/r/artifacts/ä b#.bin", upload)
    assert [request.body for request in server.received] == [body, body]
    assert server.received[0].path == "/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/%C3%A4%20b%23.bin"


def test_a_refused_upload_says_why(client_of: Callable[..., Any], server: ScriptedServer) -> None:
    """A pinned path is told as the conflict it is."""
    server.answers(error(409, "RESOURCE_CONFLICT", "pinned"))
    with pytest.raises(errors.ResourceConflict, match="pinned"):
        client_of(server.url).upload("p", b"1")


def test_downloads(client_of: Callable[..., Any], server: ScriptedServer) -> None:
    """A download gives the bytes; one that breaks off is an error and never a short file."""
    body = b"x" * 500_000
    server.answers(error(503, "TEMPORARILY_UNAVAILABLE"), Reply(200, body))
    assert b"".join(client_of(server.url).download("p")) == body
    server.answers(Reply(200, body, cut=100_000))
    with pytest.raises(errors.TransportError):
        list(client_of(server.url).download("p"))
    server.answers(error(404, "RESOURCE_DOES_NOT_EXIST"))
    with pytest.raises(errors.ResourceDoesNotExist):
        list(client_of(server.url).download("p"))


def test_resolve_and_its_etag(client_of: Callable[..., Any], server: ScriptedServer) -> None:
    """Several URIs are asked in one call; with an ETag the server may answer that nothing changed."""
    resolved = {
        "outcome": "resolved",
        "uri": "models:/m@a",
        "name": "m",
        "version": "3",
        "digest": "sha256:0",
        "source": "s",
        "run_id": None,
        "model_id": None,
        "status": "READY",
        "external": False,
        "location": "mlflow-artifacts:/x",
    }
    missing = {"outcome": "unresolved", "uri": "models:/n/1", "error_code": "X", "message": "no"}
    server.answers(reply(200, {"models": [resolved, missing]}, ETag='"e1"'), Reply(304, b"", {"ETag": '"e1"'}))
    client = client_of(server.url)
    first = client.resolve(["models:/m@a", "models:/n/1"])
    assert first.etag == '"e1"'
    assert [model.uri for model in first.models] == ["models:/m@a", "models:/n/1"]
    assert server.received[0].path == "/api/tiltyard/v1/resolve?uri=models%3A%2Fm%40a&uri=models%3A%2Fn%2F1"
    second = client.resolve(["models:/m@a", "models:/n/1"], wait_s=0.5, etag=first.etag)
    assert (second.models, second.etag) == (None, '"e1"')
    assert server.received[1].headers["If-None-Match"] == '"e1"'
    assert server.received[1].path.endswith("&wait=0.5")


def test_redirects(client_of: Callable[..., Any], server: ScriptedServer) -> None:
    """A moved registry is followed; one that moves for ever, or moves an upload, is no answer."""
    server.answers(Reply(307, b"", {"Location": "/elsewhere"}), reply(200, {"model_version": VERSION}))
    assert client_of(server.url).get_model_version("m", 3).version == "3"
    assert server.received[1].path == "/elsewhere"
    server.answers(Reply(307, b"", {"Location": "/round"}))
    with pytest.raises(errors.TransportError):
        client_of(server.url).create_registered_model("m")
    with pytest.raises(errors.TransportError):
        client_of(server.url).upload("p", lambda: iter([b"1"]))


def test_one_request_never_changes_the_next(server: ScriptedServer) -> None:
    """Headers of one call do not stay on the shared client."""
    server.answers(reply(200, {"alias": "a", "version": "3"}))
    with Client(server.url) as client:
        client.set_alias("m", "a", 3, expected_version=2)
        client.set_alias("m", "a", 3)
    assert "If-Match" in server.received[0].headers
    assert "If-Match" not in server.received[1].headers


def test_connections_are_reused(server: ScriptedServer) -> None:
    """A kept connection serves many calls."""
    server.answers(reply(200, {"alias": "a", "version": "3"}))
    ports: set[Any] = set()
    handle = server.listening.process_request

    def process(request: Any, address: Any) -> None:
        ports.add(address)
        handle(request, address)

    server.listening.process_request = process  # type: ignore[method-assign]
    with Client(server.url) as client:
        for _ in range(5):
            client.get_alias("m", "a")
    assert len(ports) == 1
