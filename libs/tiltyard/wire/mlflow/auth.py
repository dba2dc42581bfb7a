"""Users, their permissions, and roles. Paths: /api/2.0/mlflow/users…, /api/3.0/mlflow/{users/permissions,roles}…

Source: mlflow/server/auth/client.py, entities.py and __init__.py of 3.17.2.
"""

from msgspec import Struct

from tiltyard.wire.tags import Text


class Username(Struct):
    username: Text


class CreateUser(Username):
    password: Text


class UpdatePassword(CreateUser):
    """Of oneself, the password that one has is asked for too."""

    current_password: str | None = None


class UpdateAdmin(Username):
    is_admin: bool


class User(Struct):
    id: int
    username: str
    is_admin: bool


class UserReply(Struct):
    user: User


class CurrentUserReply(UserReply):
    is_basic_auth: bool


class RolePermission(Struct):
    """The level of a role on a resource. Its id is a text, to be given back as it is."""

    id: str
    role_id: int
    resource_type: str
    resource_pattern: str
    permission: str


class Role(Struct):
    id: int
    name: str
    workspace: str
    description: str | None
    permissions: list[RolePermission]


class RoleReply(Struct):
    role: Role


class RolesReply(Struct):
    roles: list[Role]


class UserWithRoles(User):
    roles: list[Role]


class UsersReply(Struct):
    users: list[UserWithRoles]


class UserResource(Username):
    resource_type: Text
    resource_id: Text


class GrantPermission(UserResource):
    permission: Text


class PermissionReply(Struct):
    """The level that a user has on a resource; `allowed` says whether they may use it."""

    allowed: bool
    permission: str


class UserPermission(Struct):
    """A level of a user: through a role, or their own, which is told as that of a role by the user's id."""

    role_id: int
    role_name: str
    workspace: str
    resource_type: str
    resource_pattern: str
    permission: str


class UserPermissionsReply(Struct):
    is_admin: bool
    permissions: list[UserPermission]


class CreateRole(Struct):
    workspace: Text
    name: Text
    description: str | None = None


class RoleId(Struct):
    role_id: int


class UpdateRole(RoleId):
    """What is absent stays as it is."""

    name: str | None = None
    description: str | None = None


class AddRolePermission(RoleId):
    resource_type: Text
    resource_pattern: Text
    permission: Text


class RolePermissionId(Struct):
    role_permission_id: Text


class UpdateRolePermission(RolePermissionId):
    permission: Text


class RolePermissionReply(Struct):
    role_permission: RolePermission


class RolePermissionsReply(Struct):
    role_permissions: list[RolePermission]


class AssignRole(RoleId):
    username: Text


class Assignment(Struct):
    id: str
    user_id: int
    role_id: int


class AssignmentReply(Struct):
    assignment: Assignment


class AssignmentsReply(Struct):
    assignments: list[Assignment]
