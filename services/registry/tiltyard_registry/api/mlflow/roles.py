"""Groups as MLflow's roles. Paths: /api/3.0/mlflow/{roles,users/roles}…"""

from tiltyard.errors import InvalidParameterValue
from tiltyard.wire.mlflow import auth
from tiltyard.wire.tags import Text
from tiltyard_registry.api.framework.routes import delete, get, patch, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.levels import WORKSPACE, check_workspace
from tiltyard_registry.rules.principals.names import PrincipalKind
from tiltyard_registry.store.principals import principals, roles
from tiltyard_registry.store.principals.levels import LevelRow
from tiltyard_registry.store.sql.session import Session


@post("/roles/create")
async def create_role(session: Session, who: Principal, data: auth.CreateRole) -> auth.RoleReply:
    """Makes a role."""
    check_workspace(data.workspace)
    return auth.RoleReply(told_role(await roles.create_role(session, who, data.name, data.description)))


@get("/roles/get")
async def get_role(read_session: Session, who: Principal, role_id: int) -> auth.RoleReply:
    """One role with its permissions."""
    return auth.RoleReply(told_role(await roles.get_role(read_session, who, role_id)))


@get("/roles/list")
async def list_roles(read_session: Session, who: Principal, workspace: list[str] | None = None) -> auth.RolesReply:
    """Every role with its permissions; who is no administrator finds those that they are in."""
    for name in workspace or ():
        check_workspace(name)
    return auth.RolesReply([told_role(one) for one in await roles.list_roles(read_session, who)])


@patch("/roles/update")
async def update_role(session: Session, who: Principal, data: auth.UpdateRole) -> auth.RoleReply:
    """Changes the name or the description of a role."""
    if data.name is None and data.description is None:
        raise InvalidParameterValue("At least one of 'name' or 'description' must be provided to update a role.")
    changed = await roles.update_role(session, who, data.role_id, name=data.name, description=data.description)
    return auth.RoleReply(told_role(changed))


@delete("/roles/delete")
async def delete_role(session: Session, who: Principal, data: auth.RoleId) -> None:
    """Removes a role with its permissions."""
    await roles.delete_role(session, who, data.role_id)


@post("/roles/permissions/add")
async def add_role_permission(
    session: Session, who: Principal, data: auth.AddRolePermission
) -> auth.RolePermissionReply:
    """Gives a role a level on a resource where it has none."""
    resource = (data.resource_type, data.resource_pattern)
    made = await roles.add_permission(session, who, data.role_id, *resource, data.permission)
    return auth.RolePermissionReply(_permission(made))


@delete("/roles/permissions/remove")
async def remove_role_permission(session: Session, who: Principal, data: auth.RolePermissionId) -> None:
    """Takes back what a role was granted on a resource."""
    await roles.remove_permission(session, who, data.role_permission_id)


@get("/roles/permissions/list")
async def list_role_permissions(read_session: Session, who: Principal, role_id: int) -> auth.RolePermissionsReply:
    """Every permission of a role."""
    found = await roles.get_role(read_session, who, role_id)
    return auth.RolePermissionsReply([_permission(one) for one in found.permissions])


@patch("/roles/permissions/update")
async def update_role_permission(
    session: Session, who: Principal, data: auth.UpdateRolePermission
) -> auth.RolePermissionReply:
    """Gives a role another level on a resource where it has one."""
    changed = await roles.update_permission(session, who, data.role_permission_id, data.permission)
    return auth.RolePermissionReply(_permission(changed))


@post("/roles/assign")
async def assign_role(session: Session, who: Principal, data: auth.AssignRole) -> auth.AssignmentReply:
    """Has a user be in a role."""
    user = await roles.assign_role(session, who, data.username, data.role_id)
    return auth.AssignmentReply(_assignment(user["id"], data.role_id))


@delete("/roles/unassign")
async def unassign_role(session: Session, who: Principal, data: auth.AssignRole) -> None:
    """Has a user not be in a role."""
    await roles.unassign_role(session, who, data.username, data.role_id)


@get("/users/roles/list")
async def list_user_roles(read_session: Session, who: Principal, username: Text) -> auth.RolesReply:
    """The roles that a user is in: of oneself, or, for administrators, of anybody."""
    user = await principals.get_principal(read_session, who, username, kind=PrincipalKind.USER)
    found = await roles.list_roles_of(read_session, [user])
    return auth.RolesReply([told_role(one) for one in found[user["id"]]])


@get("/roles/users/list")
async def list_role_users(read_session: Session, who: Principal, role_id: int) -> auth.AssignmentsReply:
    """The users who are in a role."""
    users = await roles.list_role_users(read_session, who, role_id)
    return auth.AssignmentsReply([_assignment(user["id"], role_id) for user in users])


def told_role(role: roles.Role) -> auth.Role:
    """A role as answers tell it."""
    permissions = [_permission(one) for one in role.permissions]
    return auth.Role(role.row["id"], role.row["name"], WORKSPACE, role.row["display_name"], permissions)


def _permission(one: LevelRow) -> auth.RolePermission:
    return auth.RolePermission(one.id, one.principal_id, one.resource_type, one.resource_pattern, one.permission)


def _assignment(user_id: int, role_id: int) -> auth.Assignment:
    return auth.Assignment(f"{role_id}/{user_id}", user_id, role_id)
