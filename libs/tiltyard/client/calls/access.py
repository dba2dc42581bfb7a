"""Who is known to the registry, their tokens, and what is granted to them."""

from collections.abc import Sequence

from tiltyard.client.call import Call, nothing, reply
from tiltyard.client.calls import OWN, given, quoted
from tiltyard.wire.v1.access import (
    ChangeGrants,
    CreatePrincipal,
    CreateToken,
    GrantChange,
    GrantInfo,
    GrantsReply,
    Me,
    NewToken,
    PrincipalInfo,
    PrincipalKind,
    PrincipalsPage,
    RotateToken,
    SetPassword,
    TokensPage,
    UpdatePrincipal,
)


def _principal(name: str) -> str:
    return f"{OWN}/principals/{quoted(name)}"


def _members(group: str) -> str:
    return f"{OWN}/groups/{quoted(group)}/members"


def _securable(door: str, securable_type: str, full_name: str) -> str:
    return f"{OWN}/{door}/{quoted(securable_type)}/{quoted(full_name)}"


def me() -> Call[Me]:
    """Who the registry takes this client for."""
    return Call("GET", f"{OWN}/me", reply(Me))


def create_principal(
    kind: PrincipalKind,
    name: str,
    *,
    password: str | None = None,
    display_name: str | None = None,
    is_admin: bool = False,
) -> Call[PrincipalInfo]:
    """Makes a user, a service or a group known.

    Raises:
        PermissionDenied: the caller is no administrator.
        ResourceAlreadyExists: somebody is called so.
    """
    request = CreatePrincipal(kind, name, display_name, is_admin, password)
    return Call("POST", f"{OWN}/principals", reply(PrincipalInfo), request, creates=True)


def list_principals(
    *, kind: PrincipalKind | None = None, max_results: int | None = None, page_token: str | None = None
) -> Call[PrincipalsPage]:
    """One page of the principals, by name; who is no administrator finds themselves."""
    query = given(kind=kind, max_results=max_results, page_token=page_token)
    return Call("GET", f"{OWN}/principals", reply(PrincipalsPage), query=query)


def get_principal(name: str) -> Call[PrincipalInfo]:
    """A user, a service or a group."""
    return Call("GET", _principal(name), reply(PrincipalInfo))


def update_principal(
    name: str, *, display_name: str | None = None, is_admin: bool | None = None, is_active: bool | None = None
) -> Call[PrincipalInfo]:
    """Changes what is given. Who is not active is known no more."""
    request = UpdatePrincipal(display_name, is_admin, is_active)
    return Call("PATCH", _principal(name), reply(PrincipalInfo), request)


def delete_principal(name: str, *, reassign_to: str | None = None) -> Call[None]:
    """Removes a principal; what they own is owned by `reassign_to` then.

    Raises:
        ResourceConflict: they own something, and nobody is named who gets it.
    """
    return Call("DELETE", _principal(name), nothing, query=given(reassign_to=reassign_to))


def set_password(name: str, password: str, *, current_password: str | None = None) -> Call[None]:
    """Gives a user a password; of oneself the one that one has must be told too."""
    request = SetPassword(password, current_password)
    # Done twice, the second time would be told that the current one is wrong.
    return Call("PUT", f"{_principal(name)}/password", nothing, request, creates=current_password is not None)


def list_members(group: str, *, max_results: int | None = None, page_token: str | None = None) -> Call[PrincipalsPage]:
    """One page of those who are in a group, by name."""
    query = given(max_results=max_results, page_token=page_token)
    return Call("GET", _members(group), reply(PrincipalsPage), query=query)


def add_member(group: str, member: str) -> Call[None]:
    """Has a principal be in a group; one that is in it is no error."""
    return Call("PUT", f"{_members(group)}/{quoted(member)}", nothing)


def remove_member(group: str, member: str) -> Call[None]:
    """Has a principal not be in a group; one that is not in it is no error."""
    return Call("DELETE", f"{_members(group)}/{quoted(member)}", nothing)


def create_token(
    name: str, *, expires_in_days: int = 90, scopes: Sequence[str] = ("read", "write"), principal: str | None = None
) -> Call[NewToken]:
    """Makes a token of one's own or, for administrators, of the service `principal`. Its text is told this once."""
    request = CreateToken(name, expires_in_days, list(scopes), principal)
    return Call("POST", f"{OWN}/tokens", reply(NewToken), request, creates=True)


def list_tokens(
    *, principal: str | None = None, max_results: int | None = None, page_token: str | None = None
) -> Call[TokensPage]:
    """One page of one's own tokens or, for administrators, of all or of one principal's."""
    query = given(principal=principal, max_results=max_results, page_token=page_token)
    return Call("GET", f"{OWN}/tokens", reply(TokensPage), query=query)


def revoke_token(id: int) -> Call[None]:
    """Has a token be good no more, at once."""
    return Call("DELETE", f"{OWN}/tokens/{id}", nothing)


def rotate_token(id: int, *, grace_s: int = 3600) -> Call[NewToken]:
    """Makes a token that follows another one, which goes on for a grace. Its text is told this once."""
    return Call("POST", f"{OWN}/tokens/{id}/rotate", reply(NewToken), RotateToken(grace_s), creates=True)


def get_grants(securable_type: str, full_name: str, *, principal: str | None = None) -> Call[list[GrantInfo]]:
    """What is granted on a securable itself: all of it to who manages it, to others what is theirs."""
    path = _securable("grants", securable_type, full_name)
    return Call("GET", path, reply(GrantsReply, "grants"), query=given(principal=principal))


def change_grants(securable_type: str, full_name: str, changes: Sequence[GrantChange]) -> Call[list[GrantInfo]]:
    """Grants privileges on a securable and takes some back, all or none; the result is what is granted then."""
    path = _securable("grants", securable_type, full_name)
    return Call("PATCH", path, reply(GrantsReply, "grants"), ChangeGrants(list(changes)))


def effective_permissions(
    securable_type: str, full_name: str, *, principal: str | None = None, privilege: str | None = None
) -> Call[list[GrantInfo]]:
    """Why may `principal` do something, or who can use `privilege`: what is granted there and above."""
    path = _securable("effective-permissions", securable_type, full_name)
    return Call("GET", path, reply(GrantsReply, "grants"), query=given(principal=principal, privilege=privilege))
