"""Every route with a parameter in its path, given every kind of nonsense there, over a real socket."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from litestar.routes import HTTPRoute

from tests.fixtures.services import Service
from tests.registry.plain_http import ask
from tiltyard_registry.app import create_app
from tiltyard_registry.settings import RegistrySettings

NASTY = [
    "..", "%2e%2e", "%252e%252e", "%25252e%25252e", "..%2f..%2fetc%2fpasswd", "..%5c..%5c", "%2e%2e%2f%2e%2e%2f",
    "%2fetc%2fpasswd", "file:%2f%2f%2fetc%2fpasswd", "%00", "a%00b", "a;b", "a%3fb", "a%23b", "%0d%0aset-cookie:x",
    "%ff%fe", "%ed%a0%80", "%e2%80%ae", "%ef%bc%8e%ef%bc%8e", "%5c%5chost%5cshare", "C:%5cx", "'%20OR%201=1--",
    "%7b%7b7*7%7d%7d", "%3cscript%3e", "x" * 4000, "%20", "-1", "99999999999999999999", "null", "%25", "%",
]  # fmt: skip


@cache
def routes() -> list[tuple[str, str]]:
    """Method and template of every route whose path takes a parameter."""
    with TemporaryDirectory() as folder:
        app = create_app(RegistrySettings(data_dir=Path(folder)))
    return sorted(
        (method, route.path_format)
        for route in app.routes
        if isinstance(route, HTTPRoute) and route.path_parameters
        for method in route.methods
        if method not in ("OPTIONS", "HEAD")
    )


@pytest.mark.parametrize("nasty", NASTY, ids=lambda value: value[:24])
def test_nothing_in_a_path_makes_the_server_fail(shared_registry: Service, nasty: str) -> None:
    """The answer is a refusal in JSON, or a list that is empty; it holds no file, no foreign header, no 5xx."""
    assert len(routes()) > 25
    for method, template in routes():
        parts = [nasty if part.startswith("{") else part for part in template.split("/")]
        body = None if method == "GET" else b"{}"
        headers = {"content-type": "application/json"} if body else {}
        status, answered, said = ask(shared_registry.port, method, "/".join(parts), body, headers)
        assert status == 200 or 400 <= status < 500, (method, template, status, said)
        assert "set-cookie" not in answered and b"root:" not in said
        assert answered["content-type"] == "application/json", (method, template, said)
        assert status == 200 or json.loads(said)["message"]
