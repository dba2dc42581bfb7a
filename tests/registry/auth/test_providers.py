"""Who a request comes from, over HTTP, by every provider and both databases; and what the unknown are told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.fixtures.databases import BACKENDS, migrated_sqlite
from tests.fixtures.waiting import until
from tests.registry.api_app import MLFLOW, OWN, Api, opened
from tiltyard.telemetry.log_lines import LogStyle
from tiltyard_registry.auth.failures import EVERY_S, MOST, WITHIN_S, Failures
from tiltyard_registry.auth.layer import PUBLIC
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.principals import passwords, principals, tokens
from tiltyard_registry.store.sql.database import Database

OPERATOR = Principal("system", is_admin=True)
PASSWORD = "correct horse battery"
ANN = httpx2.BasicAuth("ann", PASSWORD)


@asynccontextmanager
async def _with_ann(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    """A registry that takes passwords and tokens, with an administrator `boss` and a user `ann`."""
    async with opened(folder, auth=("basic",), **settings) as api:
        for name, is_admin in (("boss", True), ("ann", False)):
            async with _database(api).write() as session:
                await principals.create_principal(session, OPERATOR, "user", name, is_admin=is_admin)
            await _set_password(api, name, PASSWORD)
        yield api


@pytest_asyncio.fixture(params=BACKENDS)
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    """The same over each database."""
    settings: dict[str, Any] = {}
    if request.param == "postgres":
        settings["database_url"] = request.getfixturevalue("emptied_postgres_url")()
    else:
        migrated_sqlite(tmp_path / "tiltyard.db")
    async with _with_ann(tmp_path, **settings) as api:
        yield api


def _database(api: Api) -> Database:
    found: Database = api.app.state.database
    return found


async def _set_password(api: Api, name: str, password: str) -> None:
    hash = await api.app.state.password_hashes.hash(password)
    async with _database(api).write() as session:
        await passwords.set_password(session, OPERATOR, name, hash)


async def _token(api: Api, **more: Any) -> tuple[str, int]:
    """The text and the id of a new token of Ann's."""
    made = await api.ok("POST", f"{OWN}/tokens", {"name": "t", **more}, auth=ANN)
    return made["token"], made["id"]


async def _me(api: Api, **options: Any) -> Any:
    answer = await api.ask("GET", f"{OWN}/me", **options)
    return answer.json() if answer.status_code == 200 else answer.status_code


def _bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def test_a_password_and_a_token_are_the_same_user(api: Api) -> None:
    """A token is taken as Bearer, and as the password of Basic beside whatever name."""
    text, id = await _token(api)
    assert await _me(api, auth=ANN) == {
        "name": "ann",
        "is_admin": False,
        "via": "basic",
        "groups": ["everyone"],
        "scopes": None,
    }
    for options in ({"headers": _bearer(text)}, {"auth": httpx2.BasicAuth("x-access-token", text)}):
        me = await _me(api, **options)
        assert (me["name"], me["via"], me["scopes"]) == ("ann", f"token {id}", ["read", "write"])


async def test_a_tokens_use_is_noted(api: Api) -> None:
    """Soon after the request, which does not wait for it."""
    text, id = await _token(api)
    assert (await _me(api, headers=_bearer(text)))["name"] == "ann"

    async def is_noted() -> bool:
        (row,) = (await api.ok("GET", f"{OWN}/tokens", auth=ANN))["tokens"]
        return row["id"] == id and row["last_used_at"] is not None

    await until(is_noted)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer nonsense",
        "Bearer tltp_" + "0" * 42,
        "Bearer " + "x" * 20_000,
        "Basic !!!!",
        "Basic YW5u",
        "Basic YW5uOndyb25n",
        "Basic " + "YQ" * 20_000,
        "Negotiate abc",
        "Basic bm9ib2R5Ondyb25n",
    ],
)
async def test_who_is_unknown_is_told_so_whatever_they_ask(api: Api, header: str) -> None:
    """By an address without a route too, and by one that they ask wrongly; what is public answers them."""
    headers = {"authorization": header} if header else {}
    texts = set()
    for method, path in (("GET", f"{MLFLOW}/runs/get"), ("POST", f"{MLFLOW}/runs/create"), ("GET", "/nowhere")):
        answer = await api.ask(method, path, b"{" if method == "POST" else None, headers=headers)
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"] == 'Bearer realm="tiltyard"'
        texts.add(answer.text)
    assert len(texts) == 1
    for path in PUBLIC:
        assert (await api.ask("GET", path, headers=headers)).status_code == 200, path
    assert (await api.ask("HEAD", f"{MLFLOW}/runs/get", headers=headers)).status_code == 401
    assert (await api.ask("OPTIONS", f"{MLFLOW}/runs/get", headers=headers)).status_code == 401


async def test_an_unknown_name_and_a_wrong_password_are_told_alike(api: Api) -> None:
    """Whether somebody is called so cannot be read from the answer."""
    answers = [await api.ask("GET", f"{OWN}/me", auth=httpx2.BasicAuth(name, "wrong")) for name in ("ann", "nobody")]
    assert answers[0].text == answers[1].text
    assert {answer.status_code for answer in answers} == {401}


async def test_what_made_somebody_known_ends_at_once(api: Api) -> None:
    """A token that is revoked, a password that is changed, a user who is active no more: the next is refused."""
    text, id = await _token(api)
    assert (await _me(api, headers=_bearer(text)))["name"] == "ann"
    await api.ok("DELETE", f"{OWN}/tokens/{id}", auth=ANN)
    assert await _me(api, headers=_bearer(text)) == 401
    new = "battery horse staple"
    refused = await api.ask(
        "PUT", f"{OWN}/principals/ann/password", {"password": new, "current_password": "x"}, auth=ANN
    )
    assert refused.status_code == 403
    await api.ok("PUT", f"{OWN}/principals/ann/password", {"password": new, "current_password": PASSWORD}, auth=ANN)
    assert await _me(api, auth=ANN) == 401
    ann = httpx2.BasicAuth("ann", new)
    assert (await _me(api, auth=ann))["name"] == "ann"
    boss = httpx2.BasicAuth("boss", PASSWORD)
    await api.ok("PATCH", f"{OWN}/principals/ann", {"is_active": False}, auth=boss)
    assert await _me(api, auth=ann) == 401


async def test_a_group_counts_from_the_next_request_on(api: Api) -> None:
    """Who is put into a group has its grants at once, and loses them at once."""
    boss = httpx2.BasicAuth("boss", PASSWORD)
    await api.ok("POST", f"{MLFLOW}/experiments/create", {"name": "e"}, auth=boss)
    asked = ("GET", f"{MLFLOW}/experiments/get-by-name?experiment_name=e")
    assert (await api.ask(*asked, auth=ANN)).status_code == 404
    found = await api.ok(*asked, auth=boss)
    await api.ok("POST", f"{OWN}/principals", {"kind": "group", "name": "team"}, auth=boss)
    grants = f"{OWN}/grants/experiment/{found['experiment']['experiment_id']}"
    await api.ok("PATCH", grants, {"changes": [{"principal": "team", "add": ["READ"]}]}, auth=boss)
    assert (await api.ask(*asked, auth=ANN)).status_code == 404
    await api.ok("PUT", f"{OWN}/groups/team/members/ann", auth=boss)
    assert (await api.ask(*asked, auth=ANN)).status_code == 200
    await api.ok("PATCH", grants, {"changes": [{"principal": "team", "remove": ["READ"]}]}, auth=boss)
    assert (await api.ask(*asked, auth=ANN)).status_code == 404
    await api.ok("PATCH", grants, {"changes": [{"principal": "team", "add": ["READ"]}]}, auth=boss)
    assert (await api.ask(*asked, auth=ANN)).status_code == 200
    await api.ok("DELETE", f"{OWN}/groups/team/members/ann", auth=boss)
    assert (await api.ask(*asked, auth=ANN)).status_code == 404


async def test_a_reading_token_changes_nothing(api: Api) -> None:
    """What its owner may change, it may not, and the answer says that the token is the reason."""
    text, _ = await _token(api, scopes=["read"])
    made = await api.ok("POST", f"{MLFLOW}/experiments/create", {"name": "mine"}, auth=ANN)
    asked = ("GET", f"{MLFLOW}/experiments/get?experiment_id={made['experiment_id']}")
    assert (await api.ask(*asked, headers=_bearer(text))).status_code == 200
    for path, body in (
        (f"{MLFLOW}/runs/create", {"experiment_id": made["experiment_id"]}),
        (f"{MLFLOW}/experiments/create", {"name": "other"}),
        (f"{MLFLOW}/registered-models/create", {"name": "m"}),
    ):
        status, code, message = await api.refused("POST", path, body, headers=_bearer(text))
        assert (status, code) == (403, "PERMISSION_DENIED")
        assert "The token of 'ann' is not for what takes" in message


async def test_a_token_that_introspects_sees_nothing(api: Api) -> None:
    """What its owner sees is to it as if it were not there."""
    text, _ = await _token(api, scopes=["introspect"])
    made = await api.ok("POST", f"{MLFLOW}/experiments/create", {"name": "mine"}, auth=ANN)
    asked = ("GET", f"{MLFLOW}/experiments/get?experiment_id={made['experiment_id']}")
    assert (await api.ask(*asked, auth=ANN)).status_code == 200
    assert (await api.ask(*asked, headers=_bearer(text))).status_code == 404
    found = await api.ok("POST", f"{MLFLOW}/experiments/search", {"max_results": 9}, headers=_bearer(text))
    assert found.get("experiments", []) == []


async def test_no_secret_is_in_the_log_or_in_an_event(
    tmp_path: Path, emptied_postgres_url: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither passwords, nor tokens, nor hashes, whether they were right or wrong; nor where the database is."""
    settings = {"database_url": emptied_postgres_url(), "access_log": True, "logs": LogStyle("json", "DEBUG")}
    async with _with_ann(tmp_path, **settings) as api:
        text, _ = await _token(api)
        await _me(api, headers=_bearer(text))
        await _me(api, headers=_bearer(text[:-1] + "0"))
        await _me(api, auth=httpx2.BasicAuth("ann", "a wrong password"))
        events = (await api.ask("GET", f"{OWN}/events", auth=httpx2.BasicAuth("boss", PASSWORD))).text
    # Written by the time that the application has ended.
    logged = capsys.readouterr().err
    assert "create-admin" in logged and f"{OWN}/me" in logged and "ann" in events
    for secret in (text, PASSWORD, "a wrong password", "argon2", "postgresql"):
        assert secret not in logged and secret not in events


async def test_wrong_passwords_slow_down_their_name_from_their_address_alone(api: Api) -> None:
    """After ten of them the right one has to wait too; a token goes on, and a pair that was known does."""
    text, _ = await _token(api)
    assert (await _me(api, auth=ANN))["name"] == "ann"
    await _set_password(api, "ann", "battery horse staple")
    wrong = httpx2.BasicAuth("ann", "a wrong password")
    told = [await _me(api, auth=wrong) for _ in range(MOST + 3)]
    assert told[:MOST] == [401] * MOST and 429 in told[MOST:]
    answer = await api.ask("GET", f"{OWN}/me", auth=httpx2.BasicAuth("ann", "battery horse staple"))
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    assert (await _me(api, headers=_bearer(text)))["name"] == "ann"
    assert (await _me(api, auth=httpx2.BasicAuth("boss", PASSWORD)))["name"] == "boss"


def test_a_name_is_tried_now_and_then_and_forgotten_in_time() -> None:
    """By the clock: one attempt in two seconds, and after five minutes as before; other addresses as ever."""
    now = 0.0
    failures, here, there = Failures(clock=lambda: now), ("ann", "a"), ("ann", "b")
    for _ in range(MOST):
        assert failures.wait_s(here) == 0
        failures.failed(here)
    assert [failures.wait_s(here) for _ in range(2)] == [0, EVERY_S]
    assert failures.wait_s(there) == 0
    now += EVERY_S
    assert [failures.wait_s(here) for _ in range(2)] == [0, EVERY_S]
    now += WITHIN_S
    assert [failures.wait_s(here) for _ in range(9)] == [0] * 9
    for number in range(20_000):
        failures.failed(("ann", str(number)))
    assert failures.wait_s(here) == 0


async def test_many_at_once_are_known_by_one_hash_at_a_time(api: Api) -> None:
    """A flood of passwords is refused past a bound, and the loop answers others meanwhile."""
    wrong = [httpx2.BasicAuth(f"nobody{number}", "a wrong password") for number in range(100)]
    answers, probe = await asyncio.gather(
        asyncio.gather(*(_me(api, auth=one) for one in wrong)), api.ask("GET", "/livez")
    )
    assert set(answers) == {401, 429}
    assert probe.status_code == 200


async def test_the_log_says_how_somebody_becomes_administrator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start with a provider while nobody is one says the command; the next one, when somebody is, does not."""
    migrated_sqlite(tmp_path / "tiltyard.db")
    async with opened(tmp_path, auth=("token",)) as api:
        async with _database(api).write() as session:
            await principals.create_principal(session, OPERATOR, "service", "boss", is_admin=True)
            made = await tokens.create_token(
                session, OPERATOR, "t", expires_in_days=1, most_days=1, scopes=("admin",), principal="boss"
            )
        assert (await _me(api, headers=_bearer(made.text)))["is_admin"]
        assert await _me(api, auth=ANN) == 401
    assert f"tiltyard users create-admin NAME --data-dir {tmp_path}" in capsys.readouterr().err
    async with opened(tmp_path, auth=("token",)):
        pass
    assert "create-admin" not in capsys.readouterr().err


async def test_a_database_without_our_schema_is_told_and_survived(
    tmp_path: Path, new_postgres_url: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The start goes on, says that access is not set up, and answers that the schema is missing."""
    async with opened(tmp_path, auth=("basic",), database_url=new_postgres_url(migrated=False)) as api:
        assert (await api.ask("GET", "/health")).status_code == 503
    assert "access is not set up yet" in capsys.readouterr().err
