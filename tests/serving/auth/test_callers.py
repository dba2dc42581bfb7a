"""Who may have predictions, asked on every way in."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.waiting import until
from tests.serving.in_process import App, running
from tests.serving.saved_models import IRIS, SETOSA, constant
from tests.serving.scoring.test_connection import JSON, Wire, chunked, connection_of, direct
from tiltyard_serving.api.documentation import scoring_paths
from tiltyard_serving.auth.callers import Caller, Headers
from tiltyard_serving.endpoints.endpoint import Endpoint, Member
from tiltyard_serving.endpoints.entities import asked_for
from tiltyard_serving.models.served_model import ServedModel

BODY = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}
TENSORS = {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.5]} for name in IRIS]}
PATHS = [path for path, item in scoring_paths() if item.post is not None and not path.startswith("/v2/repository")]


class Tokens:
    """Knows who says a token, and lets those have predictions who are not shut out."""

    def __init__(self) -> None:
        self.shut_out: set[str] = set()

    def of(self, headers: Headers) -> Caller | None:
        """Who has the token of the header `authorization`."""
        token = dict(headers).get(b"authorization")
        return None if token is None else Caller(token.decode())

    def may_score(self, caller: Caller, model: ServedModel) -> bool:
        """Whether they are not shut out."""
        return caller.name not in self.shut_out and model.ready


@pytest.fixture
def callers() -> Tokens:
    """Who the service of `app` knows."""
    tokens = Tokens()
    tokens.shut_out.add("bob")
    return tokens


@asynccontextmanager
async def asked(callers: Tokens, tmp_path: Path) -> AsyncIterator[App]:
    """A service of one model, found as the endpoint `m` and as version 1 of the registered model `m`."""
    constant(tmp_path / "one", 1)
    async with running(callers, models=(f"m={tmp_path / 'one'}",)) as app:
        endpoints, names = app.app.state.endpoints, asked_for("m", "1")
        assert names is not None
        [served] = endpoints.named("m")
        endpoints.add(Endpoint("registered", [Member(names, served, 100)], app.app.state.telemetry))
        yield app


def filled(path: str, app: App) -> str:
    """A path of the documentation that names the model."""
    version = app.app.state.endpoints.named("m").members[0].served.slot.current.version
    return path.format(name="m", selector="1", version=version)


async def test_every_scoring_path_asks_who_it_is_and_whether_they_may(tmp_path: Path, callers: Tokens) -> None:
    """401 for who does not say, 403 for who may not, and predictions for the others."""
    async with asked(callers, tmp_path) as app:
        for path in PATHS:
            body = TENSORS if path.startswith("/v2") else BODY
            for token, status in ((None, 401), ("bob", 403), ("ann", 200)):
                headers = [] if token is None else [("Authorization", token)]
                answer = await app.request("POST", filled(path, app), body, headers)
                assert answer.status == status, (path, answer.body)
                if status != 200:
                    assert ("error" if path.startswith("/v") else "error_code") in answer.json


@pytest.mark.parametrize("form", [direct, chunked])
@pytest.mark.parametrize("path", ["/invocations", "/serving-endpoints/m/invocations"])
async def test_a_connection_asks_for_each_request(form: Any, path: str, callers: Tokens, tmp_path: Path) -> None:
    """However often the same head has come, and whoever was answered before: who is shut out meanwhile is refused."""
    async with asked(callers, tmp_path) as app:
        wire, connection = Wire(), connection_of(app)
        connection.connection_made(wire)
        sent = 0

        async def status(token: str | None) -> int:
            nonlocal sent
            sent += 1
            headers = JSON if token is None else f"{JSON}Authorization: {token}\r\n"
            connection.data_received(form(json.dumps(BODY).encode(), path, headers))
            await until(lambda: connection.cycle is None or connection.cycle.response_complete)
            found = re.findall(rb"HTTP/1\.1 (\d+)", b"".join(wire.written))
            assert len(found) == sent
            return int(found[-1])

        for _ in range(2):
            assert [await status(token) for token in (None, "bob", "ann", "ann")] == [401, 403, 200, 200]
        callers.shut_out.add("ann")
        assert await status("ann") == 403
        connection.timeout_keep_alive_task.cancel()
