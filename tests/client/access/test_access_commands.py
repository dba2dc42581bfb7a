"""Users, groups, tokens and grants by the command line, against a running registry."""

import uuid
from pathlib import Path

import pytest

from tests.client.access.conftest import PASSWORD, Run, parsed
from tests.fixtures.services import Service
from tiltyard.client import AsyncClient, Client
from tiltyard.client.address import Credentials
from tiltyard.errors import PermissionDenied, Unauthenticated
from tiltyard.wire.v1.access import GrantChange


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"u{uuid.uuid4().hex[:12]}"


def test_a_user_from_creation_to_deletion(tiltyard: Run, name: str, tmp_path: Path) -> None:
    """Each command says what is so now, and what was typed is shown by none."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    made = tiltyard("users", "create", name, "--display-name", "Ann", "--password-file", str(file))
    assert made.output == f"'{name}' is known as a user.\n"
    shown = parsed(tiltyard("users", "show", name, "--json"))
    assert (shown["display_name"], shown["admin"], shown["active"], shown["created_by"]) == ("Ann", False, True, "boss")
    assert parsed(tiltyard("users", "show", "--json", by=name))["known_by"] == "basic"
    assert parsed(tiltyard("users", "update", name, "--admin", "--json"))["admin"] is True
    assert name in [row["name"] for row in parsed(tiltyard("users", "list", "--kind", "user", "--json"))]
    tiltyard("users", "update", name, "--no-admin", "--inactive")
    assert tiltyard("users", "show", by=name, status=1).output.startswith("Error: ")
    assert tiltyard("users", "delete", name).output == f"'{name}' is known no more.\n"
    assert "does not exist" in tiltyard("users", "show", name, status=1).output


def test_passwords_are_asked_for_and_changed(tiltyard: Run, name: str, guarded: Service) -> None:
    """One's own takes the current one, another's takes an administrator; neither is printed."""
    new = "another long password"
    made = tiltyard("users", "create", name, typed=f"{PASSWORD}\n{PASSWORD}\n")
    wrong = tiltyard("users", "password", name, by=name, typed=f"wrong password\n{new}\n{new}\n", status=1)
    own = tiltyard("users", "password", name, by=name, typed=f"{PASSWORD}\n{new}\n{new}\n")
    with Client(guarded.url, credentials=Credentials(username=name, password=new)) as client:
        assert client.me().name == name
    theirs = tiltyard("users", "password", name, "--password-file", "-", typed=f"{PASSWORD}\n")
    assert tiltyard("users", "show", by=name).exit_code == 0
    said = made.output + wrong.output + own.output + theirs.output
    assert PASSWORD not in said
    assert new not in said
    assert tiltyard("users", "password", "boss", by=name, typed=f"{new}\n{new}\n", status=1).output


def test_groups_and_their_members(tiltyard: Run, name: str) -> None:
    """A group is made, filled, emptied and deleted, and is no user."""
    tiltyard("groups", "create", name, "--display-name", "Clinic")
    tiltyard("users", "create", f"{name}-s", "--service")
    tiltyard("groups", "add", name, f"{name}-s")
    assert [row["name"] for row in parsed(tiltyard("groups", "members", name, "--json"))] == [f"{name}-s"]
    assert {"name": name, "display_name": "Clinic"} in parsed(tiltyard("groups", "list", "--json"))
    assert name not in [row["name"] for row in parsed(tiltyard("users", "list", "--json"))]
    tiltyard("groups", "remove", name, f"{name}-s")
    assert tiltyard("groups", "members", name).output == f"Nobody is in '{name}'.\n"
    assert "tiltyard groups" in tiltyard("users", "delete", name, status=1).output
    assert "tiltyard users" in tiltyard("groups", "delete", f"{name}-s", status=1).output
    tiltyard("groups", "delete", name)


def test_a_token_is_shown_once(tiltyard: Run, name: str, guarded: Service) -> None:
    """It is all of standard output when it is made and when it is rotated, and in no list."""
    tiltyard("users", "create", name, "--service")
    made = tiltyard("tokens", "create", "nightly", "--principal", name, "--scope", "read", "--days", "7")
    text = made.stdout.strip()
    assert made.stdout == f"{text}\n"
    with Client(guarded.url, credentials=Credentials(token=text)) as client:
        assert (client.me().name, client.me().scopes) == (name, ["read"])
    listed = tiltyard("tokens", "list", "--principal", name, "--json")
    [row] = parsed(listed)
    assert (row["name"], row["scopes"], row["revoked"]) == ("nightly", ["read"], None)
    assert text.startswith(row["prefix"])
    rotated = parsed(tiltyard("tokens", "rotate", str(row["id"]), "--grace-s", "0", "--json"))
    assert rotated["token"].startswith(rotated["prefix"])
    tiltyard("tokens", "revoke", str(rotated["id"]))
    with Client(guarded.url, credentials=Credentials(token=rotated["token"])) as client, pytest.raises(Unauthenticated):
        client.me()
    shown = tiltyard("tokens", "list", "--json").output + tiltyard("tokens", "list").output + listed.output
    assert text not in shown
    assert rotated["token"] not in shown


def test_grants_and_why_they_count(tiltyard: Run, name: str, boss: Client) -> None:
    """What is granted to a group on a schema is why its member may do it on a model there."""
    model = f"main.{name}.tumor"
    boss.create_registered_model(model)
    tiltyard("groups", "create", name)
    tiltyard("users", "create", f"{name}-s", "--service")
    tiltyard("groups", "add", name, f"{name}-s")
    tiltyard("grants", "add", "schema", f"main.{name}", name, "EXECUTE", "USE_SCHEMA")
    added = parsed(
        tiltyard("grants", "add", "registered_model", model, name, "SET_ALIAS", "--name", "champion", "--json")
    )
    limited = {
        "principal": name,
        "privilege": "SET_ALIAS",
        "type": "registered_model",
        "full_name": model,
        "names": ["champion"],
    }
    assert added == [limited]
    assert limited in parsed(tiltyard("grants", "show", "registered_model", model, "--json"))
    words = ("grants", "why", "registered_model", model, "--principal", f"{name}-s", "--privilege", "EXECUTE")
    [found] = parsed(tiltyard(*words, "--json"))
    assert (found["principal"], found["type"], found["full_name"]) == (name, "schema", f"main.{name}")
    removed = tiltyard("grants", "remove", "registered_model", model, name, "SET_ALIAS")
    assert removed.output == f"Nothing is granted to '{name}'.\n"
    assert "names" in tiltyard("grants", "show", "metastore", "metastore").output.lower()


def test_what_is_not_allowed_is_one_line(tiltyard: Run, name: str) -> None:
    """Who may not is told so, and not that the server is another."""
    tiltyard("users", "create", name, "--password-file", "-", typed=f"{PASSWORD}\n")
    said = tiltyard("users", "create", "more", "--service", by=name, status=1).output
    assert said == f"Error: Principal '{name}' is no administrator, which making somebody known takes.\n"
    assert "Credentials are missing" in tiltyard("users", "list", by=None, status=1).output


async def test_the_client_for_async_with_has_the_same_calls(guarded: Service, name: str) -> None:
    """Principals, memberships, tokens and grants by awaiting them."""
    async with AsyncClient(guarded.url, credentials=Credentials(username="boss", password=PASSWORD)) as client:
        await client.create_principal("user", name, password=PASSWORD)
        await client.update_principal(name, display_name="Ann")
        assert (await client.get_principal(name)).display_name == "Ann"
        assert (await client.list_principals(kind="user", max_results=1)).next_page_token
        change = GrantChange(name, add=["READ"])
        granted = await client.change_grants("metastore", "metastore", [change])
        assert (name, "READ") in [(one.principal, one.privilege) for one in granted]
        assert [one.privilege for one in await client.get_grants("metastore", "metastore", principal=name)] == ["READ"]
        assert await client.effective_permissions("experiment", "0", principal=name, privilege="READ")
        made = await client.create_token("mine")
        assert made.id in [one.id for one in (await client.list_tokens(principal="boss")).tokens]
        await client.revoke_token((await client.rotate_token(made.id)).id)
        await client.delete_principal(name)
    async with AsyncClient(guarded.url, credentials=Credentials(token=made.token)) as client:
        assert (await client.me()).scopes == ["read", "write"]
        with pytest.raises(PermissionDenied):
            await client.set_password("boss", PASSWORD, current_password=PASSWORD)
