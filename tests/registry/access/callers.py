"""Callers that a header names, and what they were granted."""

from collections.abc import Mapping

from sqlalchemy import text

from tiltyard_registry.auth.sources import Sources
from tiltyard_registry.rules.access import Kind, Principal, Privilege
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.access import grants
from tiltyard_registry.tables.principals import principals

HEADER = "x-caller"
EVERYONE, READERS, LEAVERS = 1, 21, 22

ADMIN = Principal("admin", id=9, grantees=(9, EVERYONE), is_admin=True)
STRANGER = Principal("stranger", id=10, grantees=(10, EVERYONE))
# Theirs come through a group.
READER = Principal("reader", id=11, grantees=(11, READERS, EVERYONE))
EDITOR = Principal("editor", id=12, grantees=(12, EVERYONE))
OWNER = Principal("owner", id=13, grantees=(13, EVERYONE))
CALLERS = {caller.name: caller for caller in (ADMIN, STRANGER, READER, EDITOR, OWNER)}

P = Privilege
READING = {Kind.EXPERIMENT: P.READ, Kind.MODEL: P.EXECUTE, Kind.CATALOG: P.USE_CATALOG, Kind.SCHEMA: P.USE_SCHEMA}
EDITING = {
    **READING,
    Kind.EXPERIMENT: P.EDIT,
    Kind.MODEL: P.EXECUTE | P.CREATE_MODEL_VERSION | P.APPLY_TAG | P.SET_ALIAS | P.TRANSITION_STAGE,
}
OWNING = dict.fromkeys((Kind.CATALOG, Kind.SCHEMA, Kind.MODEL, Kind.EXPERIMENT), P.OWNER)
GRANTED: dict[int, Mapping[Kind, Privilege]] = {READERS: READING, EDITOR.id or 0: EDITING, OWNER.id or 0: OWNING}
"""What is granted on each securable of a scene, by the id of who gets it."""


class ByHeader:
    """An auth provider that knows the caller whom the header names."""

    def __init__(self, sources: Sources) -> None:
        """It needs nothing of the `sources`."""

    async def __call__(self, headers: Mapping[str, str], address: str) -> Principal | None:
        """The caller."""
        return CALLERS.get(headers.get(HEADER, ""))


async def grant(database: Database, principal_id: int, kind: Kind, id: int, privileges: Privilege) -> None:
    """Grants each of the privileges; what was granted before is granted still."""
    async with database.write() as session:
        for privilege in privileges:
            row = {"principal_id": principal_id, "securable_type": int(kind), "securable_id": id}
            await session.execute(
                grants.insert(), {**row, "privilege": int(privilege), "granted_by": "admin", "granted_at": 0}
            )


async def revoke(database: Database, principal_id: int) -> None:
    """Takes back whatever was granted to one."""
    async with database.write() as session:
        await session.execute(grants.delete().where(grants.c.principal_id == principal_id))


async def make_known(database: Database) -> None:
    """Gives each caller a row, so that something can be granted to them and tokens be theirs."""
    row = {"kind": "user", "is_active": True, "created_at": 0, "updated_at": 0}
    named = [(caller.id, caller.name, caller.is_admin, "user") for caller in CALLERS.values()]
    async with database.write() as session:
        for id, name, is_admin, kind in (
            *named,
            (READERS, "readers", False, "group"),
            (LEAVERS, "leavers", False, "group"),
        ):
            given = {"id": id, "uuid": name, "name": name, "is_admin": is_admin, "kind": kind}
            await session.execute(principals.insert(), row | given)
        if not session.is_sqlite:
            # The database gives ids of its own from here on.
            await session.execute(text("SELECT setval(pg_get_serial_sequence('principals', 'id'), 1000)"))
