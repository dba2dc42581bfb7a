"""MLflow's users and roles over HTTP: what administrators may ask, what users of themselves, and what they grant."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.fixtures.databases import BACKENDS, migrated_sqlite
from tests.registry.api_app import MLFLOW, OWN, Api, opened
from tiltyard_registry.rules.access import SYSTEM
from tiltyard_registry.store.principals import passwords, principals
from tiltyard_registry.store.sql.database import Database

MLFLOW3 = "/api/3.0/mlflow"
PASSWORD = "correct horse battery"
BOSS, ANN, BEN = (httpx2.BasicAuth(name, PASSWORD) for name in ("boss", "ann", "ben"))


@pytest_asyncio.fixture(params=BACKENDS)
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    """A registry that takes passwords, with the administrator `boss` and the users `ann` and `ben`."""
    settings: dict[str, Any] = {}
    if request.param == "postgres":
        settings["database_url"] = request.getfixturevalue("emptied_postgres_url")()
    else:
        migrated_sqlite(tmp_path / "tiltyard.db")
    async with opened(tmp_path, auth=("basic",), **settings) as api:
        database: Database = api.app.state.database
        hash = await api.app.state.password_hashes.hash(PASSWORD)
        for name, is_admin in (("boss", True), ("ann", False), ("ben", False)):
            async with database.write() as session:
                await principals.create_principal(session, SYSTEM, "user", name, is_admin=is_admin)
                await passwords.set_password(session, SYSTEM, name, hash)
        yield api


async def _level(api: Api, resource_type: str, resource_id: str, auth: httpx2.BasicAuth = BOSS) -> str:
    asked = {"username": "ben", "resource_type": resource_type, "resource_id": resource_id}
    found: str = (await api.ok("GET", f"{MLFLOW3}/users/permissions/get", params=asked, auth=auth))["permission"]
    return found


async def test_an_owner_grants_to_others_what_is_theirs(api: Api) -> None:
    """Who manages a model grants on it, with the way in, and that stays when the grant goes."""
    await api.ok("POST", f"{OWN}/principals", {"kind": "group", "name": "team"}, auth=BOSS)
    await api.ok("POST", f"{MLFLOW}/registered-models/create", {"name": "main.ml.iris"}, auth=BOSS)
    own = {"changes": [{"principal": "ann", "add": ["MANAGE"]}]}
    await api.ok("PATCH", f"{OWN}/grants/registered_model/main.ml.iris", own, auth=BOSS)
    resource = {"resource_type": "registered_model", "resource_id": "main.ml.iris"}
    given = {"username": "ben", **resource, "permission": "EDIT"}
    assert await api.refused("POST", f"{MLFLOW3}/users/permissions/grant", given, auth=BEN) == (
        404,
        "RESOURCE_DOES_NOT_EXIST",
        "There is no registered_model main.ml.iris.",
    )
    assert await _level(api, *resource.values(), auth=BEN) == "NO_PERMISSIONS"
    await api.ok("POST", f"{MLFLOW3}/users/permissions/grant", given, auth=ANN)
    assert await _level(api, *resource.values(), auth=BEN) == "EDIT"
    tag = {"name": "main.ml.iris", "key": "k", "value": "v"}
    await api.ok("POST", f"{MLFLOW}/registered-models/set-tag", tag, auth=BEN)
    for username in ("team", "nobody"):
        refused = await api.refused(
            "POST", f"{MLFLOW3}/users/permissions/grant", {**given, "username": username}, auth=ANN
        )
        assert refused[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    kept = await api.ok("GET", f"{OWN}/grants/registered_model/main.ml.iris", auth=BOSS)
    assert not [grant for grant in kept["grants"] if grant["principal"] == "team"]

    await api.ok("POST", f"{MLFLOW3}/users/permissions/revoke", {"username": "ben", **resource}, auth=ANN)
    assert await _level(api, *resource.values()) == "NO_PERMISSIONS"
    left = (await api.ok("GET", f"{OWN}/grants/schema/main.ml", auth=BOSS))["grants"]
    assert [one["privilege"] for one in left if one["principal"] == "ben"] == ["USE_SCHEMA"]
    events = (await api.ok("GET", f"{OWN}/events", params={"action": "update_permissions"}, auth=BOSS))["events"]
    told = [event["after"]["ben"] for event in events if "ben" in (event["after"] or {})]
    assert any(one and "USE_CATALOG on catalog main" in one for one in told)


async def test_a_level_is_told_by_whom_it_is_had_and_what_it_was_granted_on(api: Api) -> None:
    """A user's own levels and those of their roles, to themselves and to administrators."""
    made = await api.ok("POST", f"{MLFLOW}/experiments/create", {"name": "e"}, auth=ANN)
    experiment = made["experiment_id"]
    role = (await api.ok("POST", f"{MLFLOW3}/roles/create", {"workspace": "default", "name": "r"}, auth=BOSS))["role"]
    given = {"resource_type": "experiment", "resource_pattern": experiment, "permission": "READ"}
    await api.ok("POST", f"{MLFLOW3}/roles/permissions/add", {"role_id": role["id"], **given}, auth=BOSS)
    await api.ok("POST", f"{MLFLOW3}/roles/assign", {"role_id": role["id"], "username": "ann"}, auth=BOSS)
    me = await api.ok("GET", f"{MLFLOW}/users/current", auth=ANN)
    assert me["is_basic_auth"] and me["user"]["username"] == "ann"
    own = {"role_id": me["user"]["id"], "role_name": f"__user_{me['user']['id']}__", "workspace": "default"}
    told = await api.ok("GET", f"{MLFLOW3}/users/current/permissions", auth=ANN)
    assert told == {
        "is_admin": False,
        "permissions": [
            {**own, **given, "permission": "MANAGE"},
            {"role_id": role["id"], "role_name": "r", "workspace": "default", **given},
        ],
    }
    asked = {"params": {"username": "ann"}}
    assert await api.ok("GET", f"{MLFLOW3}/users/permissions/list", **asked, auth=BOSS) == told
    assert (await api.refused("GET", f"{MLFLOW3}/users/permissions/list", **asked, auth=BEN))[0] == 404
    for auth, names in ((BOSS, {"everyone", "r"}), (ANN, {"everyone", "r"}), (BEN, {"everyone"})):
        assert {one["name"] for one in (await api.ok("GET", f"{MLFLOW3}/roles/list", auth=auth))["roles"]} == names
    users = (await api.ok("GET", f"{MLFLOW}/users/list", auth=BOSS))["users"]
    assert [(one["username"], [r["name"] for r in one["roles"]]) for one in users] == [
        ("ann", ["r"]),
        ("ben", []),
        ("boss", []),
    ]
    assert [one["username"] for one in (await api.ok("GET", f"{MLFLOW}/users/list", auth=BEN))["users"]] == ["ben"]
    assert (await api.refused("GET", f"{MLFLOW3}/roles/get", params={"role_id": role["id"]}, auth=BEN))[0] == 404


async def test_a_user_gives_themselves_another_password_by_the_one_they_have(api: Api) -> None:
    """Without it, or with another, they do not; an administrator gives others one without."""
    path, new = f"{MLFLOW}/users/update-password", "another long one"
    for body in ({}, {"current_password": "wrong"}):
        refused = await api.refused("PATCH", path, {"username": "ann", "password": new, **body}, auth=ANN)
        assert refused[:2] == (403, "PERMISSION_DENIED")
    same = {"username": "ann", "password": PASSWORD, "current_password": PASSWORD}
    assert (await api.refused("PATCH", path, same, auth=ANN))[0] == 400
    assert await api.ok("PATCH", path, {**same, "password": new}, auth=ANN) == {}
    assert (await api.ask("GET", f"{OWN}/me", auth=ANN)).status_code == 401
    await api.ok("PATCH", path, {"username": "ann", "password": PASSWORD}, auth=BOSS)
    assert (await api.ask("GET", f"{OWN}/me", auth=ANN)).status_code == 200


async def test_administrators_come_and_go_but_one_is_left(api: Api) -> None:
    """Nobody removes themselves; who owns something is not removed, and a role is no user."""
    await api.ok("PATCH", f"{MLFLOW}/users/update-admin", {"username": "ann", "is_admin": True}, auth=BOSS)
    await api.ok("PATCH", f"{MLFLOW}/users/update-admin", {"username": "boss", "is_admin": False}, auth=ANN)
    last = {"username": "ann", "is_admin": False}
    assert (await api.refused("PATCH", f"{MLFLOW}/users/update-admin", last, auth=ANN))[0] == 409
    assert (await api.refused("DELETE", f"{MLFLOW}/users/delete", {"username": "ann"}, auth=ANN))[:2] == (
        400,
        "BAD_REQUEST",
    )
    await api.ok("POST", f"{MLFLOW}/experiments/create", {"name": "e"}, auth=BEN)
    assert (await api.refused("DELETE", f"{MLFLOW}/users/delete", {"username": "ben"}, auth=ANN))[:2] == (
        409,
        "RESOURCE_CONFLICT",
    )
    await api.ok("POST", f"{MLFLOW3}/roles/create", {"workspace": "default", "name": "r"}, auth=ANN)
    for username in ("r", "nobody"):
        assert (await api.refused("DELETE", f"{MLFLOW}/users/delete", {"username": username}, auth=ANN))[0] == 404
        assert (await api.refused("GET", f"{MLFLOW}/users/get", params={"username": username}, auth=ANN))[0] == 404
    assert await api.ok("DELETE", f"{MLFLOW}/users/delete", {"username": "boss"}, auth=ANN) == {}


async def test_a_role_may_not_take_the_name_of_another_or_that_of_everybody(api: Api) -> None:
    """Users and groups share their names; the group of everybody stays as it is, but may be granted to."""
    path = f"{MLFLOW3}/roles"
    role = (await api.ok("POST", f"{path}/create", {"workspace": "default", "name": "r"}, auth=BOSS))["role"]
    asked = {"role_id": role["id"], "name": "ann"}
    assert (await api.refused("PATCH", f"{path}/update", asked, auth=BOSS))[1] == "RESOURCE_ALREADY_EXISTS"
    listed = (await api.ok("GET", f"{path}/list", auth=BOSS))["roles"]
    (everyone,) = (one for one in listed if one["name"] == "everyone")
    assert [one["permission"] for one in everyone["permissions"]] == ["EDIT"]
    for method, verb in (("PATCH", "update"), ("DELETE", "delete")):
        body = {"role_id": everyone["id"], "name": "all"}
        assert (await api.refused(method, f"{path}/{verb}", body, auth=BOSS))[1] == "INVALID_PARAMETER_VALUE"
    assert (await api.refused("PATCH", f"{path}/update", {"role_id": role["id"]}, auth=BOSS))[0] == 400
    for wrong in ("", "x/experiment/0", f"{role['id']}/experiment/0", "9" * 30):
        asked = {"role_permission_id": wrong}
        status = (await api.refused("DELETE", f"{path}/permissions/remove", asked, auth=BOSS))[0]
        assert status == (404 if wrong else 400)
