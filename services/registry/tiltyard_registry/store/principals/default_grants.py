"""What everybody may do from the first start with authentication on."""

from sqlalchemy import select

from tiltyard_registry.rules.access import SYSTEM, Privilege
from tiltyard_registry.rules.principals.events import GrantsChanged
from tiltyard_registry.rules.principals.grants import DEFAULT_GRANTS, names_of
from tiltyard_registry.rules.principals.names import EVERYONE, PrincipalKind
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.principals.grants import grant_privileges
from tiltyard_registry.store.principals.principals import insert_principal
from tiltyard_registry.store.principals.securables import TYPE_OF, find_securable
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.principals import principals


async def begin_access(database: Database, *, with_grants: bool) -> None:
    """Makes the group of everybody known, and grants to it what stock clients need.

    Once for all: what an administrator takes back of it later stays taken back, after each start too.
    """
    async with database.write() as session:
        await session.lock("administrators")
        if await session.scalar(select(principals.c.id).where(principals.c.name == EVERYONE)) is not None:
            return
        row = {"kind": PrincipalKind.GROUP, "name": EVERYONE, "is_active": True, "is_admin": False}
        id = await insert_principal(session, SYSTEM, row)
        for kind, name, privileges in DEFAULT_GRANTS if with_grants else ():
            securable = await find_securable(session, SYSTEM, Privilege.MANAGE, TYPE_OF[kind], name)
            await grant_privileges(session, SYSTEM, id, securable, privileges)
            told = {EVERYONE: names_of(privileges)}
            outbox.record(session, SYSTEM, GrantsChanged({}, told, full_name=securable.full))
