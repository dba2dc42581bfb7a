"""Principals, tokens and grants. Paths: /api/tiltyard/v1/{me,principals,groups,tokens,grants,effective-permissions}…"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from tiltyard.wire.tags import Text

PrincipalKind = Literal["user", "service", "group"]


class PrincipalInfo(Struct):
    """A user, a service or a group. Times in milliseconds since the epoch."""

    name: str
    kind: PrincipalKind
    display_name: str | None
    is_admin: bool
    is_active: bool
    created_at: int
    created_by: str | None
    updated_at: int


class PrincipalsPage(Struct, omit_defaults=True):
    principals: list[PrincipalInfo]
    next_page_token: str | None = None


class CreatePrincipal(Struct):
    kind: PrincipalKind
    name: Text
    display_name: str | None = None
    is_admin: bool = False
    password: str | None = None


class SetPassword(Struct):
    """A new password. Of oneself, the one that one has is asked for too."""

    password: Text
    current_password: str | None = None


class UpdatePrincipal(Struct):
    """What is absent stays as it is."""

    display_name: str | None = None
    is_admin: bool | None = None
    is_active: bool | None = None


class Me(Struct):
    """Who asks: by which provider they are known, in which groups they are, and what their token is for.

    `scopes` is null where nothing is kept from them.
    """

    name: str
    is_admin: bool
    via: str
    groups: list[str]
    scopes: list[str] | None


class TokenInfo(Struct):
    """A token by its first characters. Times in milliseconds since the epoch."""

    id: int
    principal: str
    prefix: str
    name: str
    scopes: list[str]
    created_at: int
    created_by: str
    expires_at: int
    revoked_at: int | None
    last_used_at: int | None


class TokensPage(Struct, omit_defaults=True):
    tokens: list[TokenInfo]
    next_page_token: str | None = None


class CreateToken(Struct):
    """A token of one's own, or, for administrators, of a service."""

    name: Text
    expires_in_days: int = 90
    scopes: list[str] = field(default_factory=lambda: ["read", "write"])
    principal: str | None = None


class RotateToken(Struct):
    """The token that is followed goes on for so many seconds."""

    grace_s: int = 3600


class NewToken(Struct):
    """A token, which is told this once, and its id and first characters."""

    token: str
    id: int
    prefix: str
    expires_at: int


class GrantChange(Struct):
    """What is granted to a principal, and taken back. `names` limit what is granted to those aliases or stages."""

    principal: Text
    add: list[str] = []
    remove: list[str] = []
    names: list[str] | None = None


class ChangeGrants(Struct):
    """Changes that are all made, or none of them is."""

    changes: Annotated[list[GrantChange], Meta(min_length=1, max_length=1000)]


class GrantInfo(Struct, omit_defaults=True):
    """A privilege of a principal on a securable; `names` where it is limited to some."""

    principal: str
    privilege: str
    securable_type: str
    full_name: str
    names: list[str] | None = None


class GrantsReply(Struct):
    grants: list[GrantInfo]
