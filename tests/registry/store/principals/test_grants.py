"""Grants over both databases: given, taken back, told, explained, and limited to aliases and stages."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.registry.store_house import House
from tiltyard.errors import InvalidParameterValue, PermissionDenied, ResourceDoesNotExist
from tiltyard_registry.rules.access import GRANTABLE, Kind, Principal
from tiltyard_registry.rules.principals.grants import names_of, parse_privilege
from tiltyard_registry.store.events import history
from tiltyard_registry.store.models import aliases, model_versions, registered_models
from tiltyard_registry.store.principals import memberships, principals
from tiltyard_registry.store.principals.callers import grantees_of
from tiltyard_registry.store.principals.grants import Grant, GrantChange, change_grants, effective_grants, list_grants

MODEL = "prod.risk.churn"


async def _scene(house: House) -> None:
    """A model with three versions, and Ann, who is in `team`, which is in `all`."""
    await house.do(registered_models.create_registered_model, MODEL)
    for number in range(3):
        await house.create_version(MODEL, f"s3://elsewhere/{number}")
    for name, kind in (("ann", "user"), ("ben", "user"), ("team", "group"), ("all", "group")):
        await house.do(principals.create_principal, kind, name)
    await house.do(memberships.add_member, "team", "ann")
    await house.do(memberships.add_member, "all", "team")


async def _as(house: House, name: str, door: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
    """What a door answers to somebody, in a transaction of its own."""
    async with house.database.write() as session:
        row = await principals.get_principal(session, Principal("system", is_admin=True), name)
        who = Principal(name, id=row["id"], grantees=await grantees_of(session, row["id"]))
        return await door(session, who, *args, **more)


async def _grant(house: House, type_name: str, full_name: str, principal: str, *add: str, **more: Any) -> list[Grant]:
    return await house.do(change_grants, type_name, full_name, [GrantChange(principal, add, **more)])


def _told(found: Sequence[Grant]) -> list[tuple[str, str | None, str]]:
    return [(one.principal, one.privilege.name, " ".join(one.on)) for one in found]


async def test_what_is_granted_is_told_and_taken_back(house: House) -> None:
    """Twice is once; all changes are made or none; an event tells what there was and is."""
    await _scene(house)
    await _grant(house, "registered_model", MODEL, "team", "EXECUTE", "set alias")
    found = await _grant(house, "model", MODEL, "team", "EXECUTE")
    assert _told(found) == [
        ("team", "EXECUTE", f"registered_model {MODEL}"),
        ("team", "SET_ALIAS", f"registered_model {MODEL}"),
    ]
    with pytest.raises(ResourceDoesNotExist):
        await house.do(
            change_grants,
            "model",
            MODEL,
            [GrantChange("team", remove=["EXECUTE"]), GrantChange("nobody", ["EXECUTE"])],
        )
    assert await house.see(list_grants, "model", MODEL) == found
    await house.do(change_grants, "model", MODEL, [GrantChange("team", remove=["EXECUTE", "SET_ALIAS", "BROWSE"])])
    assert await house.see(list_grants, "model", MODEL) == []
    events, _ = await house.see(history.search_events)
    sides = [(event["before"], event["after"]) for event in events if event["action"] == "update_permissions"]
    assert sides == [
        ({"team": ["EXECUTE", "SET_ALIAS"]}, {"team": None}),
        ({"team": None}, {"team": ["EXECUTE", "SET_ALIAS"]}),
    ]


@pytest.mark.parametrize("kind", list(Kind))
def test_what_cannot_be_granted_there_is_refused_with_what_can(kind: Kind) -> None:
    """Both spellings are read; a denial is refused in words of its own."""
    fitting = names_of(GRANTABLE[kind])
    for name in fitting:
        assert parse_privilege(name, kind) is parse_privilege(name.replace("_", " ").lower(), kind)
    with pytest.raises(InvalidParameterValue, match=fitting[0]):
        parse_privilege("OWNER", kind)
    with pytest.raises(InvalidParameterValue, match="what nobody granted is not allowed"):
        parse_privilege("DENY", kind)


async def test_who_may_not_manage_neither_grants_nor_is_told_of_others(house: House) -> None:
    """To who sees nothing there is nothing; who sees is told what is theirs, by way of groups too."""
    await _scene(house)
    await _grant(house, "model", MODEL, "all", "BROWSE")
    await _grant(house, "model", MODEL, "ben", "MANAGE")
    assert _told(await _as(house, "ann", list_grants, "model", MODEL)) == [
        ("all", "BROWSE", f"registered_model {MODEL}")
    ]
    assert len(await _as(house, "ben", list_grants, "model", MODEL)) == 2
    with pytest.raises(PermissionDenied, match="lacks MANAGE"):
        await _as(house, "ann", change_grants, "model", MODEL, [GrantChange("ann", ["EXECUTE"])])
    with pytest.raises(PermissionDenied, match="lacks MANAGE"):
        await _as(house, "ann", effective_grants, "model", MODEL, principal="ben")
    await _as(house, "ben", change_grants, "model", MODEL, [GrantChange("all", remove=["BROWSE"])])
    for door in (list_grants, effective_grants):
        with pytest.raises(ResourceDoesNotExist):
            await _as(house, "ann", door, "model", MODEL)
    with pytest.raises(ResourceDoesNotExist):
        await _as(house, "ann", change_grants, "model", MODEL, [GrantChange("ann", ["EXECUTE"])])


async def test_who_manages_everything_alone_grants_on_all_of_it(house: House) -> None:
    """Everybody sees that there is a metastore; what is granted on it is theirs to be told, or its manager's."""
    await _scene(house)
    await _grant(house, "metastore", "metastore", "all", "CREATE_CATALOG")
    with pytest.raises(PermissionDenied, match="lacks MANAGE on the registry"):
        await _as(house, "ben", change_grants, "metastore", "metastore", [GrantChange("ben", ["MANAGE"])])
    assert await _as(house, "ben", list_grants, "metastore", "metastore") == []
    await _grant(house, "metastore", "metastore", "ben", "MANAGE")
    assert len(await _as(house, "ben", list_grants, "metastore", "metastore")) == 2
    assert await _as(house, "ben", change_grants, "model", MODEL, [GrantChange("ann", ["BROWSE"])])


async def test_why_somebody_may_and_who_can_is_told(house: House) -> None:
    """What counts is on the securable and above it, theirs and their groups'; what gives a privilege, by any name."""
    await _scene(house)
    await _grant(house, "catalog", "prod", "all", "USE_CATALOG", "MANAGE")
    await _grant(house, "schema", "prod.risk", "team", "ALL_PRIVILEGES")
    await _grant(house, "model", MODEL, "ben", "EXECUTE")
    why = await house.see(effective_grants, "model", MODEL, principal="ann")
    assert _told(why) == [
        ("team", "ALL_PRIVILEGES", "schema prod.risk"),
        ("all", "USE_CATALOG", "catalog prod"),
        ("all", "MANAGE", "catalog prod"),
    ]
    can = await house.see(effective_grants, "model", MODEL, privilege="EXECUTE")
    assert _told(can) == [
        ("ben", "EXECUTE", f"registered_model {MODEL}"),
        ("team", "ALL_PRIVILEGES", "schema prod.risk"),
    ]
    assert await _as(house, "ann", effective_grants, "model", MODEL, principal="ann") == why


async def test_a_grant_may_be_limited_to_aliases(house: House) -> None:
    """An alias that is not among its names is another's, however much its name holds of one that is."""
    await _scene(house)
    await _grant(house, "catalog", "prod", "ann", "USE_CATALOG", "USE_SCHEMA")
    await _grant(house, "model", MODEL, "ann", "SET_ALIAS", names=["champion", 'odd"name'])
    for door, args in ((aliases.set_alias, (1,)), (aliases.set_alias, (2,)), (aliases.rollback_alias, ())):
        await _as(house, "ann", door, MODEL, "champion", *args)
    await _as(house, "ann", aliases.delete_alias, MODEL, "champion")
    for alias in ("Champion", "champion2", "champ", "odd", "challenger", "names"):
        with pytest.raises(PermissionDenied, match="lacks SET_ALIAS"):
            await _as(house, "ann", aliases.set_alias, MODEL, alias, 1)
        for door in (aliases.delete_alias, aliases.rollback_alias):
            with pytest.raises(PermissionDenied):
                await _as(house, "ann", door, MODEL, alias)
    await _grant(house, "schema", "prod.risk", "team", "SET_ALIAS")
    await _as(house, "ann", aliases.set_alias, MODEL, "challenger", 1)


async def test_a_grant_may_be_limited_to_stages(house: House) -> None:
    """What serves in a stage is taken out of it by who may change that stage."""
    await _scene(house)
    await _grant(house, "catalog", "prod", "ann", "USE_CATALOG", "USE_SCHEMA")
    await _grant(house, "model", MODEL, "ann", "TRANSITION_STAGE", names=["Staging", "Archived"])
    move = model_versions.transition_model_version_stage
    await _as(house, "ann", move, MODEL, 1, "staging")
    for stage in ("Production", "None"):
        with pytest.raises(PermissionDenied, match="lacks TRANSITION_STAGE"):
            await _as(house, "ann", move, MODEL, 1, stage)
    await house.do(move, MODEL, 2, "Production")
    with pytest.raises(PermissionDenied, match="lacks TRANSITION_STAGE"):
        await _as(house, "ann", move, MODEL, 2, "Archived")
    await _as(house, "ann", move, MODEL, 1, "Archived")


@pytest.mark.parametrize("names", [[], [""], ["x" * 256]])
async def test_names_that_limit_nothing_are_refused(house: House, names: list[str]) -> None:
    """And names for a privilege that is no alias's and no stage's."""
    await _scene(house)
    with pytest.raises(InvalidParameterValue, match="'names'"):
        await _grant(house, "model", MODEL, "ann", "SET_ALIAS", names=names)
    with pytest.raises(InvalidParameterValue, match="not for EXECUTE"):
        await _grant(house, "model", MODEL, "ann", "EXECUTE", names=["champion"])
