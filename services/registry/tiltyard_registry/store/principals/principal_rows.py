"""Rows of principals: how one is found, and who may ask for it."""

from typing import TypedDict, cast

from sqlalchemy import select

from tiltyard.errors import PermissionDenied, ResourceDoesNotExist
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.names import PrincipalKind
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.principals import principals


class PrincipalRow(TypedDict):
    """What is told of a principal, and its id."""

    id: int
    uuid: str
    kind: str
    name: str
    display_name: str | None
    issuer: str | None
    is_active: bool
    is_admin: bool
    created_at: int
    created_by: str | None
    updated_at: int


def require_admin(who: Principal, what: str) -> None:
    """Passes if `who` is an administrator, and came with nothing less.

    Raises:
        PermissionDenied: they are not; `what` says what takes one.
    """
    if not who.is_admin:
        raise PermissionDenied(f"Principal '{who.name}' is no administrator, which {what} takes.")


def missing(name: str) -> ResourceDoesNotExist:
    """The error that says that nobody is called so."""
    return ResourceDoesNotExist(f"Principal '{name[:300]}' does not exist.")


async def find_principal(
    session: Session, name: str, *, kind: PrincipalKind | None = None, lock: bool = False
) -> PrincipalRow:
    """The principal of this name; with `lock` nobody changes it until the transaction ends.

    Raises:
        ResourceDoesNotExist: nobody is called so, or who is, is of another kind.
    """
    query = select(principals).where(principals.c.name == name)
    if kind is not None:
        query = query.where(principals.c.kind == kind)
    row = await session.one(query.with_for_update() if lock else query)
    if row is None:
        raise missing(name)
    return cast(PrincipalRow, row)
