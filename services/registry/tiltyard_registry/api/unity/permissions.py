"""Grants as Unity Catalog tells them.

Paths: /api/2.1/unity-catalog/{permissions,effective-permissions}/{securable_type}/{full_name}

Source: unitycatalog, api/all.yaml; databricks-sdk, `GrantsAPI`.
"""

from collections.abc import Sequence
from typing import Any

from litestar import Request

from tiltyard.wire.unity.permissions import (
    EffectivePermissionsList,
    EffectivePrivilege,
    EffectivePrivilegeAssignment,
    PermissionsList,
    PrivilegeAssignment,
    UpdatePermissions,
)
from tiltyard_registry.api.framework.routes import get, patch
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.store.principals import grants as store
from tiltyard_registry.store.principals.securables import TYPES
from tiltyard_registry.store.sql.session import Session

# The privileges of ours that clients of Unity Catalog OSS know; they fail on others.
_OF_OSS = (
    Privilege.USE_CATALOG
    | Privilege.USE_SCHEMA
    | Privilege.CREATE_CATALOG
    | Privilege.CREATE_SCHEMA
    | Privilege.CREATE_MODEL
    | Privilege.EXECUTE
)


@get("/permissions/{securable_type:str}/{full_name:str}")
async def get_permissions(
    request: Request[Any, Any, Any],
    read_session: Session,
    who: Principal,
    securable_type: str,
    full_name: str,
    principal: str | None = None,
) -> PermissionsList:
    """What is granted on a securable itself: all of it to who manages it, to others what is theirs."""
    found = await store.list_grants(read_session, who, securable_type, full_name, principal=principal)
    return _told(found, request)


@patch("/permissions/{securable_type:str}/{full_name:str}")
async def update_permissions(
    request: Request[Any, Any, Any],
    session: Session,
    who: Principal,
    securable_type: str,
    full_name: str,
    data: UpdatePermissions,
) -> PermissionsList:
    """Grants privileges on a securable and takes some back; answers what is granted then."""
    changes = [store.GrantChange(one.principal, one.add, one.remove) for one in data.changes]
    return _told(await store.change_grants(session, who, securable_type, full_name, changes), request)


@get("/effective-permissions/{securable_type:str}/{full_name:str}")
async def get_effective_permissions(
    request: Request[Any, Any, Any],
    read_session: Session,
    who: Principal,
    securable_type: str,
    full_name: str,
    principal: str | None = None,
) -> EffectivePermissionsList:
    """What counts on a securable: what is granted there and above it, and for a principal by way of groups too."""
    found = await store.effective_grants(read_session, who, securable_type, full_name, principal=principal)
    asked = TYPES[securable_type.lower()]
    told: dict[str, list[EffectivePrivilege]] = {}
    for grant, name in _named(found, request):
        kind, place = grant.on
        above = (None, None) if grant.securable.kind is asked else (kind.upper(), place)
        told.setdefault(grant.principal, []).append(EffectivePrivilege(name, *above))
    return EffectivePermissionsList([EffectivePrivilegeAssignment(*one) for one in told.items()])


def _told(found: Sequence[store.Grant], request: Request[Any, Any, Any]) -> PermissionsList:
    told: dict[str, list[str]] = {}
    for grant, name in _named(found, request):
        told.setdefault(grant.principal, []).append(name)
    return PermissionsList([PrivilegeAssignment(*one) for one in told.items()])


def _named(found: Sequence[store.Grant], request: Request[Any, Any, Any]) -> list[tuple[store.Grant, str]]:
    """The grants with the names of their privileges in the caller's spelling; who owns it is told elsewhere."""
    shown = [grant for grant in found if grant.privilege is not Privilege.OWNER]
    if "databricks-sdk" in request.headers.get("user-agent", ""):
        return [(grant, str(grant.privilege.name)) for grant in shown]
    return [(grant, str(grant.privilege.name).replace("_", " ")) for grant in shown if grant.privilege in _OF_OSS]
