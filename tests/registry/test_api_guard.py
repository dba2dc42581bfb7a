"""Pages of other sites are kept away, whoever they say they are; probes always pass."""

from pathlib import Path

import pytest

from tests.registry.api_app import JSON, MODELS, OWN, Api, opened
from tiltyard_registry.api.guard import Names

GET = f"{MODELS}/get?name=gone"
LOCAL = [
    "localhost",
    "LOCALHOST:5000",
    "localhost.",
    "127.0.0.1",
    "127.0.0.1:81",
    "127.8.9.1",
    "[::1]",
    "[::1]:5000",
    "a.localhost",
]
FOREIGN = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example:5000",
    "[::2]",
    "10.0.0.1",
    "",
    "x y",
]


@pytest.mark.parametrize("host", LOCAL)
async def test_every_name_of_this_machine_is_its_name(embedded_api: Api, host: str) -> None:
    """Loopback names and addresses pass in any spelling and with any port."""
    assert (await embedded_api.ask("GET", GET, headers={"host": host})).status_code == 404


@pytest.mark.parametrize("host", FOREIGN)
async def test_a_foreign_host_is_refused_and_probes_are_not(embedded_api: Api, host: str) -> None:
    """A name that resolves here but is not ours is a 403 that names the setting; health and metrics answer anyway."""
    status, code, message = await embedded_api.refused("GET", GET, headers={"host": host})
    assert (status, code) in ((403, "PERMISSION_DENIED"), (400, "INVALID_PARAMETER_VALUE"))
    assert status == 400 or "--allowed-hosts" in message
    for path in ("/health", "/livez", "/readyz", "/startupz", "/metrics", "/version"):
        if host and " " not in host:
            assert (await embedded_api.ask("GET", path, headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://localhost.evil.example", "null", "http://evil.example:5000"]
)
async def test_a_foreign_page_changes_nothing(embedded_api: Api, origin: str) -> None:
    """A request that changes something and comes from another site's page is refused, whatever it carries."""
    for method, path in (
        ("POST", f"{MODELS}/create"),
        ("PUT", f"{OWN}/models/m/aliases/a"),
        ("DELETE", f"{MODELS}/delete"),
    ):
        body = b'{"name": "m", "version": "1"}'
        status, code, message = await embedded_api.refused(method, path, body, headers={**JSON, "origin": origin})
        assert (status, code) == (403, "PERMISSION_DENIED") and "--allowed-hosts" in message
    upload = "/api/2.0/mlflow-artifacts/artifacts/x"
    assert (await embedded_api.refused("PUT", upload, b"x", headers={"origin": origin}))[0] == 403
    assert (await embedded_api.refused("POST", f"{MODELS}/create", b"", headers={"sec-fetch-site": "cross-site"}))[
        0
    ] == 403
    assert (await embedded_api.ask("GET", GET, headers={"origin": origin})).status_code == 404


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:5000", "http://[::1]:1"])
async def test_a_page_of_this_machine_may(embedded_api: Api, origin: str) -> None:
    """Pages of this machine, on any port, may change things."""
    body = b'{"name": "m"}'
    answer = await embedded_api.ask("POST", f"{MODELS}/create", body, headers={**JSON, "origin": origin})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_simple_requests_change_nothing(embedded_api: Api, media_type: str) -> None:
    """What a form can send without asking first is never read as a body."""
    answer = await embedded_api.ask("POST", f"{MODELS}/create", b'{"name": "m"}', headers={"content-type": media_type})
    assert answer.status_code == 400
    assert (await embedded_api.ask("GET", f"{MODELS}/get?name=m")).status_code == 404


async def test_named_hosts_are_allowed(tmp_path: Path) -> None:
    """`allowed_hosts` lets names in, with everything below a name that starts with a dot."""
    async with opened(tmp_path, allowed_hosts=("Registry.example", ".cluster.local")) as api:
        for host, status in (
            ("registry.example:80", 404),
            ("a.cluster.local", 404),
            ("evil.example", 403),
            ("127.0.0.1", 404),
        ):
            assert (await api.ask("GET", GET, headers={"host": host})).status_code == status
        headers = {**JSON, "host": "registry.example", "origin": "https://ui.cluster.local"}
        assert (await api.ask("POST", f"{MODELS}/create", b'{"name": "m"}', headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("bound_to", "allowed", "name", "is_host", "is_origin"),
    [
        ("127.0.0.1", (), "localhost", True, True),
        ("127.0.0.1", (), "evil.example", False, False),
        ("127.0.0.1", ("*",), "evil.example", True, True),
        ("0.0.0.0", (), "registry.svc", True, False),
        ("0.0.0.0", (), "localhost", True, False),
        ("0.0.0.0", ("registry.svc",), "registry.svc", True, True),
        ("0.0.0.0", ("registry.svc",), "evil.example", False, False),
        ("::", (".svc",), "registry.svc", True, True),
        ("::1", (), "::1", True, True),
    ],
)
def test_names_follow_from_where_the_server_listens(
    bound_to: str, allowed: tuple[str, ...], name: str, is_host: bool, is_origin: bool
) -> None:
    """Beyond loopback any Host passes until names are given; a foreign Origin passes only by name."""
    names = Names(bound_to, allowed)
    assert names.is_host(name) == is_host
    assert names.is_origin(name, "the.host") == is_origin
    assert names.is_origin("the.host", "the.host")
