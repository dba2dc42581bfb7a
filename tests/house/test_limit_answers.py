"""Each limit of the README's table, gone over by a little: the answer has the table's status, names limit and value."""

import asyncio
import gzip
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.fixtures.databases import migrated_sqlite
from tests.fixtures.waiting import until
from tests.house.test_limits import ROWS
from tests.pyfunc.payload.columnar_bombs import arrow
from tests.registry.api_app import MLFLOW, opened
from tests.serving.in_process import App, running
from tests.serving.saved_models import IRIS, SETOSA, constant, obedient
from tests.serving.scoring.test_arriving_bodies import Plug
from tiltyard.pyfunc.payload.columnar.arrow import ARROW_STREAM
from tiltyard.server.settings import ConnectionTimeouts

Seen = tuple[int, str]
"""The status of an answer, and its message."""

ROW = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}
PLAIN = json.dumps(ROW).encode()


async def told(app: App, body: Any, **headers: str) -> Seen:
    """What one request is answered."""
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    answer = await app.request("POST", "/invocations", body, sent)
    return answer.status, answer.body.decode()


async def ask_twice(app: App) -> Seen:
    """What the second of two requests is answered, that come at once: the first one takes a long time."""
    body = {"dataframe_split": {"columns": ["do"], "data": [["sleep 1"]]}}
    first = asyncio.create_task(told(app, body))
    served = app.app.state.endpoints.named("default").members[0].served
    await until(lambda: served.slot.current.queued_requests)
    answer = await told(app, body)
    await first
    return answer


def of(body: Any, **headers: str) -> Callable[[App], Coroutine[Any, Any, Seen]]:
    """Asks with one body."""
    return lambda app: told(app, body, **headers)


TEXTS = arrow(pa.array(np.zeros(2000)))
SERVING: dict[str, tuple[Any, Callable[[App], Coroutine[Any, Any, Seen]]]] = {
    "--max-body-bytes": (100, of(PLAIN.ljust(101))),
    "--max-inflated-bytes": (100, of(gzip.compress(PLAIN.ljust(101)), content_encoding="gzip")),
    "--max-arriving-bytes": (70_000, of(PLAIN.ljust(80_000))),
    "--max-rows": (1, of({"dataframe_split": {"columns": IRIS, "data": [SETOSA] * 2}})),
    "--max-columns": (3, of(b"a,b,c,d\n1,2,3,4\n", content_type="text/csv")),
    "--max-values": (3, of(ROW)),
    "--max-table-bytes": (1000, of(TEXTS, content_type=ARROW_STREAM)),
    "--max-nesting": (3, of({"inputs": [[[1]]]})),
    "--max-answer-bytes": (5, of(ROW)),
    "--request-timeout-s": (0.1, of({"dataframe_split": {"columns": ["do"], "data": [["sleep 1"]]}})),
    "--queue-requests": (1, ask_twice),
    "--queue-rows": (1, ask_twice),
}
SLOW = {"--request-timeout-s", "--queue-requests", "--queue-rows"}

MANY = [{"key": f"k{number}", "value": "v"} for number in range(3)]
POINTS = [{"key": "m", "value": 1.0, "timestamp": 0, "step": step} for step in range(3)]
CREATE = f"{MLFLOW}/registered-models/create"
REGISTRY: dict[str, tuple[int, tuple[tuple[str, Any], ...]]] = {
    "--max-body-bytes": (100, ((CREATE, {"name": "m", "description": "d" * 100}),)),
    "--max-arriving-bytes": (70_000, ((CREATE, {"name": "m", "description": "d" * 80_000}),)),
    "--max-values": (10, ((CREATE, {"name": "m", "tags": MANY}),)),
    "--max-request-entries": (2, ((CREATE, {"name": "m", "tags": MANY}),)),
    "--max-params-per-run": (2, (("runs/log-batch", {"params": MANY}),)),
    "--max-tags-per-run": (2, (("runs/log-batch", {"tags": MANY}),)),
    "--max-points-per-run": (2, (("runs/log-batch", {"metrics": POINTS}),)),
    "--max-runs-per-experiment": (1, (("runs/create", {"experiment_id": "0"}),)),
}


def named(flag: str) -> str:
    """The setting of a flag."""
    return flag.removeprefix("--").replace("-", "_")


def rows(*services: str) -> list[Any]:
    """The rows of the table for these services."""
    return [pytest.param(flag, answer, id=flag) for service, flag, _, _, answer in ROWS if service in services]


def check(flag: str, value: Any, answer: str, seen: Seen) -> None:
    """The answer is the one that the table tells, and its message names limit and value."""
    status, message = seen
    assert str(status) == answer, message
    assert f"'{named(flag)}'" in message
    assert f"{value:g}" in message or str(value) in message


@pytest.mark.parametrize(("flag", "answer"), rows("serving"))
async def test_an_answer_of_the_scoring_service_names_its_limit(flag: str, answer: str, tmp_path: Path) -> None:
    """Every limit of the scoring service in the table has its case here, and each says which it is."""
    value, ask = SERVING[flag]
    model = tmp_path / "one"
    if flag in SLOW:
        obedient(model)
    else:
        constant(model, 1)
    async with running(models=(f"default={model}",), **{named(flag): value}) as app:
        check(flag, value, answer, await ask(app))


@pytest.mark.parametrize(("flag", "answer"), rows("registry"))
async def test_an_answer_of_the_registry_names_its_limit(flag: str, answer: str, tmp_path: Path) -> None:
    """Every limit of the registry in the table has its case here, and each says which it is."""
    value, [(path, body)] = REGISTRY[flag]
    migrated_sqlite(tmp_path / "tiltyard.db")
    async with opened(tmp_path, **{named(flag): value}) as api:
        if not path.startswith("/"):
            path = f"{MLFLOW}/{path}"
            run = await api.ok("POST", f"{MLFLOW}/runs/create", {"experiment_id": "0"})
            body = body if "experiment_id" in body else {**body, "run_id": run["run"]["info"]["run_id"]}
        refused = await api.ask("POST", path, body)
    check(flag, value, answer, (refused.status_code, refused.text))


@pytest.mark.parametrize(("flag", "answer"), rows("both"))
async def test_a_connection_is_ended_as_the_table_says(flag: str, answer: str, tmp_path: Path) -> None:
    """A head that does not come is answered, with the limit's name; a connection that idles is closed."""
    constant(tmp_path / "one", 1)
    patience = {
        "--slow-client-s": ConnectionTimeouts(slow_client_s=0.01),
        "--keep-alive-s": ConnectionTimeouts(keep_alive_s=0),
    }[flag]
    async with running(models=(f"default={tmp_path / 'one'}",)) as app:
        plug = Plug(app, patience)
        if flag == "--slow-client-s":
            plug.bring(b"POST /invocations HTTP/1.1\r\nHost:", 100)
        await until(lambda: plug.closed)
        if answer == "closed":
            assert plug.written == []
        else:
            check(flag, 0.01, answer, (int(plug.written[0].split()[1]), plug.written[0].decode()))
