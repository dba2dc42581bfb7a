"""Passwords, as hashes: kept, and looked up for who signs in."""

from typing import NamedTuple, Protocol

from sqlalchemy import select, update

from tiltyard.errors import InvalidParameterValue, PermissionDenied
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.events import PrincipalUpdated
from tiltyard_registry.rules.principals.names import PrincipalKind
from tiltyard_registry.rules.principals.passwords import check_new_password
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.principals.callers import caller, grantees_of
from tiltyard_registry.store.principals.principal_rows import find_principal, require_admin
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.tables.principals import principals


class Known(NamedTuple):
    """The password of an active user: its hash, and how many there were before."""

    id: int
    hash: str
    epoch: int


async def password_of(database: Database, name: str) -> Known | None:
    """The password of the active user of this name; None when there is none.

    Raises:
        TemporarilyUnavailable: the database is away.
    """
    query = select(principals).where(principals.c.name == name, principals.c.is_active)
    async with database.read() as session:
        row = await session.one(query)
    if row is None or row["password_hash"] is None:
        return None
    return Known(row["id"], row["password_hash"], row["password_epoch"])


async def owner_of(database: Database, known: Known, *, via: str) -> Principal | None:
    """Whose password that is; None when it is good no more.

    Raises:
        TemporarilyUnavailable: the database is away.
    """
    still = (principals.c.id == known.id, principals.c.is_active, principals.c.password_epoch == known.epoch)
    async with database.read() as session:
        row = await session.one(select(principals).where(*still))
        if row is None:
            return None
        return caller(row, await grantees_of(session, row["id"]), scopes=None, via=via)


async def set_password(session: Session, who: Principal, name: str, hash: str) -> None:
    """Gives a user a new password, of which this is the hash. What was known of the last one is known no more.

    Raises:
        PermissionDenied: it is somebody else's and `who` is no administrator, or `who` came with a token.
        ResourceDoesNotExist: nobody is called so.
        InvalidParameterValue: it is no user.
    """
    if name != who.name:
        require_admin(who, "giving somebody else a password")
    elif who.scopes is not None and not who.is_admin:
        raise PermissionDenied("A token cannot change its owner's password.")
    row = await find_principal(session, name, lock=True)
    if row["kind"] != PrincipalKind.USER:
        raise InvalidParameterValue(f"Principal '{name}' is a {row['kind']}: users alone have passwords.")
    new = {"password_hash": hash, "password_epoch": principals.c.password_epoch + 1, "updated_at": now_ms()}
    await session.execute(update(principals).where(principals.c.id == row["id"]).values(new))
    outbox.record(session, who, PrincipalUpdated({}, {"password": "changed"}, full_name=name))


class Hashes(Protocol):
    """Makes and checks hashes of passwords, beside the event loop."""

    async def hash(self, password: str) -> str:
        """The hash of a new password."""
        ...

    async def fits(self, hash: str | None, password: str) -> bool:
        """Whether a hash is of this password."""
        ...


async def new_hash(
    database: Database,
    hashes: Hashes,
    who: Principal,
    name: str,
    password: str,
    current: str | None = None,
    *,
    is_new: bool = False,
) -> str:
    """The hash of a new password of `name`, made before a transaction begins. Of oneself the current one is asked for.

    With `is_new` the name is one that shall be made known.

    Raises:
        PermissionDenied: it is somebody else's and `who` is no administrator, or `current` is not what they have now.
        InvalidParameterValue: the password is not allowed.
        RequestLimitExceeded: too many wait for a hash.
    """
    if is_new or name != who.name:
        require_admin(who, "giving somebody else a password")
    elif (known := await password_of(database, name)) and not await hashes.fits(known.hash, current or ""):
        raise PermissionDenied("Parameter 'current_password' is not the password that you have now.")
    return await hashes.hash(check_new_password(password, name))


async def rehash(database: Database, known: Known, hash: str) -> None:
    """Keeps a better hash of the same password, unless there is another password by now."""
    still = (principals.c.id == known.id, principals.c.password_hash == known.hash)
    async with database.write() as session:
        await session.execute(update(principals).where(*still).values(password_hash=hash))
