"""Tokens. Paths: /api/tiltyard/v1/tokens…"""

from litestar.datastructures import State

from tiltyard.wire.v1.access import CreateToken, NewToken, RotateToken, TokenInfo, TokensPage
from tiltyard_registry.api.framework.replies import replies
from tiltyard_registry.api.framework.routes import delete, get, post
from tiltyard_registry.api.paging import cut, position_of
from tiltyard_registry.rules import limits
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.principals import tokens as store
from tiltyard_registry.store.sql.session import Session

_DEFAULT_PAGE = 100
_MAX_PAGE = 1000


@post("/tokens")
async def create_token(session: Session, who: Principal, state: State, data: CreateToken) -> NewToken:
    """Makes a token, which is told this once."""
    made = await store.create_token(
        session,
        who,
        data.name,
        expires_in_days=data.expires_in_days,
        most_days=state.settings.token_max_days,
        scopes=tuple(data.scopes),
        principal=data.principal,
    )
    return _told(made)


@get("/tokens")
async def list_tokens(
    read_session: Session,
    who: Principal,
    principal: str | None = None,
    max_results: int | None = None,
    page_token: str | None = None,
) -> TokensPage:
    """One page of one's own tokens, or, for administrators, of all or of one principal's."""
    limit, listing = limits.page_size(max_results, default=_DEFAULT_PAGE, maximum=_MAX_PAGE), f"tokens {principal}"
    after = int(position_of(page_token, listing, int))
    rows = await store.list_tokens(read_session, who, principal=principal, after=after, limit=limit + 1)
    shown, token = cut(rows, limit, listing, key="id")
    return TokensPage(replies(({**row, "scopes": row["scopes"].split()} for row in shown), TokenInfo), token)


@delete("/tokens/{id:int}")
async def revoke_token(session: Session, who: Principal, id: int) -> None:
    """Has a token be good no more, at once."""
    await store.revoke_token(session, who, id)


@post("/tokens/{id:int}/rotate")
async def rotate_token(session: Session, who: Principal, id: int, data: RotateToken) -> NewToken:
    """Makes a token that follows another one, which goes on for a grace."""
    return _told(await store.rotate_token(session, who, id, grace_s=data.grace_s))


def _told(made: store.NewToken) -> NewToken:
    return NewToken(made.text, made.row["id"], made.row["prefix"], made.row["expires_at"])
