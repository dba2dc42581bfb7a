"""Tokens: the text of one is told once, to who makes it, and its hash is kept."""

import secrets
from typing import Any, NamedTuple, TypedDict, cast

from sqlalchemy import Select, insert, select, update

from tiltyard.errors import InvalidParameterValue, PermissionDenied, ResourceDoesNotExist
from tiltyard_registry.rules.access import Principal, Scope
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.rules.principals.events import TokenCreated, TokenRevoked, TokenRotated
from tiltyard_registry.rules.principals.names import PrincipalKind
from tiltyard_registry.rules.principals.tokens import (
    ALPHABET,
    RANDOM_CHARS,
    SHOWN_CHARS,
    check_scopes,
    hash_of,
    token_text,
)
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.principals.principal_rows import PrincipalRow, find_principal, require_admin
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.tables.principals import principals, tokens

MAX_GRACE_S = 7 * 24 * 3600
_DAY_MS = 24 * 3600 * 1000
_MAX_NAME_CHARS = 255


class TokenRow(TypedDict):
    """What is told of a token, and the name of its owner."""

    id: int
    principal: str
    prefix: str
    name: str
    scopes: str
    created_at: int
    created_by: str
    expires_at: int
    revoked_at: int | None
    last_used_at: int | None


class NewToken(NamedTuple):
    """A token that was just made: its text, which nobody is told again, and its row."""

    text: str
    row: TokenRow


async def create_token(
    session: Session,
    who: Principal,
    name: str,
    *,
    expires_in_days: int,
    most_days: int,
    scopes: tuple[str, ...],
    principal: str | None = None,
) -> NewToken:
    """A new token of `who`, or of the service `principal`.

    Raises:
        PermissionDenied: it is for somebody else and `who` is no administrator, or `who` came with a token that may
            do less.
        ResourceDoesNotExist: there is no such principal.
        InvalidParameterValue: a name, a number of days or a scope that is not allowed, or whose it would be has none.
    """
    owner = await _owner(session, who, principal)
    wanted = check_scopes(scopes)
    if who.scopes is not None and Scope.ADMIN not in who.scopes and not who.scopes.issuperset(wanted):
        raise PermissionDenied("A token cannot make one that may do more than itself.")
    if not 1 <= expires_in_days <= most_days:
        raise InvalidParameterValue(
            f"Invalid value {expires_in_days} for parameter 'expires_in_days': expected 1 to {most_days}."
        )
    check_length(name, _MAX_NAME_CHARS, "name")
    made = await _insert(session, who, owner, name, " ".join(wanted), now_ms() + expires_in_days * _DAY_MS)
    outbox.record(session, who, TokenCreated(owner["name"], _told(made.row)))
    return made


async def list_tokens(
    session: Session, who: Principal, *, principal: str | None = None, after: int = 0, limit: int
) -> list[TokenRow]:
    """At most `limit` tokens by id, those behind the id `after`: one's own, or, for administrators, anybody's."""
    query = _tokens(who).where(tokens.c.id > after)
    if principal is not None:
        query = query.where(principals.c.name == principal)
    return cast(list[TokenRow], await session.all(query.order_by(tokens.c.id).limit(limit)))


async def revoke_token(session: Session, who: Principal, id: int) -> None:
    """Has a token be good no more; one that is revoked already is no error.

    Raises:
        ResourceDoesNotExist: there is no such token, or it is somebody else's.
    """
    row = await _find(session, who, id)
    if row["revoked_at"] is None:
        await session.execute(update(tokens).where(tokens.c.id == id).values(revoked_at=now_ms()))
        outbox.record(session, who, TokenRevoked(row["principal"], _told(row)))


async def rotate_token(session: Session, who: Principal, id: int, *, grace_s: int) -> NewToken:
    """A new token in place of another one, which goes on for `grace_s` seconds.

    It is for the same, and for as many days.

    Raises:
        ResourceDoesNotExist: there is no such token, or it is somebody else's.
        InvalidParameterValue: it is good no more, or the grace is too long.
    """
    row = await _find(session, who, id)
    now = now_ms()
    if row["revoked_at"] is not None or row["expires_at"] <= now:
        raise InvalidParameterValue(f"Token {id} is good no more: make a new one.")
    if not 0 <= grace_s <= MAX_GRACE_S:
        raise InvalidParameterValue(f"Invalid value {grace_s} for parameter 'grace_s': expected 0 to {MAX_GRACE_S}.")
    owner = await find_principal(session, row["principal"])
    days_ms = row["expires_at"] - row["created_at"]
    made = await _insert(session, who, owner, row["name"], row["scopes"], now + days_ms)
    ends_at = min(row["expires_at"], now + 1000 * grace_s)
    await session.execute(update(tokens).where(tokens.c.id == id).values(expires_at=ends_at))
    outbox.record(session, who, TokenRotated(row["principal"], {**_told(row), "followed_by": made.row["id"]}))
    return made


async def _owner(session: Session, who: Principal, principal: str | None) -> PrincipalRow:
    if principal is None or (principal == who.name and who.id is not None):
        if who.id is None:
            raise InvalidParameterValue(
                f"Principal '{who.name}' has no tokens: say whose it is to be with parameter 'principal'."
            )
        return await find_principal(session, who.name, lock=True)
    require_admin(who, "making a token for somebody else")
    owner = await find_principal(session, principal, lock=True)
    if owner["kind"] != PrincipalKind.SERVICE:
        raise InvalidParameterValue(
            f"Principal '{principal}' is a {owner['kind']}: an administrator makes tokens for services, and users "
            "make their own."
        )
    return owner


async def _insert(
    session: Session, who: Principal, owner: PrincipalRow, name: str, scopes: str, expires_at: int
) -> NewToken:
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARS))
    text = token_text(PrincipalKind(owner["kind"]), random)
    row = {
        "principal_id": owner["id"],
        "hash": hash_of(text),
        "prefix": text[:SHOWN_CHARS],
        "name": name,
        "scopes": scopes,
        "created_at": now_ms(),
        "created_by": who.name,
        "expires_at": expires_at,
    }
    id = await session.scalar(insert(tokens).values(row).returning(tokens.c.id))
    unused = {"revoked_at": None, "last_used_at": None}
    return NewToken(text, cast(TokenRow, {**row, **unused, "id": id, "principal": owner["name"]}))


def _tokens(who: Principal) -> Select[Any]:
    query = select(tokens, principals.c.name.label("principal")).join_from(tokens, principals)
    return query if who.is_admin else query.where(tokens.c.principal_id == who.id)


async def _find(session: Session, who: Principal, id: int) -> TokenRow:
    row = None
    if 0 < id < 2**63:
        row = await session.one(_tokens(who).where(tokens.c.id == id).with_for_update(of=tokens))
    if row is None:
        raise ResourceDoesNotExist(f"Token {id} does not exist.")
    return cast(TokenRow, row)


def _told(row: TokenRow) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "prefix", "name", "scopes", "expires_at")}
