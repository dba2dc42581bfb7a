"""Permissions. Paths: /api/2.1/unity-catalog/{permissions,effective-permissions}/{securable_type}/{full_name}"""

from typing import Annotated

from msgspec import Meta, Struct

from tiltyard.wire.tags import Text


class PermissionsChange(Struct):
    """What is granted to one principal and what is taken back."""

    principal: Text
    add: list[str] = []
    remove: list[str] = []


class UpdatePermissions(Struct):
    """Changes that are all made, or none of them is."""

    changes: Annotated[list[PermissionsChange], Meta(max_length=1000)] = []


class PrivilegeAssignment(Struct):
    """What one principal was granted on a securable."""

    principal: str
    privileges: list[str]


class PermissionsList(Struct):
    privilege_assignments: list[PrivilegeAssignment]


class EffectivePrivilege(Struct, omit_defaults=True):
    """A privilege, and what it was granted on where that lies above."""

    privilege: str
    inherited_from_type: str | None = None
    inherited_from_name: str | None = None


class EffectivePrivilegeAssignment(Struct):
    """What counts for one principal on a securable."""

    principal: str
    privileges: list[EffectivePrivilege]


class EffectivePermissionsList(Struct):
    privilege_assignments: list[EffectivePrivilegeAssignment]
