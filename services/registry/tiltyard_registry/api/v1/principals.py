"""Users, services and groups. Paths: /api/tiltyard/v1/{me,principals,groups}…"""

from litestar.datastructures import State

from tiltyard.wire.v1.access import CreatePrincipal, Me, PrincipalInfo, PrincipalsPage, SetPassword, UpdatePrincipal
from tiltyard_registry.api.framework.replies import replies, reply
from tiltyard_registry.api.framework.routes import delete, get, patch, post, put
from tiltyard_registry.api.paging import cut, position_of
from tiltyard_registry.rules import limits
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.principals import callers, memberships, passwords
from tiltyard_registry.store.principals import principals as store
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session

_DEFAULT_PAGE = 100
_MAX_PAGE = 1000


@get("/me")
async def show_me(read_session: Session, who: Principal) -> Me:
    """Who asks, as this server knows them."""
    groups = await callers.names_of_groups(read_session, who)
    return Me(who.name, who.is_admin, who.via, groups, None if who.scopes is None else sorted(who.scopes))


@post("/principals")
async def create_principal(
    database: Database, who: Principal, state: State, request_id: str | None, data: CreatePrincipal
) -> PrincipalInfo:
    """Makes a user, a service or a group known."""
    hash = None
    if data.password is not None:
        hash = await passwords.new_hash(database, state.password_hashes, who, data.name, data.password, is_new=True)
    async with database.write(request_id=request_id) as session:
        row = await store.create_principal(
            session, who, data.kind, data.name, display_name=data.display_name, is_admin=data.is_admin
        )
        if hash is not None:
            await passwords.set_password(session, who, data.name, hash)
    return reply(row, PrincipalInfo)


@put("/principals/{name:str}/password")
async def set_password(
    database: Database, who: Principal, state: State, request_id: str | None, name: str, data: SetPassword
) -> None:
    """Gives a user a new password. What they were known by before is known no more."""
    hash = await passwords.new_hash(database, state.password_hashes, who, name, data.password, data.current_password)
    async with database.write(request_id=request_id) as session:
        await passwords.set_password(session, who, name, hash)


@get("/principals")
async def list_principals(
    read_session: Session,
    who: Principal,
    kind: str | None = None,
    max_results: int | None = None,
    page_token: str | None = None,
) -> PrincipalsPage:
    """One page of the principals, by name; who is no administrator finds themselves."""
    limit, listing = limits.page_size(max_results, default=_DEFAULT_PAGE, maximum=_MAX_PAGE), f"principals {kind}"
    after = str(position_of(page_token, listing))
    rows = await store.list_principals(read_session, who, kind=kind, after=after, limit=limit + 1)
    shown, token = cut(rows, limit, listing)
    return PrincipalsPage(replies(shown, PrincipalInfo), token)


@get("/principals/{name:str}")
async def get_principal(read_session: Session, who: Principal, name: str) -> PrincipalInfo:
    """One principal."""
    return reply(await store.get_principal(read_session, who, name), PrincipalInfo)


@patch("/principals/{name:str}")
async def update_principal(session: Session, who: Principal, name: str, data: UpdatePrincipal) -> PrincipalInfo:
    """Changes what is told of a principal, and whether they are administrator, or known at all."""
    row = await store.update_principal(
        session, who, name, display_name=data.display_name, is_admin=data.is_admin, is_active=data.is_active
    )
    return reply(row, PrincipalInfo)


@delete("/principals/{name:str}")
async def delete_principal(session: Session, who: Principal, name: str, reassign_to: str | None = None) -> None:
    """Removes a principal; what they own is owned by `reassign_to` then."""
    await store.delete_principal(session, who, name, reassign_to=reassign_to)


@get("/groups/{name:str}/members")
async def list_members(
    read_session: Session,
    who: Principal,
    name: str,
    max_results: int | None = None,
    page_token: str | None = None,
) -> PrincipalsPage:
    """One page of those who are in a group, by name."""
    limit, listing = limits.page_size(max_results, default=_DEFAULT_PAGE, maximum=_MAX_PAGE), f"members {name}"
    after = str(position_of(page_token, listing))
    rows = await memberships.list_members(read_session, who, name, after=after, limit=limit + 1)
    shown, token = cut(rows, limit, listing)
    return PrincipalsPage(replies(shown, PrincipalInfo), token)


@put("/groups/{name:str}/members/{member:str}")
async def add_member(session: Session, who: Principal, name: str, member: str) -> None:
    """Has a principal be in a group."""
    await memberships.add_member(session, who, name, member)


@delete("/groups/{name:str}/members/{member:str}")
async def remove_member(session: Session, who: Principal, name: str, member: str) -> None:
    """Has a principal not be in a group."""
    await memberships.remove_member(session, who, name, member)
