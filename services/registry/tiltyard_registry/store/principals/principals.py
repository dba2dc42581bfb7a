"""Users, services and groups: an administrator makes them known, changes and removes them."""

import uuid
from typing import Any, cast

from sqlalchemy import delete, func, insert, select, update

from tiltyard.errors import InvalidParameterValue, ResourceConflict
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.events import changed
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.rules.principals.events import PrincipalCreated, PrincipalDeleted, PrincipalUpdated
from tiltyard_registry.rules.principals.names import RESERVED, PrincipalKind, check_new_principal
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.principals.principal_rows import PrincipalRow, find_principal, missing, require_admin
from tiltyard_registry.store.sql.availability import already_exists
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.tables.access import grants
from tiltyard_registry.tables.principals import principals

_MAX_DISPLAY_CHARS = 255


async def create_principal(
    session: Session,
    who: Principal,
    kind: str,
    name: str,
    *,
    display_name: str | None = None,
    is_admin: bool = False,
) -> PrincipalRow:
    """The new principal, whom nothing was granted yet.

    Raises:
        PermissionDenied: `who` is no administrator.
        ResourceAlreadyExists: somebody is called so.
        InvalidParameterValue: the kind or a name is not allowed, or a group shall be an administrator.
    """
    require_admin(who, "making somebody known")
    found = check_new_principal(kind, name)
    if is_admin and found is PrincipalKind.GROUP:
        raise InvalidParameterValue("Invalid value true for parameter 'is_admin': a group is no administrator.")
    row = {
        "kind": found,
        "name": name,
        "display_name": _display_name(display_name),
        "is_active": True,
        "is_admin": is_admin,
    }
    await insert_principal(session, who, row)
    outbox.record(session, who, PrincipalCreated.of(row, full_name=name))
    return await find_principal(session, name)


async def insert_principal(session: Session, who: Principal, row: dict[str, Any]) -> int:
    """The id of a new row.

    Raises:
        ResourceAlreadyExists: somebody is called so.
    """
    stamps = {"uuid": str(uuid.uuid4()), "created_at": now_ms(), "created_by": who.name, "updated_at": now_ms()}
    with already_exists(f"Principal '{row['name']}' already exists."):
        return int(await session.scalar(insert(principals).values(**row, **stamps).returning(principals.c.id)))


async def get_principal(
    session: Session, who: Principal, name: str, *, kind: PrincipalKind | None = None
) -> PrincipalRow:
    """One principal: oneself, or, for administrators, anybody; of one kind alone, if it is said.

    Raises:
        ResourceDoesNotExist: nobody is called so whom `who` may see.
    """
    if not who.is_admin and name != who.name:
        raise missing(name)
    return await find_principal(session, name, kind=kind)


async def list_principals(
    session: Session, who: Principal, *, kind: str | None = None, after: str = "", limit: int | None = None
) -> list[PrincipalRow]:
    """At most `limit` principals by name, those behind the name `after`; who is no administrator finds themselves."""
    query = select(principals).where(principals.c.name > after)
    if kind is not None:
        query = query.where(principals.c.kind == kind)
    if not who.is_admin:
        query = query.where(principals.c.id == who.id)
    return cast(list[PrincipalRow], await session.all(query.order_by(principals.c.name).limit(limit)))


async def update_principal(
    session: Session,
    who: Principal,
    name: str,
    *,
    kind: PrincipalKind | None = None,
    new_name: str | None = None,
    display_name: str | None = None,
    is_active: bool | None = None,
    is_admin: bool | None = None,
) -> PrincipalRow:
    """The principal with what was given changed. Who is active no more is known no more, at once.

    Raises:
        PermissionDenied: `who` is no administrator.
        ResourceDoesNotExist: nobody is called so, or who is, is not of the `kind`.
        ResourceAlreadyExists: somebody has the new name.
        ResourceConflict: no administrator would be left.
        InvalidParameterValue: a group shall be an administrator, the group of everybody be changed, or a name that is
            not allowed or is that of who signs in by it.
    """
    require_admin(who, "changing a principal")
    row = await find_principal(session, name, kind=kind, lock=True)
    _check_changeable(name)
    if is_admin and row["kind"] == PrincipalKind.GROUP:
        raise InvalidParameterValue("Invalid value true for parameter 'is_admin': a group is no administrator.")
    if new_name is not None:
        _check_new_name(row, new_name)
    given = {
        "name": new_name,
        "display_name": _display_name(display_name),
        "is_active": is_active,
        "is_admin": is_admin,
    }
    change = changed(row, {field: value for field, value in given.items() if value is not None})
    if change is None:
        return row
    with already_exists(f"Principal '{new_name}' already exists."):
        await session.execute(
            update(principals).where(principals.c.id == row["id"]).values(**change[1], updated_at=now_ms())
        )
    if row["is_admin"] and False in (is_admin, is_active):
        await _check_an_admin_is_left(session)
    outbox.record(session, who, PrincipalUpdated(*change, full_name=name))
    return await find_principal(session, new_name or name)


async def delete_principal(
    session: Session,
    who: Principal,
    name: str,
    *,
    kind: PrincipalKind | None = None,
    reassign_to: str | None = None,
) -> None:
    """Removes a principal with their tokens, memberships and grants; `reassign_to` owns what they owned.

    Raises:
        PermissionDenied: `who` is no administrator.
        ResourceDoesNotExist: nobody is called so, or like `reassign_to`, or who is, is not of the `kind`.
        ResourceConflict: they own something and nobody shall own it, or no administrator would be left.
        InvalidParameterValue: it is the group of everybody.
    """
    require_admin(who, "removing a principal")
    row = await find_principal(session, name, kind=kind, lock=True)
    _check_changeable(name)
    of_them = grants.c.principal_id == row["id"]
    owned = of_them & (grants.c.privilege == int(Privilege.OWNER))
    if reassign_to is not None:
        heir = await find_principal(session, reassign_to, lock=True)
        if heir["id"] == row["id"]:
            raise InvalidParameterValue("Invalid value for parameter 'reassign_to': it is who shall be removed.")
        await session.execute(update(grants).where(owned).values(principal_id=heir["id"]))
    elif count := await session.scalar(select(func.count()).select_from(grants).where(owned)):
        raise ResourceConflict(
            f"Principal '{name}' owns {count} securables: say who shall own them with parameter 'reassign_to'."
        )
    await session.execute(delete(grants).where(of_them))
    await session.execute(delete(principals).where(principals.c.id == row["id"]))
    if row["is_admin"]:
        await _check_an_admin_is_left(session)
    outbox.record(session, who, PrincipalDeleted(name, row["kind"], reassign_to))


async def has_admin(session: Session) -> bool:
    """Whether there is an administrator who can sign in."""
    query = select(principals.c.id).where(principals.c.is_admin, principals.c.is_active).limit(1)
    return await session.scalar(query) is not None


async def _check_an_admin_is_left(session: Session) -> None:
    # Two who demote each other at once come one after the other.
    await session.lock("administrators")
    if not await has_admin(session):
        raise ResourceConflict("No administrator would be left.")


def _check_changeable(name: str) -> None:
    if name in RESERVED:
        raise InvalidParameterValue(f"Principal '{name}' is built in: it stays as it is.")


def _check_new_name(row: PrincipalRow, name: str) -> None:
    if row["kind"] != PrincipalKind.GROUP:
        raise InvalidParameterValue(f"Principal '{row['name']}' is a {row['kind']}: groups alone get another name.")
    check_new_principal(row["kind"], name)


def _display_name(given: str | None) -> str | None:
    return None if given is None else check_length(given, _MAX_DISPLAY_CHARS, "display_name")
