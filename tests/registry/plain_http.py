"""One request over a real socket, and its JSON."""

import http.client
import json
from collections.abc import Mapping
from typing import Any


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=70)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def post(port: int, path: str, body: bytes) -> tuple[int, Any]:
    """Status and JSON of the answer to a POST of a JSON body."""
    status, _, answer = ask(port, "POST", path, body, {"content-type": "application/json"})
    return status, json.loads(answer)


def in_flight(port: int) -> float:
    """How many requests are under way at the service, beside the one that asks."""
    shown = ask(port, "GET", "/metrics")[2]
    return float(shown.partition(b"\ntiltyard_http_requests_in_flight ")[2].split()[0]) - 1
