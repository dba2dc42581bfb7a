"""One error shape from every producer: handlers, router, framework, guard, database, a fault of ours."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from tests.fixtures.waiting import until
from tests.registry.api_app import JSON, MLFLOW, MODELS, OWN, UNITY, Api, opened
from tiltyard import errors
from tiltyard_registry.store.models import registered_models
from tiltyard_registry.tables.models import registered_model_aliases

SECRET = "/etc/secret password=hunter2"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"{MODELS}/get?name=gone", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", f"{MODELS}/get", 400, "INVALID_PARAMETER_VALUE"),
        ("GET", f"{MLFLOW}/traces", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/ajax-api/2.0/mlflow/nothing", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/api/9.9/mlflow/nothing", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", f"{OWN}/nothing", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", OWN, 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/nothing", 404, "ENDPOINT_NOT_FOUND"),
        ("PUT", f"{MODELS}/get", 404, "ENDPOINT_NOT_FOUND"),
        ("PURGE", f"{MODELS}/get", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", f"{MODELS}/get/extra/<script>", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", f"{MODELS}/get?name=%00", 400, "INVALID_PARAMETER_VALUE"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/gone", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "/api/2.0/mlflow-artifacts/mpu/create/x", 501, "NOT_IMPLEMENTED"),
    ],
)
async def test_refusals_have_one_shape(laptop_api: Api, method: str, path: str, status: int, code: str) -> None:
    """Whatever refuses, the answer is JSON with `error_code` and `message`, and says nothing else."""
    answer = await laptop_api.ask(method, path)
    said = answer.json()
    assert (answer.status_code, said["error_code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json" and said["message"]
    assert set(said) <= {"error_code", "message", "request_id"}


async def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    """A JSON body larger than the setting allows is a 413, in the protocol's shape."""
    async with opened(tmp_path, max_body_bytes=1000) as api:
        status, code, _ = await api.refused("POST", f"{MODELS}/create", {"name": "m", "description": "x" * 1000})
        assert (status, code) == (413, "BAD_REQUEST")


@pytest.mark.parametrize("path", [f"{MODELS}/create", f"{UNITY}/models"])
async def test_a_fault_of_ours_tells_only_its_request_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    """An unexpected exception is a 500 without its text; the log has the cause under the same request id."""

    async def explode(*_: Any, **__: Any) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(registered_models, "create_registered_model", explode)
    body = {"name": "m", "catalog_name": "main", "schema_name": "s"}
    async with opened(tmp_path) as api:
        answer = await api.ask("POST", path, body, headers={"x-request-id": "look-for-me"})
    assert answer.status_code == 500 and "secret" not in answer.text and "look-for-me" in answer.text
    assert answer.json()["error_code"] == ("INTERNAL" if "unity" in path else "INTERNAL_ERROR")
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "look-for-me" in line]
    assert any(SECRET in line.get("error", "") for line in logged)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_row_that_does_not_fit_is_a_fault_of_ours(laptop_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that lacks a field of the wire is a 500, not a reply with a hole in it."""

    async def half(*_: Any, **__: Any) -> dict[str, Any]:
        return {"name": "m"}

    monkeypatch.setattr(registered_models, "get_registered_model", half)
    status, code, message = await laptop_api.refused("GET", f"{MODELS}/get?name=m")
    assert (status, code) == (500, "INTERNAL_ERROR") and "request id" in message


async def test_a_commit_that_fails_is_no_success(embedded_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the database refuses the change at the end, the answer is a 500 and nothing has changed."""
    real = registered_models.create_registered_model

    async def create(session: Any, *args: Any, **options: Any) -> Any:
        async def break_it() -> None:
            row = {"registered_model_id": -1, "alias": "a", "version": 1}
            await session.execute(insert(registered_model_aliases).values(row))

        session.before_commit.append(break_it)
        return await real(session, *args, **options)

    monkeypatch.setattr(registered_models, "create_registered_model", create)
    status, code, _ = await embedded_api.refused("POST", f"{MODELS}/create", {"name": "m"})
    assert (status, code) == (500, "INTERNAL_ERROR")
    assert (await embedded_api.refused("GET", f"{MODELS}/get?name=m"))[0] == 404


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", list(errors.WIRE), ids=lambda kind: kind.__name__)
async def test_every_error_of_the_table_reaches_the_client_as_itself(
    laptop_api: Api, monkeypatch: pytest.MonkeyPatch, kind: type[errors.TiltyardError]
) -> None:
    """Each error class has its status and code on the wire, and means the same class to our client again."""

    async def refuse(*_: Any, **__: Any) -> None:
        raise kind("because", retry_after_s=7)

    monkeypatch.setattr(registered_models, "get_registered_model", refuse)
    answer = await laptop_api.ask("GET", f"{MODELS}/get?name=m")
    said = answer.json()
    # Of a read it goes without saying that nothing was done.
    status = 503 if kind is errors.NothingDone else errors.http_status(kind("because"))
    assert answer.status_code == status and said["error_code"] == kind.code
    assert type(errors.from_answer(answer.status_code, said["error_code"], said["message"])) in (kind, kind.__base__)
    assert (answer.headers.get("retry-after") == "7") == (answer.status_code in (429, 503))


async def test_a_commit_whose_end_is_unknown_is_no_invitation_to_repeat_it(
    embedded_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is lost before the commit is sent is a 429; one that is lost while it commits stays a 503."""

    async def lost(*_: Any, **__: Any) -> None:
        raise ConnectionResetError

    for owner, name, status in ((AsyncTransaction, "commit", 503), (AsyncConnection, "execute", 429)):
        with monkeypatch.context() as broken:
            broken.setattr(owner, name, lost)
            answer = await embedded_api.ask("POST", f"{MODELS}/create", {"name": "m"})
        assert (answer.status_code, answer.json()["error_code"]) == (status, "TEMPORARILY_UNAVAILABLE"), answer.text
        assert answer.headers["retry-after"]
    assert (await embedded_api.refused("GET", f"{MODELS}/get?name=m"))[0] == 404


async def test_without_a_provider_nobody_is_known(tmp_path: Path) -> None:
    """When no auth provider knows the caller, every call is a 401; probes and server-info need nobody."""
    async with opened(tmp_path, auth=()) as api:
        for method, path in (("GET", f"{MODELS}/get?name=m"), ("GET", f"{OWN}/resolve?uri=models:/m/1")):
            assert (await api.refused(method, path))[:2] == (401, "UNAUTHENTICATED")
        body = {"name": "m", "catalog_name": "c", "schema_name": "s"}
        answer = await api.ask("POST", f"{UNITY}/models", body)
        assert answer.status_code == 401 and "details" in answer.json() and "www-authenticate" in answer.headers
        assert (await api.ask("PUT", "/api/2.0/mlflow-artifacts/artifacts/a", b"x")).status_code == 401
        for path in ("/health", "/livez", "/version", "/metrics", "/api/3.0/mlflow/server-info"):
            assert (await api.ask("GET", path)).status_code == 200


class Cable:
    """A TCP connection to the database that can be pulled out and put back."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def plug(self) -> None:
        """Lets connections through."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def pull(self) -> None:
        """Breaks every connection, and refuses new ones."""
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._open |= {writer, far_writer}
        with contextlib.suppress(OSError):
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
async def cable(new_postgres_url: Any) -> AsyncIterator[tuple[Cable, str]]:
    """A cable to a fresh PostgreSQL database, and the URL of its near end."""
    url = make_url(new_postgres_url())
    carried = Cable(str(url.host), int(url.port or 5432))
    await carried.plug()
    yield carried, url.set(host="127.0.0.1", port=carried.port).render_as_string(hide_password=False)
    await carried.pull()


async def test_a_lost_database_is_told_and_survived(cable: tuple[Cable, str], tmp_path: Path) -> None:
    """Database gone: health says so, reads are 503, and what was not done is 429, with Retry-After."""
    line, url = cable
    logging.getLogger("tiltyard_registry.store.events.changes").setLevel(logging.ERROR)
    async with opened(tmp_path, database_url=url) as api:
        await api.model("m", versions=1)
        held = asyncio.create_task(api.ask("GET", f"{OWN}/resolve?uri=models:/m@champion&wait=5"))
        await line.pull()
        assert (await api.ask("GET", "/health")).status_code == 503
        assert (await api.ask("GET", "/livez")).status_code == 200
        for method, path, body in (
            ("GET", f"{MODELS}/get?name=m", None),
            ("POST", f"{MODELS}/create", {"name": "n"}),
            ("POST", f"{MLFLOW}/runs/create", {}),
            ("POST", f"{MLFLOW}/model-versions/create", {"name": "m", "source": "mlflow-artifacts:/m"}),
            ("GET", f"{OWN}/resolve?uri=models:/m/1", None),
        ):
            answer = await api.ask(method, path, body)
            status = 503 if method == "GET" else 429
            assert (answer.status_code, answer.json()["error_code"]) == (status, "TEMPORARILY_UNAVAILABLE"), answer.text
            assert int(answer.headers["retry-after"]) >= 1 and "127.0.0.1" not in answer.text
        await held
        await line.plug()

        async def well() -> bool:
            return (await api.ask("GET", "/health")).status_code == 200

        await until(well)
        assert (await api.ok("GET", f"{MODELS}/get?name=m"))["registered_model"]["name"] == "m"
        await until(lambda: not api.app.state.database.connections_in_use)


async def test_a_database_without_our_schema_is_not_ready(new_postgres_url: Any, tmp_path: Path) -> None:
    """On a database that nobody migrated the server is alive but not ready, says what to run, and then goes on."""
    from tiltyard_registry.store import migrations

    url = new_postgres_url(migrated=False)
    async with opened(tmp_path, database_url=url) as api:
        health = await api.ask("GET", "/health")
        assert health.status_code == 503 and "tiltyard migrate" in health.text
        status, code, message = await api.refused("GET", f"{MODELS}/get?name=m")
        assert (status, code) == (503, "TEMPORARILY_UNAVAILABLE") and "tiltyard migrate" in message
        await asyncio.to_thread(migrations.upgrade, url)
        assert (await api.ask("GET", "/health")).status_code == 200
        assert (await api.ask("POST", f"{MODELS}/create", b'{"name": "m"}', headers=JSON)).status_code == 200
