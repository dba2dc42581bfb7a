"""Who is in which group. A group may be in groups: what is granted to those above counts too."""

from typing import Any, cast

from sqlalchemy import ColumnElement, Select, delete, insert, select

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.events import MemberAdded, MemberRemoved
from tiltyard_registry.rules.principals.names import EVERYONE, PrincipalKind
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.principals.principal_rows import PrincipalRow, find_principal, missing, require_admin
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.principals import memberships, principals


def groups_above(id: int | ColumnElement[int]) -> Select[Any]:
    """The ids of a principal and of every group that it is in, directly or by way of groups."""
    above = select(principals.c.id).where(principals.c.id == id).cte("above", recursive=True)
    step = select(memberships.c.group_id).join_from(memberships, above, memberships.c.member_id == above.c.id)
    # A union, so that it would end even if somebody had made a circle behind the registry's back.
    return select(above.union(step).c.id)


async def list_members(
    session: Session, who: Principal, group: str, *, after: str = "", limit: int | None = None
) -> list[PrincipalRow]:
    """At most `limit` direct members of a group by name, those behind the name `after`.

    Raises:
        ResourceDoesNotExist: there is no such group that `who` may see: an administrator, or who is in it.
    """
    row = await _group(session, group)
    if not (who.is_admin or row["id"] in who.grantees):
        raise missing(group)
    query = select(principals).join_from(principals, memberships, memberships.c.member_id == principals.c.id)
    query = query.where(memberships.c.group_id == row["id"], principals.c.name > after)
    return cast(list[PrincipalRow], await session.all(query.order_by(principals.c.name).limit(limit)))


async def add_member(session: Session, who: Principal, group: str, member: str) -> None:
    """Has a principal be in a group; one that is in it already is no error.

    Raises:
        PermissionDenied: `who` is no administrator.
        ResourceDoesNotExist: there is no such group, or no such principal.
        InvalidParameterValue: the group would be in itself, or is that of everybody.
    """
    require_admin(who, "changing who is in a group")
    # Two who close a circle from both ends come one after the other.
    await session.lock("memberships")
    above, below = await _group(session, group), await find_principal(session, member)
    if member == EVERYONE:
        raise InvalidParameterValue(f"Group '{EVERYONE}' cannot be in a group: grant to it instead.")
    if below["id"] in (await session.execute(groups_above(above["id"]))).scalars().all():
        raise InvalidParameterValue(f"Group '{group}' would be in itself, for it is in '{member}' already.")
    pair = {"member_id": below["id"], "group_id": above["id"]}
    if await session.one(select(memberships).filter_by(**pair)) is None:
        await session.execute(insert(memberships).values(pair))
        outbox.record(session, who, MemberAdded(group, member))


async def remove_member(session: Session, who: Principal, group: str, member: str) -> None:
    """Has a principal not be in a group; one that is not is no error.

    Raises:
        PermissionDenied: `who` is no administrator.
        ResourceDoesNotExist: there is no such group, or no such principal.
    """
    require_admin(who, "changing who is in a group")
    above, below = await _group(session, group), await find_principal(session, member)
    pair = (memberships.c.member_id == below["id"], memberships.c.group_id == above["id"])
    if (await session.execute(delete(memberships).where(*pair))).rowcount:
        outbox.record(session, who, MemberRemoved(group, member))


async def _group(session: Session, name: str) -> PrincipalRow:
    row = await find_principal(session, name)
    if row["kind"] != PrincipalKind.GROUP:
        raise ResourceDoesNotExist(f"Group '{name[:300]}' does not exist.")
    if name == EVERYONE:
        raise InvalidParameterValue(f"Everybody is in group '{EVERYONE}': its members are not kept.")
    return row
