"""Callers that a header names, and what they were granted."""

from collections.abc import Mapping

from tiltyard_registry.rules.access import Kind, Principal, Privilege
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.access import grants

HEADER = "x-caller"
EVERYONE, READERS = 1, 21

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


async def by_header(headers: Mapping[str, str]) -> Principal | None:
    """The caller that the header names: an auth provider."""
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
