"""Tokens over both databases: made, listed, rotated, revoked, and what they are for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.registry.store_house import House
from tiltyard.errors import InvalidParameterValue, PermissionDenied, ResourceDoesNotExist
from tiltyard_registry.rules.access import Principal, Privilege, Scope
from tiltyard_registry.rules.principals.names import PrincipalKind
from tiltyard_registry.rules.principals.tokens import ALPHABET, RANDOM_CHARS, hash_of, is_token, is_whole, token_text
from tiltyard_registry.store.principals import principals, tokens
from tiltyard_registry.store.principals.callers import caller_of_token, note_use
from tiltyard_registry.store.sql.session import now_ms
from tiltyard_registry.tables.principals import tokens as table

DEFAULT = {"expires_in_days": 90, "most_days": 365, "scopes": ("read", "write")}


async def _token(house: House, name: str = "robot", **more: object) -> tokens.NewToken:
    await house.do(principals.create_principal, "service", name)
    return await house.do(tokens.create_token, "t", **{**DEFAULT, **more, "principal": name})


async def _knows(house: House, made: tokens.NewToken) -> Principal | None:
    return await caller_of_token(house.database, hash_of(made.text))


@given(st.text(ALPHABET, min_size=RANDOM_CHARS, max_size=RANDOM_CHARS), st.data())
def test_a_typing_error_makes_it_no_token(random: str, data: st.DataObject) -> None:
    """Any one character that is another is noticed without a look into the database."""
    text = token_text(PrincipalKind.USER, random)
    assert is_token(text) and is_whole(text)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(ALPHABET).filter(lambda one: one != text[at]))
    assert not is_whole(text[:at] + other + text[at + 1 :])
    assert not is_whole(text[:-1])


async def test_a_token_is_its_owner_until_it_ends(house: House) -> None:
    """Revoked, or past its time, or of somebody who is active no more, it is nobody."""
    made = await _token(house)
    who = await _knows(house, made)
    assert who is not None
    assert (who.name, who.is_admin, who.via, who.scopes) == (
        "robot",
        False,
        f"token {made.row['id']}",
        {"read", "write"},
    )
    await house.do(principals.update_principal, "robot", is_active=False)
    assert await _knows(house, made) is None
    await house.do(principals.update_principal, "robot", is_active=True)
    assert await _knows(house, made) is not None
    await house.do(tokens.revoke_token, made.row["id"])
    await house.do(tokens.revoke_token, made.row["id"])
    assert await _knows(house, made) is None
    other = await house.do(tokens.create_token, "u", **DEFAULT, principal="robot")
    async with house.database.write() as session:
        await session.execute(table.update().values(expires_at=now_ms()))
    assert await _knows(house, other) is None


async def test_a_token_is_kept_as_a_hash_and_shown_by_its_start(house: House) -> None:
    """Neither the list nor the database nor an event has the text; its use is noted."""
    made = await _token(house)
    for _ in range(2):
        await note_use(house.database, hash_of(made.text))
    (row,) = await house.see(tokens.list_tokens, limit=9)
    assert (row["prefix"], row["name"], row["principal"]) == (made.text[:10], "t", "robot")
    assert row["last_used_at"] is not None
    async with house.database.read() as session:
        (kept,) = await session.all(table.select())
    assert made.text not in str(dict(kept)) and kept["hash"] == hash_of(made.text)


async def test_a_rotated_token_goes_on_for_its_grace(house: House) -> None:
    """The one that follows is for the same; with no grace the old one ends at once."""
    made = await _token(house, scopes=("introspect",))
    follower = await house.do(tokens.rotate_token, made.row["id"], grace_s=3600)
    assert follower.row["scopes"] == "introspect"
    assert await _knows(house, made) is not None and await _knows(house, follower) is not None
    last = await house.do(tokens.rotate_token, follower.row["id"], grace_s=0)
    assert await _knows(house, follower) is None and await _knows(house, last) is not None
    with pytest.raises(InvalidParameterValue, match="good no more"):
        await house.do(tokens.rotate_token, follower.row["id"], grace_s=0)


async def test_an_administrators_token_without_that_scope_is_like_others(house: House) -> None:
    """A token never gives more than its scopes, whoever its owner is."""
    await house.do(principals.create_principal, "service", "boss", is_admin=True)
    for scopes, is_admin in ((("read", "write"), False), (("admin",), True)):
        made = await house.do(tokens.create_token, "t", **{**DEFAULT, "scopes": scopes}, principal="boss")
        who = await _knows(house, made)
        assert who is not None and who.is_admin is is_admin


def test_a_scope_covers_what_it_says() -> None:
    """To see and read takes `read`, to change `write`, which reads too, to introspect that; `admin` covers all."""
    P = Privilege
    for scope, covered in (
        (Scope.READ, {P.READ, P.EXECUTE, P.BROWSE}),
        (Scope.WRITE, {P.READ, P.EXECUTE, P.BROWSE, P.EDIT, P.MANAGE, P.SET_ALIAS, P.CREATE_MODEL}),
        (Scope.INTROSPECT, {P.INTROSPECT}),
        (Scope.ADMIN, {P.READ, P.EXECUTE, P.BROWSE, P.EDIT, P.MANAGE, P.SET_ALIAS, P.CREATE_MODEL, P.INTROSPECT}),
    ):
        who = Principal("a", id=1, grantees=(1,), scopes=frozenset({scope}))
        asked = (P.READ, P.EXECUTE, P.BROWSE, P.EDIT, P.MANAGE, P.SET_ALIAS, P.CREATE_MODEL, P.INTROSPECT)
        assert {one for one in asked if who.grantees_for(one)} == covered
        assert who.grantees_for(Privilege(0)) == (() if scope is Scope.INTROSPECT else (1,))


async def test_tokens_are_ones_own_or_a_services(house: House) -> None:
    """Of others' nothing is told; users make their own, and with a token none that may do more than it."""
    made = await _token(house)
    ben = await house.do(principals.create_principal, "user", "ben")
    who = Principal("ben", id=ben["id"], grantees=(ben["id"],))
    async with house.database.write() as session:
        own = await tokens.create_token(session, who, "mine", **DEFAULT)
        assert [row["name"] for row in await tokens.list_tokens(session, who, limit=9)] == ["mine"]
        for door in (tokens.revoke_token, tokens.rotate_token):
            with pytest.raises(ResourceDoesNotExist):
                await door(session, who, made.row["id"], **({"grace_s": 0} if door is tokens.rotate_token else {}))
        with pytest.raises(PermissionDenied):
            await tokens.create_token(session, who, "x", **DEFAULT, principal="robot")
        reading = Principal("ben", id=ben["id"], grantees=(ben["id"],), scopes=frozenset({"read"}))
        with pytest.raises(PermissionDenied, match="more than itself"):
            await tokens.create_token(session, reading, "x", **DEFAULT)
    with pytest.raises(InvalidParameterValue, match="users"):
        await house.do(tokens.create_token, "x", **DEFAULT, principal="ben")
    assert own.text.startswith("tltp_") and made.text.startswith("tlts_")


@pytest.mark.parametrize(
    ("name", "value"), [("expires_in_days", 0), ("expires_in_days", 366), ("scopes", ("all",)), ("scopes", ())]
)
async def test_what_a_token_cannot_be_is_refused_by_its_name(house: House, name: str, value: object) -> None:
    """The message names the parameter."""
    with pytest.raises(InvalidParameterValue, match=f"'{name}'"):
        await _token(house, **{name: value})
