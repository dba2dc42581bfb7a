"""Users, services and groups over both databases, and who is in which group."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.registry.store_house import ALICE, House
from tiltyard.errors import (
    InvalidParameterValue,
    PermissionDenied,
    ResourceAlreadyExists,
    ResourceConflict,
    ResourceDoesNotExist,
    TiltyardError,
)
from tiltyard_registry.auth.password_hashes import PasswordHashes
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.names import check_new_principal
from tiltyard_registry.store import access
from tiltyard_registry.store.events import history
from tiltyard_registry.store.models import registered_models
from tiltyard_registry.store.principals import callers, memberships, passwords, principals
from tiltyard_registry.store.principals.default_grants import begin_access
from tiltyard_registry.store.principals.grants import list_grants


async def _make(house: House, **kinds: str) -> dict[str, int]:
    """Principals by name, each of its kind; their ids."""
    made = {name: await house.do(principals.create_principal, kind, name) for name, kind in kinds.items()}
    return {name: row["id"] for name, row in made.items()}


async def _grantees(house: House, id: int) -> set[int]:
    async with house.database.read() as session:
        return set(await callers.grantees_of(session, id))


async def test_a_principal_is_made_changed_and_removed_and_events_tell(house: House) -> None:
    """A name is one principal's, whatever their kind; what is removed may be made anew, and is another."""
    first = await house.do(principals.create_principal, "user", "ann", display_name="Ann")
    assert (first["kind"], first["is_active"], first["is_admin"]) == ("user", True, False)
    with pytest.raises(ResourceAlreadyExists):
        await house.do(principals.create_principal, "group", "ann")
    changed = await house.do(principals.update_principal, "ann", is_active=False)
    assert (changed["is_active"], changed["display_name"]) == (False, "Ann")
    await house.do(principals.delete_principal, "ann")
    with pytest.raises(ResourceDoesNotExist):
        await house.see(principals.get_principal, "ann")
    again = await house.do(principals.create_principal, "service", "ann")
    assert again["id"] > first["id"]
    events, _ = await house.see(history.search_events)
    assert [event["action"] for event in events if event["name"] == "ann"] == [
        "create_principal",
        "delete_principal",
        "update_principal",
        "create_principal",
    ]


@pytest.mark.parametrize(
    "name", ["everyone", "system", "anonymous", "", " a", "a ", "a/b", "a:b", "a,b", "a\n", "..", "x" * 256]
)
def test_a_name_that_could_be_misread_is_refused(name: str) -> None:
    """Reserved ones, those with separators of paths and of Basic credentials, blanks at an end, control characters."""
    with pytest.raises(InvalidParameterValue, match="'name'"):
        check_new_principal("user", name)


@given(st.text(max_size=20))
def test_whatever_a_name_is_it_is_taken_or_refused(name: str) -> None:
    """A name that is taken can be part of a path and of credentials as it is."""
    try:
        check_new_principal("user", name)
    except InvalidParameterValue:
        return
    assert name.strip() == name != ""
    assert not set(name) & set("/:,\n\0")


async def test_an_administrator_is_always_left(house: House) -> None:
    """The last one who is active is neither removed, nor made inactive, nor an administrator no more."""
    await house.do(principals.create_principal, "user", "ann", is_admin=True)
    await house.do(principals.create_principal, "user", "ben", is_admin=True)
    await house.do(principals.update_principal, "ben", is_active=False)
    for refused in (
        house.do(principals.update_principal, "ann", is_active=False),
        house.do(principals.update_principal, "ann", is_admin=False),
        house.do(principals.delete_principal, "ann"),
    ):
        with pytest.raises(ResourceConflict, match="No administrator would be left"):
            await refused
    await house.do(principals.update_principal, "ben", is_active=True)
    await house.do(principals.delete_principal, "ann")


async def test_who_owns_something_is_removed_when_somebody_else_shall_own_it(house: House) -> None:
    """Nothing is left without an owner by accident."""
    ids = await _make(house, ann="user", team="group")
    ann = Principal("ann", id=ids["ann"], grantees=(ids["ann"],), is_admin=True)
    async with house.database.write() as session:
        await registered_models.create_registered_model(session, ann, "m")
    with pytest.raises(ResourceConflict, match="owns 1 securables"):
        await house.do(principals.delete_principal, "ann")
    await house.do(principals.delete_principal, "ann", reassign_to="team")
    owners = await house.see(list_grants, "registered_model", "m")
    assert [(one.principal, one.privilege) for one in owners] == [("team", access.Privilege.OWNER)]


async def test_groups_nest_and_never_in_a_circle(house: House) -> None:
    """What is granted to a group counts for the members of the groups in it."""
    ids = await _make(house, ann="user", inner="group", outer="group")
    await house.do(memberships.add_member, "inner", "ann")
    await house.do(memberships.add_member, "inner", "ann")
    await house.do(memberships.add_member, "outer", "inner")
    assert await _grantees(house, ids["ann"]) == set(ids.values())
    for group, member in (("inner", "outer"), ("outer", "outer")):
        with pytest.raises(InvalidParameterValue, match="in itself"):
            await house.do(memberships.add_member, group, member)
    with pytest.raises(ResourceDoesNotExist):
        await house.do(memberships.add_member, "ann", "inner")
    assert [row["name"] for row in await house.see(memberships.list_members, "outer", limit=9)] == ["inner"]
    await house.do(memberships.remove_member, "outer", "inner")
    assert await _grantees(house, ids["ann"]) == {ids["ann"], ids["inner"]}


async def test_who_is_no_administrator_finds_themselves_alone(house: House) -> None:
    """Others are to them as if they were not there, and a group that they are not in too."""
    ids = await _make(house, ann="user", ben="user", team="group")
    await house.do(memberships.add_member, "team", "ben")
    async with house.database.write() as session:
        ann = Principal("ann", id=ids["ann"], grantees=(ids["ann"],))
        ben = Principal("ben", id=ids["ben"], grantees=(ids["ben"], ids["team"]))
        assert [row["name"] for row in await principals.list_principals(session, ann, limit=9)] == ["ann"]
        assert (await principals.get_principal(session, ann, "ann"))["name"] == "ann"
        texts = []
        for name in ("ben", "nobody"):
            with pytest.raises(ResourceDoesNotExist) as hidden:
                await principals.get_principal(session, ann, name)
            texts.append(str(hidden.value).replace(name, "?"))
        assert texts[0] == texts[1]
        assert [row["name"] for row in await memberships.list_members(session, ben, "team", limit=9)] == ["ben"]
        with pytest.raises(ResourceDoesNotExist):
            await memberships.list_members(session, ann, "team", limit=9)
        for refused in (
            principals.create_principal(session, ann, "user", "x"),
            principals.update_principal(session, ann, "ann", is_admin=True),
            principals.delete_principal(session, ann, "ben"),
            memberships.add_member(session, ann, "team", "ann"),
            memberships.remove_member(session, ann, "team", "ben"),
        ):
            with pytest.raises(PermissionDenied, match="is no administrator"):
                await refused


async def test_a_password_is_given_by_its_owner_or_an_administrator(house: House) -> None:
    """The owner says the one that they have, which a token cannot; of groups and services there is none."""
    ids = await _make(house, ann="user", ben="user", robot="service")
    ann = Principal("ann", id=ids["ann"], grantees=(ids["ann"],))
    hashes = PasswordHashes()
    new = await passwords.new_hash(house.database, hashes, ALICE, "ann", "correct horse battery")
    with pytest.raises(PermissionDenied, match="is no administrator"):
        await passwords.new_hash(house.database, hashes, ann, "ben", "correct horse battery")
    for name in ("ann", "ben"):
        await house.do(passwords.set_password, name, new)
    for current in (None, "", "wrong"):
        with pytest.raises(PermissionDenied, match="'current_password'"):
            await passwords.new_hash(house.database, hashes, ann, "ann", "battery horse staple", current)
    await passwords.new_hash(house.database, hashes, ann, "ann", "battery horse staple", "correct horse battery")
    with_token = Principal("ann", id=ids["ann"], grantees=(ids["ann"],), scopes=frozenset({"write"}))
    async with house.database.write() as session:
        with pytest.raises(PermissionDenied, match="is no administrator"):
            await passwords.set_password(session, ann, "ben", new)
        with pytest.raises(PermissionDenied, match="A token"):
            await passwords.set_password(session, with_token, "ann", new)
    with pytest.raises(InvalidParameterValue, match="users alone"):
        await house.do(passwords.set_password, "robot", new)
    events, _ = await house.see(history.search_events)
    assert new not in str(events)


async def test_everybody_gets_once_what_stock_clients_need(house: House) -> None:
    """What is taken back of it stays taken back at the next start, and the group cannot be changed."""
    await begin_access(house.database, with_grants=True)
    granted = await house.see(list_grants, "schema", "workspace.default")
    assert [(one.principal, one.privilege.name) for one in granted] == [
        ("everyone", "USE_SCHEMA"),
        ("everyone", "CREATE_MODEL"),
    ]
    async with house.database.write() as session:
        for row in granted:
            await session.execute(access.grants.delete().where(access.grants.c.securable_id == row.securable.id))
    await begin_access(house.database, with_grants=True)
    assert await house.see(list_grants, "schema", "workspace.default") == []
    for refused in (
        house.do(principals.delete_principal, "everyone"),
        house.do(principals.update_principal, "everyone", is_active=False),
        house.do(memberships.add_member, "everyone", "everyone"),
    ):
        with pytest.raises(TiltyardError):
            await refused
