"""What users may do, by MLflow's levels. Paths: /api/3.0/mlflow/users/{permissions,current/permissions}…"""

from tiltyard.wire.mlflow import auth
from tiltyard.wire.tags import Text
from tiltyard_registry.api.framework.routes import get, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.levels import NO_PERMISSIONS, WORKSPACE
from tiltyard_registry.rules.principals.names import PrincipalKind
from tiltyard_registry.store.principals import levels, principals, roles
from tiltyard_registry.store.principals.principal_rows import PrincipalRow
from tiltyard_registry.store.sql.session import Session


@post("/users/permissions/grant")
async def grant_permission(session: Session, who: Principal, data: auth.GrantPermission) -> None:
    """Gives a user a level on a resource, in place of the one that they have there."""
    resource = (data.resource_type, data.resource_id)
    await levels.set_level(session, who, PrincipalKind.USER, data.username, *resource, data.permission)


@post("/users/permissions/revoke")
async def revoke_permission(session: Session, who: Principal, data: auth.UserResource) -> None:
    """Takes back what a user was granted on a resource."""
    resource = (data.resource_type, data.resource_id)
    await levels.set_level(session, who, PrincipalKind.USER, data.username, *resource, None)


@get("/users/permissions/get")
async def get_permission(
    read_session: Session, who: Principal, username: Text, resource_type: Text, resource_id: Text
) -> auth.PermissionReply:
    """The level that a user has on a resource, their roles counted in."""
    level = await levels.level_of(read_session, who, username, resource_type, resource_id)
    return auth.PermissionReply(level != NO_PERMISSIONS, level)


@get("/users/permissions/list")
async def list_permissions(read_session: Session, who: Principal, username: Text) -> auth.UserPermissionsReply:
    """Every level of a user, theirs and their roles'."""
    return await _told(
        read_session, await principals.get_principal(read_session, who, username, kind=PrincipalKind.USER)
    )


@get("/users/current/permissions")
async def list_own_permissions(read_session: Session, who: Principal) -> auth.UserPermissionsReply:
    """Every level of who asks, theirs and their roles'."""
    if who.id is None:
        return auth.UserPermissionsReply(who.is_admin, [])
    return await _told(read_session, await principals.get_principal(read_session, who, who.name))


async def _told(session: Session, row: PrincipalRow) -> auth.UserPermissionsReply:
    names = {row["id"]: f"__user_{row['id']}__"}
    own = await levels.levels_granted(session, [row])
    of_user = (await roles.list_roles_of(session, [row]))[row["id"]]
    names |= {role.row["id"]: role.row["name"] for role in of_user}
    return auth.UserPermissionsReply(
        row["is_admin"],
        [
            auth.UserPermission(
                one.principal_id,
                names[one.principal_id],
                WORKSPACE,
                one.resource_type,
                one.resource_pattern,
                one.permission,
            )
            for one in [*own, *(level for role in of_user for level in role.permissions)]
        ],
    )
