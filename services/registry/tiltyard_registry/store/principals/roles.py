"""Groups as MLflow's roles, which go by an id: that of the group."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from sqlalchemy import Select, select

from tiltyard.errors import InternalError, ResourceAlreadyExists, ResourceDoesNotExist
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.names import PrincipalKind
from tiltyard_registry.store.principals import memberships as members
from tiltyard_registry.store.principals import principals as doors
from tiltyard_registry.store.principals.levels import LevelRow, levels_granted, set_level
from tiltyard_registry.store.principals.principal_rows import PrincipalRow, find_principal, require_admin
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.principals import memberships, principals


class Role(NamedTuple):
    """A group, and the levels that were granted to it."""

    row: PrincipalRow
    permissions: list[LevelRow]


async def create_role(session: Session, who: Principal, name: str, description: str | None) -> Role:
    """A new group.

    Raises:
        as `create_principal`.
    """
    row = await doors.create_principal(session, who, PrincipalKind.GROUP, name, display_name=description)
    return Role(row, [])


async def get_role(session: Session, who: Principal, id: int) -> Role:
    """One role: to administrators any, to others those that they are in.

    Raises:
        ResourceDoesNotExist: there is none that `who` may see.
    """
    row = await _find(session, who, id)
    return Role(row, await levels_granted(session, [row]))


async def list_roles(session: Session, who: Principal) -> list[Role]:
    """Every role that `who` may see, by name."""
    query = _groups().order_by(principals.c.name)
    if not who.is_admin:
        query = query.where(principals.c.id.in_(who.grantees))
    return await _with_permissions(session, cast(list[PrincipalRow], await session.all(query)))


async def list_roles_of(session: Session, users: Sequence[PrincipalRow]) -> dict[int, list[Role]]:
    """The roles that each of some users is in directly, by the user's id."""
    of_users = rowsets.among(session, memberships.c.member_id, [user["id"] for user in users])
    query = select(principals, memberships.c.member_id).join_from(
        principals, memberships, memberships.c.group_id == principals.c.id
    )
    rows = await session.all(query.where(of_users).order_by(principals.c.name))
    groups = {row["id"]: cast(PrincipalRow, row) for row in rows}
    roles = {role.row["id"]: role for role in await _with_permissions(session, list(groups.values()))}
    found: dict[int, list[Role]] = {user["id"]: [] for user in users}
    for row in rows:
        found[row["member_id"]].append(roles[row["id"]])
    return found


async def update_role(session: Session, who: Principal, id: int, *, name: str | None, description: str | None) -> Role:
    """The role with another name or description.

    Raises:
        as `update_principal`; ResourceDoesNotExist: there is no such role.
    """
    row = await _find_to_change(session, who, id)
    await doors.update_principal(session, who, row["name"], new_name=name, display_name=description)
    return await get_role(session, who, id)


async def delete_role(session: Session, who: Principal, id: int) -> None:
    """Removes a role with what was granted to it.

    Raises:
        as `delete_principal`; ResourceDoesNotExist: there is no such role.
    """
    row = await _find_to_change(session, who, id)
    await doors.delete_principal(session, who, row["name"])


async def add_permission(
    session: Session, who: Principal, id: int, resource_type: str, pattern: str, level: str
) -> LevelRow:
    """A level of a role on a resource where it had none.

    Raises:
        as `set_level`; PermissionDenied: `who` is no administrator; ResourceDoesNotExist: there is no such role;
        ResourceAlreadyExists: it has another level there.
    """
    row = await _find_to_change(session, who, id)
    before = {one.id: one for one in await levels_granted(session, [row])}
    made = await set_level(session, who, PrincipalKind.GROUP, row["name"], resource_type, pattern, level)
    if made is None:
        raise InternalError("A level that was granted is not there.")
    had = before.get(made.id, made).permission
    if had != made.permission:
        raise ResourceAlreadyExists(
            f"Role {id} has {had} on {resource_type} '{pattern[:300]}' already: update that permission."
        )
    return made


async def update_permission(session: Session, who: Principal, permission_id: str, level: str) -> LevelRow:
    """Another level of a role in place of the one with this id.

    Raises:
        as `set_level`; PermissionDenied: `who` is no administrator; ResourceDoesNotExist: there is no such level.
    """
    row, found = await _permission(session, who, permission_id)
    resource = (found.resource_type, found.resource_pattern)
    changed = await set_level(session, who, PrincipalKind.GROUP, row["name"], *resource, level)
    return changed or found


async def remove_permission(session: Session, who: Principal, permission_id: str) -> None:
    """Takes back the level of a role with this id.

    Raises:
        as `set_level`; PermissionDenied: `who` is no administrator; ResourceDoesNotExist: there is no such level.
    """
    row, found = await _permission(session, who, permission_id)
    resource = (found.resource_type, found.resource_pattern)
    await set_level(session, who, PrincipalKind.GROUP, row["name"], *resource, None)


async def assign_role(session: Session, who: Principal, user: str, id: int) -> PrincipalRow:
    """Has a user be in a role; the user.

    Raises:
        as `add_member`; ResourceDoesNotExist: there is no such role, or no such user.
    """
    row = await _find_to_change(session, who, id)
    found = await find_principal(session, user, kind=PrincipalKind.USER)
    await members.add_member(session, who, row["name"], user)
    return found


async def unassign_role(session: Session, who: Principal, user: str, id: int) -> None:
    """Has a user not be in a role.

    Raises:
        as `remove_member`; ResourceDoesNotExist: there is no such role, or no such user.
    """
    row = await _find_to_change(session, who, id)
    await find_principal(session, user, kind=PrincipalKind.USER)
    await members.remove_member(session, who, row["name"], user)


async def list_role_users(session: Session, who: Principal, id: int) -> list[PrincipalRow]:
    """The users who are in a role directly, by name.

    Raises:
        as `list_members`; ResourceDoesNotExist: there is no such role.
    """
    row = await _find(session, who, id)
    found = await members.list_members(session, who, row["name"])
    return [one for one in found if one["kind"] == PrincipalKind.USER]


def _groups() -> Select[tuple[object, ...]]:
    return select(principals).where(principals.c.kind == PrincipalKind.GROUP)


async def _find(session: Session, who: Principal, id: int) -> PrincipalRow:
    row = None
    if 0 < id < 2**63 and (who.is_admin or id in who.grantees):
        row = await session.one(_groups().where(principals.c.id == id))
    if row is None:
        raise ResourceDoesNotExist(f"Role with id={id} not found.")
    return cast(PrincipalRow, row)


async def _find_to_change(session: Session, who: Principal, id: int) -> PrincipalRow:
    require_admin(who, "changing a role")
    return await _find(session, who, id)


async def _permission(session: Session, who: Principal, permission_id: str) -> tuple[PrincipalRow, LevelRow]:
    require_admin(who, "changing what a role may do")
    id = permission_id.partition("/")[0]
    if id.isascii() and id.isdecimal() and len(id) < 19:
        row = await _find(session, who, int(id))
        for found in await levels_granted(session, [row]):
            if found.id == permission_id:
                return row, found
    raise ResourceDoesNotExist(f"Role permission with id={permission_id[:300]} not found.")


async def _with_permissions(session: Session, rows: Sequence[PrincipalRow]) -> list[Role]:
    permissions: dict[int, list[LevelRow]] = {row["id"]: [] for row in rows}
    for one in await levels_granted(session, rows):
        permissions[one.principal_id].append(one)
    return [Role(row, permissions[row["id"]]) for row in rows]
