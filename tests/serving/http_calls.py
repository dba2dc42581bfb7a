"""Requests to a running service, down to the headers, and answers that are checked to be strict JSON."""

import http.client
import json
from dataclasses import dataclass
from typing import Any, NoReturn


def _refuse(token: str) -> NoReturn:
    raise AssertionError(f"{token} is not JSON")


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as strict JSON: bare NaN and Infinity are refused."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body, parse_constant=_refuse)

    @property
    def predictions(self) -> Any:
        """The predictions of a good answer."""
        assert self.status == 200, self.body
        assert list(self.json) == ["predictions"]
        return self.json["predictions"]

    def refusal(self) -> tuple[int, str]:
        """Status and error code of an answer in the protocol's error shape."""
        error = self.json
        assert {"error_code", "message"} <= set(error) <= {"error_code", "message", "sqlstate", "error_class"}
        return self.status, error["error_code"]


def request(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    timeout_s: float = 30.0,
) -> Answer:
    """The answer to one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def score(port: int, body: Any, path: str = "/invocations", content_type: str | None = "application/json") -> Answer:
    """The answer to one scoring request; a body that is no text is sent as JSON."""
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    headers = {} if content_type is None else {"Content-Type": content_type}
    return request(port, "POST", path, data, headers)


def in_flight(port: int) -> float:
    """How many scoring requests are under way at the service."""
    shown = request(port, "GET", "/metrics").body
    return float(shown.partition(b"\ntiltyard_serving_requests_in_flight ")[2].split()[0])
