"""Who somebody is, by what they come with."""

from typing import Any

from sqlalchemy import RowMapping, or_, select, update

from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.names import EVERYONE
from tiltyard_registry.store.principals.memberships import groups_above
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.tables.principals import principals, tokens

USED_EVERY_MS = 60_000
_CALLER = (principals.c.id, principals.c.name, principals.c.is_admin)


async def caller_of_token(database: Database, hash: str) -> Principal | None:
    """Whose token this is; None when it is nobody's, or good no more, or its owner is not active.

    Raises:
        TemporarilyUnavailable: the database is away.
    """
    query = select(*_CALLER, tokens.c.id.label("token_id"), tokens.c.scopes).join_from(tokens, principals)
    is_good = (tokens.c.revoked_at.is_(None), tokens.c.expires_at > now_ms(), principals.c.is_active)
    async with database.read() as session:
        row = await session.one(query.where(tokens.c.hash == hash, *is_good))
        if row is None:
            return None
        grantees = await grantees_of(session, row["id"])
    scopes = frozenset(row["scopes"].split())
    return caller(row, grantees, scopes=scopes, via=f"token {row['token_id']}")


def caller(row: RowMapping, grantees: tuple[int, ...], *, scopes: frozenset[str] | None, via: str) -> Principal:
    """The caller whose row this is. With a token that is not for it, an administrator is one like others."""
    known: dict[str, Any] = {"id": row["id"], "grantees": grantees, "scopes": scopes, "via": via}
    is_admin = row["is_admin"] and (scopes is None or "admin" in scopes)
    return Principal(row["name"], is_admin=is_admin, **known)


async def grantees_of(session: Session, id: int) -> tuple[int, ...]:
    """The ids whose grants count for a principal: its own, its groups', theirs, and that of everybody's group."""
    everyone = select(principals.c.id).where(principals.c.name == EVERYONE)
    found = await session.execute(groups_above(id).union(everyone))
    return tuple(sorted(found.scalars()))


async def names_of_groups(session: Session, who: Principal) -> list[str]:
    """The groups that a caller is in, by name."""
    query = select(principals.c.name).where(principals.c.id.in_(who.grantees), principals.c.id != who.id)
    return list((await session.execute(query.order_by(principals.c.name))).scalars())


async def note_use(database: Database, hash: str) -> None:
    """Notes when a token was used last, to the minute.

    Raises:
        TemporarilyUnavailable: the database is away, or its disk is full.
    """
    now = now_ms()
    is_older = or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at < now - USED_EVERY_MS)
    async with database.write() as session:
        await session.execute(update(tokens).where(tokens.c.hash == hash, is_older).values(last_used_at=now))
