"""Grants: who may manage a securable gives privileges on it, and takes them back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, insert, select, update

from tiltyard_registry.rules.access import Kind, Principal, Privilege, giving
from tiltyard_registry.rules.events import changed
from tiltyard_registry.rules.principals.events import GrantsChanged
from tiltyard_registry.rules.principals.grants import check_names, parse_privilege
from tiltyard_registry.store import access
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.principals.callers import grantees_of
from tiltyard_registry.store.principals.principal_rows import find_principal
from tiltyard_registry.store.principals.securables import TYPE_OF, Securable, find_securable, look_at_securable
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.tables.access import grants
from tiltyard_registry.tables.principals import principals


class GrantChange(NamedTuple):
    """What shall be granted to one principal and taken back from them; `names` limit what is granted."""

    principal: str
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    names: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """One privilege of one principal on a securable, with the names that it is limited to."""

    principal: str
    privilege: Privilege
    names: list[str] | None
    securable: Securable

    @property
    def on(self) -> tuple[str, str]:
        """The type and the name of what it was granted on."""
        return TYPE_OF[self.securable.kind], self.securable.name


async def change_grants(
    session: Session,
    who: Principal,
    type_name: str,
    full_name: str,
    changes: Sequence[GrantChange],
    *,
    lets_in: bool = False,
) -> list[Grant]:
    """What is granted on a securable once the changes are made, all of them or none.

    What is granted already, or is not there to be taken back, is no error. Names given anew take the place of others.
    With `lets_in` who gets something on a model may use its schema and its catalog too.

    Raises:
        ResourceDoesNotExist: there is no such securable that `who` may see, or no such principal.
        PermissionDenied: they may not manage it.
        InvalidParameterValue: a privilege that cannot be granted there, or names that cannot limit it.
    """
    securable = await find_securable(session, who, Privilege.MANAGE, type_name, full_name)
    before = _by_principal(await _on(session, securable))
    ways: dict[str, list[str]] = {}
    for change in changes:
        row = await find_principal(session, change.principal, lock=True)
        added = [parse_privilege(text, securable.kind) for text in change.add]
        removed = [parse_privilege(text, securable.kind) for text in change.remove]
        names = check_names(added, change.names)
        if removed:
            fitting = (*_key(row["id"], securable), grants.c.privilege.in_([int(one) for one in removed]))
            await session.execute(delete(grants).where(*fitting))
        for privilege in added:
            await _grant(session, who, row["id"], securable, privilege, names)
        if lets_in and added:
            ways.setdefault(row["name"], []).extend(await _let_in(session, who, row["id"], securable))
    after = await _on(session, securable)
    told = _by_principal(after) | dict.fromkeys(before.keys() - _by_principal(after).keys())
    change_of_all = changed(before, told | {name: [*(told.get(name) or ()), *way] for name, way in ways.items()})
    if change_of_all is not None:
        outbox.record(session, who, GrantsChanged(*change_of_all, full_name=securable.full))
    return after


async def list_grants(
    session: Session, who: Principal, type_name: str, full_name: str, *, principal: str | None = None
) -> list[Grant]:
    """What is granted on a securable itself: all of it to who may manage it, to others what is theirs.

    Raises:
        ResourceDoesNotExist: there is no such securable that `who` may see, or no such principal.
        InvalidParameterValue: there is no such type.
    """
    securable, may_manage = await look_at_securable(session, who, type_name, full_name)
    found = await _on(session, securable, grantees=None if may_manage else who.grantees)
    return [grant for grant in found if principal is None or grant.principal == principal]


async def effective_grants(
    session: Session,
    who: Principal,
    type_name: str,
    full_name: str,
    *,
    principal: str | None = None,
    privilege: str | None = None,
) -> list[Grant]:
    """Why may somebody do something: what is granted on a securable and above it, and to which groups.

    With `principal` what counts for them, by way of their groups too; with `privilege` that alone which gives it: who
    can. Who may not manage the securable is told of themselves.

    Raises:
        ResourceDoesNotExist: there is no such securable that `who` may see, or no such principal.
        InvalidParameterValue: there is no such type or privilege.
    """
    securable, may_manage = await look_at_securable(session, who, type_name, full_name)
    wanted = None if privilege is None else parse_privilege(privilege, securable.kind)
    asked = principal if may_manage or principal is not None else who.name
    if not may_manage and asked != who.name:
        raise access.denied(who, Privilege.MANAGE, securable.full)
    found: list[Grant] = []
    counting: tuple[int, ...] | None = None
    if asked is not None:
        counting = await grantees_of(session, (await find_principal(session, asked))["id"])
    for level, (id, name) in securable.levels.items():
        place = Securable(level, id, name, {})
        for grant in await _on(session, place, grantees=counting):
            if wanted is None or _gives(grant.privilege, wanted, is_above=level is not securable.kind):
                found.append(grant)
    return found


async def grant_privileges(
    session: Session, who: Principal, principal_id: int, securable: Securable, privileges: Privilege
) -> None:
    """Gives each of the privileges that is not given yet. No event tells of it."""
    for privilege in Privilege:
        if privilege in privileges:
            await _grant(session, who, principal_id, securable, privilege, None)


async def forget_grants(session: Session, kind: Kind, ids: Sequence[int]) -> None:
    """Removes what was granted on securables that are gone."""
    await access.forget(session, kind, ids)


async def _let_in(session: Session, who: Principal, principal_id: int, securable: Securable) -> list[str]:
    """Lets a principal use what is above a securable; what was not granted there before, as events tell it."""
    told = []
    for kind, use in ((Kind.SCHEMA, Privilege.USE_SCHEMA), (Kind.CATALOG, Privilege.USE_CATALOG)):
        if kind in securable.above:
            above = Securable(kind, *securable.above[kind], {})
            if not any(one.privilege is use for one in await _on(session, above, grantees=[principal_id])):
                await _grant(session, who, principal_id, above, use, None)
                told.append(f"{use.name} on {above.full}")
    return told


def _gives(granted: Privilege, wanted: Privilege, *, is_above: bool) -> bool:
    return bool(granted & giving(wanted, is_above=is_above))


async def _on(session: Session, securable: Securable, grantees: Sequence[int] | None = None) -> list[Grant]:
    """What is granted on a securable itself, to all or to some, by the names of principals and privileges."""
    query = select(grants.c.privilege, grants.c.names, principals.c.name).join_from(
        grants, principals, grants.c.principal_id == principals.c.id
    )
    query = query.where(
        grants.c.securable_type == int(securable.kind),
        grants.c.securable_id == securable.id,
        *([] if grantees is None else [grants.c.principal_id.in_(grantees)]),
    )
    rows = await session.all(query.order_by(principals.c.name, grants.c.privilege))
    return [
        Grant(row["name"], Privilege(row["privilege"]), json.loads(row["names"]) if row["names"] else None, securable)
        for row in rows
    ]


async def _grant(
    session: Session,
    who: Principal,
    principal_id: int,
    securable: Securable,
    privilege: Privilege,
    names: list[str] | None,
) -> None:
    text = None if names is None else json.dumps(names, ensure_ascii=False)
    key = (*_key(principal_id, securable), grants.c.privilege == int(privilege))
    if await session.one(select(grants.c.privilege).where(*key)) is not None:
        await session.execute(update(grants).where(*key).values(names=text))
        return
    row = {
        "principal_id": principal_id,
        "securable_type": int(securable.kind),
        "securable_id": securable.id,
        "privilege": int(privilege),
        "names": text,
        "granted_by": who.name,
        "granted_at": now_ms(),
    }
    await session.execute(insert(grants).values(row))


def _key(principal_id: int, securable: Securable) -> tuple[ColumnElement[bool], ...]:
    return (
        grants.c.principal_id == principal_id,
        grants.c.securable_type == int(securable.kind),
        grants.c.securable_id == securable.id,
    )


def _by_principal(found: Sequence[Grant]) -> dict[str, Any]:
    """What events tell: the privileges of each, with their names where they are limited to some."""
    told: dict[str, list[str]] = {}
    for grant in found:
        limited = "" if grant.names is None else f" ({', '.join(grant.names)})"
        told.setdefault(grant.principal, []).append(f"{grant.privilege.name}{limited}")
    return told
