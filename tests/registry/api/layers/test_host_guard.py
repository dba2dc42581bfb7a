"""Pages of other sites are kept away, whoever they say they are; probes always pass."""

import json
from pathlib import Path

import pytest

from tests.registry.api_app import JSON, MODELS, OWN, Api, opened
from tiltyard.errors import InvalidParameterValue
from tiltyard.server.host_guard import Names, parse_allowed_hosts

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


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("host", LOCAL)
async def test_every_name_of_this_machine_is_its_name(laptop_api: Api, host: str) -> None:
    """Loopback names and addresses pass in any spelling and with any port."""
    assert (await laptop_api.ask("GET", GET, headers={"host": host})).status_code == 404


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("host", FOREIGN)
async def test_a_foreign_host_is_refused_and_probes_are_not(laptop_api: Api, host: str) -> None:
    """A name that resolves here but is not ours is a 403 that names the setting; health and metrics answer anyway."""
    status, code, message = await laptop_api.refused("GET", GET, headers={"host": host})
    assert (status, code) in ((403, "PERMISSION_DENIED"), (400, "INVALID_PARAMETER_VALUE"))
    assert status == 400 or "--allowed-hosts" in message
    for path in ("/health", "/livez", "/readyz", "/startupz", "/metrics", "/version"):
        if host and " " not in host:
            assert (await laptop_api.ask("GET", path, headers={"host": host})).status_code == 200


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://localhost.evil.example", "null", "http://evil.example:5000"]
)
async def test_a_foreign_page_changes_nothing(laptop_api: Api, origin: str) -> None:
    """A request that changes something and comes from another site's page is refused, whatever it carries."""
    for method, path in (
        ("POST", f"{MODELS}/create"),
        ("PUT", f"{OWN}/models/m/aliases/a"),
        ("DELETE", f"{MODELS}/delete"),
    ):
        body = b'{"name": "m", "version": "1"}'
        status, code, message = await laptop_api.refused(method, path, body, headers={**JSON, "origin": origin})
        assert (status, code) == (403, "PERMISSION_DENIED") and "--allowed-hosts" in message
    upload = "/api/2.0/mlflow-artifacts/artifacts/x"
    assert (await laptop_api.refused("PUT", upload, b"x", headers={"origin": origin}))[0] == 403
    assert (await laptop_api.refused("POST", f"{MODELS}/create", b"", headers={"sec-fetch-site": "cross-site"}))[
        0
    ] == 403
    assert (await laptop_api.ask("GET", GET, headers={"origin": origin})).status_code == 404


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:5000", "http://[::1]:1"])
async def test_a_page_of_this_machine_may(laptop_api: Api, origin: str) -> None:
    """Pages of this machine, on any port, may change things."""
    body = json.dumps({"name": f"by-{origin.rpartition(':')[2]}"}).encode()
    answer = await laptop_api.ask("POST", f"{MODELS}/create", body, headers={**JSON, "origin": origin})
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


@pytest.mark.parametrize(
    ("given", "means"),
    [
        (("mlflow.example:5000",), ("mlflow.example",)),
        (("mlflow.example:*", "[::1]:5000", "::1"), ("mlflow.example", "::1", "::1")),
        (("a.example,B.example.", " c "), ("a.example", "b.example", "c")),
        (("b\u00fccher.example", "*", ""), ("xn--bcher-kva.example", "*")),
    ],
)
def test_names_are_understood_as_other_servers_write_them(given: tuple[str, ...], means: tuple[str, ...]) -> None:
    """With a port, with commas, in capitals or in another alphabet."""
    assert parse_allowed_hosts(given) == means


@pytest.mark.parametrize(
    "given", ["http://ml.example", "ml.example/x", "a b", "ml.example:x", "[::1", "..", "a..b", "a:1:2"]
)
def test_a_name_that_no_host_can_have_is_refused(given: str) -> None:
    """What could never match anything is told at the start, and by which setting."""
    with pytest.raises(InvalidParameterValue, match="--allowed-hosts"):
        parse_allowed_hosts([given])


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("*.example", "ml.example", "example"),
        (".example", "a.b.example", "example"),
        ("10.0.*", "10.0.3.4", "10.1.0.1"),
        ("ml-*.example", "ml-1.example", "mlx1.example"),
        ("mlflow.example:5000", "mlflow.example", "a.mlflow.example"),
    ],
)
def test_patterns_stand_for_names(pattern: str, inside: str, outside: str) -> None:
    """`*` is any characters, a dot at the beginning all names below."""
    names = Names("127.0.0.1", (pattern,))
    assert names.is_host(inside) and names.is_origin(inside, None)
    assert not names.is_host(outside) and not names.is_origin(outside, None)


@pytest.mark.asyncio(loop_scope="module")
async def test_two_hosts_are_none(laptop_api: Api) -> None:
    """A request with two Host headers, or two Origins, is a 400, whichever of them is ours."""
    for name, values in (
        ("host", ("evil", "127.0.0.1")),
        ("host", ("127.0.0.1", "evil")),
        ("origin", ("null", "null")),
    ):
        headers = [(name, value) for value in values]
        assert (await laptop_api.refused("GET", GET, headers=headers))[:2] == (400, "BAD_REQUEST")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_program_may_use_a_short_name_and_a_page_may_not(laptop_api: Api) -> None:
    """A name without a dot is one of the local network; whatever a browser sends gives itself away."""
    host = {"host": "registry:5000"}
    assert (await laptop_api.ask("POST", f"{MODELS}/create", b'{"name": "m"}', headers=JSON | host)).status_code == 200
    for sign in ({"origin": "http://registry:5000"}, {"sec-fetch-site": "same-origin"}, {"referer": "http://registry"}):
        found = await laptop_api.refused("POST", f"{MODELS}/create", b"{}", headers=JSON | host | sign)
        assert found[:2] == (403, "PERMISSION_DENIED")
    assert (await laptop_api.refused("GET", GET, headers=host))[0] == 403
