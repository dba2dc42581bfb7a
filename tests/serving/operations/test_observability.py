"""What a running service says about itself: phases of a request, liveness, readiness, logs."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from tests.fixtures.services import Service
from tests.serving.http_calls import request, score
from tests.serving.in_process import App, running
from tests.serving.saved_models import IRIS, SETOSA, constant
from tests.serving.scoring.test_connection import GOOD, answers, connect
from tests.serving.scoring.test_connection import IRIS as DIRECT_PATH
from tiltyard_serving.app import create_app
from tiltyard_serving.settings import ServingSettings

BODY = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}
V2_BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}]}
PHASES = ("parse", "validate", "queue", "predict", "encode")
TIMING = re.compile(", ".join(rf"{phase};dur=(\d+\.\d+)" for phase in PHASES))


async def test_every_answer_says_where_its_time_went(tmp_path: Path) -> None:
    """`Server-Timing` has the phases in milliseconds, and the histograms have counted them."""
    constant(tmp_path / "one", 1)
    async with running(models=(f"default={tmp_path / 'one'}",)) as app:
        for path, body in (("/invocations", BODY), ("/v2/models/default/infer", V2_BODY)):
            answer = await app.request("POST", path, body)
            assert answer.status == 200, answer.body
            found = TIMING.fullmatch(answer.headers["server-timing"])
            assert found is not None
            assert all(0 < float(phase) < 10_000 for phase in found.groups())
        refused = await app.request("POST", "/invocations", b"{")
        assert "server-timing" not in refused.headers
        metrics = (await app.request("GET", "/metrics")).body.decode()
        for phase in PHASES:
            [line] = [
                line for line in metrics.splitlines() if line.startswith(f"tiltyard_serving_{phase}_seconds_count")
            ]
            assert line.endswith(" 2.0")


async def test_live_before_ready(tmp_path: Path) -> None:
    """A process is live at once and ready when its models are loaded and warmed."""
    constant(tmp_path / "one", 1)
    app = App(create_app(ServingSettings(models=(str(tmp_path / "one"),))))
    async with app.app.lifespan():
        assert (await app.request("GET", "/livez")).status == 200
        assert (await app.request("GET", "/readyz")).status == 503
        assert (await app.request("GET", "/v2/health/ready")).status == 503
        await app.until_ready()
        assert (await app.request("GET", "/readyz")).status == 200
        assert (await app.request("GET", "/v2/health/ready")).status == 200


def test_logs_are_json_with_the_callers_request_id(server: Service) -> None:
    """Every line is one JSON object; a refusal that the model caused carries the request's id and the cause."""
    body = json.dumps({"dataframe_split": {"columns": ["do"], "data": [["divide"]]}}).encode()
    headers = {"Content-Type": "application/json", "X-Request-Id": "the-seventh.call"}
    path = "/serving-endpoints/obedient/invocations"
    failed = request(server.port, "POST", path, body, headers)
    assert (failed.status, failed.json["request_id"]) == (500, "the-seventh.call")
    assert score(server.port, BODY).status == 200
    lines = [json.loads(line) for line in server.logs.splitlines() if line.startswith("{")]
    [line] = [line for line in lines if line.get("request_id") == "the-seventh.call"]
    assert line["level"] == "ERROR"
    assert "ZeroDivisionError" in line["error"]
    assert {"time", "level", "logger", "message"} <= set(lines[0])


@pytest.mark.parametrize(
    "form", ["Content-Length: {}\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n"]
)
def test_the_callers_name_for_a_request_comes_back(form: str, port: int) -> None:
    """`x-request-id` is echoed on answers and on refusals, on both ways; who gives none gets none."""
    for body, status in ((GOOD.decode(), 200), ("{}", 400)):
        for named in ("X-Request-Id: the-eighth\r\n", ""):
            head = f"POST {DIRECT_PATH} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n{named}"
            with connect(port) as connection:
                connection.sendall((head + form.format(len(body), body)).encode())
                ((found, headers, _),) = answers(connection)
            assert (found, headers.get("x-request-id")) == (status, "the-eighth" if named else None)


async def test_requests_are_logged_where_that_is_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line each, of successes too, with the version that answered and the caller's name for it."""
    constant(tmp_path / "one", 1)
    caplog.set_level("INFO", "tiltyard_serving.access")
    for access_log in (False, True):
        async with running(models=(f"default={tmp_path / 'one'}",), access_log=access_log) as app:
            for body in (BODY, b"{"):
                await app.request("POST", "/invocations", body, [("X-Request-Id", "nine")])
            await app.request("POST", "/v1/models/default:predict", BODY, [("X-Request-Id", "nine")])
            await asyncio.sleep(0)
            lines = [record for record in caplog.records if record.name == "tiltyard_serving.access"]
            assert len(lines) == (3 if access_log else 0)
    assert re.fullmatch(r"POST /invocations 200 \d+\.\d\d ms default/\S+", lines[0].getMessage())
    assert re.match(r"POST /invocations 400 ", lines[1].getMessage())
    assert re.match(r"POST /v1/models/default:predict 200 ", lines[2].getMessage())
    assert {getattr(line, "request_id", None) for line in lines} == {"nine"}


async def test_predictions_stay_out_of_the_event_loop_where_that_is_asked_for(tmp_path: Path) -> None:
    """Without inline predictions each model answers in its own thread alone."""
    constant(tmp_path / "one", 1)
    async with running(models=(f"default={tmp_path / 'one'}",), inline_predictions=False) as app:
        for _ in range(5):
            assert (await app.request("POST", "/invocations", BODY)).predictions == [1]
        assert "tiltyard_serving_slow_inline_predictions" in (await app.request("GET", "/metrics")).body.decode()
