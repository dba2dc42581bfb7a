"""Pages of other sites are kept away from the scoring service, on every way that a request may take."""

from pathlib import Path

import pytest

from tests.serving.http_calls import request
from tests.serving.in_process import Headers, running
from tests.serving.saved_models import IRIS, SETOSA, constant
from tests.serving.scoring.test_connection import GOOD, answers, connect
from tests.serving.scoring.test_connection import IRIS as DIRECT_PATH
from tiltyard.errors import InvalidParameterValue
from tiltyard_serving.app import create_app
from tiltyard_serving.settings import ServingSettings

BODY = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}
V2_BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}]}
ENDPOINTS = "/api/tiltyard/v1/endpoints"
REQUESTS = [
    ("GET", ENDPOINTS, b""),
    ("GET", "/api/tiltyard/v1/models", b""),
    ("PUT", f"{ENDPOINTS}/m", {"served_entities": []}),
    ("DELETE", f"{ENDPOINTS}/m", b""),
    ("POST", "/invocations", BODY),
    ("POST", "/model/m/1/invocations", BODY),
    ("POST", "/v2/models/m/infer", V2_BODY),
]
REBOUND = [("Host", "rebound.example:5001"), ("Origin", "http://rebound.example:5001")]


@pytest.mark.parametrize("headers", [REBOUND, REBOUND[:1], [("Host", "[::2]")], [("Host", "here"), REBOUND[1]]])
async def test_a_host_that_is_none_of_ours_is_refused(headers: Headers, tmp_path: Path) -> None:
    """A page under a name that suddenly means this machine can neither read nor change; probes answer anyway."""
    constant(tmp_path / "one", 1)
    async with running(models=(f"m={tmp_path / 'one'}",)) as app:
        for method, path, body in REQUESTS:
            answer = await app.request(method, path, body, headers)
            assert answer.status == 403, path
            assert "--allowed-hosts" in (answer.json["error"] if path.startswith("/v2") else answer.json["message"])
        for path in ("/health", "/livez", "/readyz", "/ping", "/metrics", "/version", "/v2/health/live"):
            assert (await app.request("GET", path, headers=headers)).status == 200
        assert (await app.request("GET", ENDPOINTS)).json["endpoints"] != []


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example"])
async def test_a_page_of_another_site_changes_and_asks_nothing(origin: str, tmp_path: Path) -> None:
    """Requests with the Origin of another site are refused; pages of this machine may ask."""
    constant(tmp_path / "one", 1)
    async with running(models=(f"m={tmp_path / 'one'}",)) as app:
        for method, path, body in REQUESTS:
            if method != "GET":
                assert (await app.request(method, path, body, [("Origin", origin)])).status == 403, path
        assert (await app.request("POST", "/invocations", BODY, [("Sec-Fetch-Site", "cross-site")])).status == 403
        assert (await app.request("POST", "/invocations", BODY, [("Origin", "http://localhost:3000")])).status == 200


@pytest.mark.parametrize("media_type", ["text/plain", "text/plain; charset=utf-8", "multipart/form-data; boundary=x"])
async def test_what_a_form_can_send_is_not_read(media_type: str, tmp_path: Path) -> None:
    """A body that any page may send without asking first is a 415 under /v2/, as it is for /invocations."""
    constant(tmp_path / "one", 1)
    async with running(models=(f"m={tmp_path / 'one'}",)) as app:
        for path, body in (("/v2/models/m/infer", V2_BODY), ("/invocations", BODY)):
            assert (await app.request("POST", path, body, [("Content-Type", media_type)])).status == 415


async def test_allowed_hosts_are_ours(tmp_path: Path) -> None:
    """A name that the operator gives may be used, by pages too."""
    constant(tmp_path / "one", 1)
    async with running(models=(f"m={tmp_path / 'one'}",), allowed_hosts=("Ml.example:443", "*.team.example")) as app:
        for host, status in (("ml.example", 200), ("a.team.example:5001", 200), ("team.example", 403), ("x.y", 403)):
            headers = [("Host", host), ("Origin", f"https://{host}")]
            assert (await app.request("POST", "/invocations", BODY, headers)).status == status, host


def test_names_that_no_host_can_have_are_refused_at_the_start() -> None:
    """A setting that could have no effect is told at once, with its name."""
    with pytest.raises(InvalidParameterValue, match="allowed_hosts"):
        create_app(ServingSettings(allowed_hosts=("https://ml.example",)))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: evil.example\r\n", 403),
        ("Host: 127.0.0.1\r\nOrigin: http://evil.example\r\n", 403),
        ("Host: evil\r\nHost: 127.0.0.1\r\n", 400),
        ("Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", 400),
        ("Host: 127.0.0.1\r\n", 200),
        ("Host: serving\r\n", 200),
    ],
)
def test_both_ways_look_at_host_and_origin(headers: str, status: int, port: int) -> None:
    """A request answered on its connection is judged as any other, the first time and once its head is known."""
    sent = (
        f"Content-Length: {len(GOOD)}\r\n\r\n".encode() + GOOD,
        f"Transfer-Encoding: chunked\r\n\r\n{len(GOOD):x}\r\n".encode() + GOOD + b"\r\n0\r\n\r\n",
    )
    for rest in sent:
        with connect(port) as connection:
            for _ in range(3):
                head = f"POST {DIRECT_PATH} HTTP/1.1\r\n{headers}Content-Type: application/json\r\n"
                connection.sendall(head.encode() + rest)
                assert [answer[0] for answer in answers(connection)] == [status]


def test_head_is_answered_wherever_get_is(port: int) -> None:
    """The same status and length, and no body; where only POST is allowed, the same refusal."""
    for path in ("/health", "/livez", "/readyz", "/ping", "/version", "/metrics", "/api/tiltyard/v1/models", "/v2"):
        head, full = request(port, "HEAD", path), request(port, "GET", path)
        assert (head.status, head.body) == (full.status, b"") == (200, b""), path
        assert head.headers["content-type"] == full.headers["content-type"]
    assert request(port, "HEAD", "/invocations").status == 405
    assert request(port, "HEAD", "/nothing").status == 404
