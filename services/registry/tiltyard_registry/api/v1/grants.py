"""Grants. Paths: /api/tiltyard/v1/{grants,effective-permissions}/{securable_type}/{full_name}"""

from collections.abc import Sequence

from tiltyard.wire.v1.access import ChangeGrants, GrantInfo, GrantsReply
from tiltyard_registry.api.framework.routes import get, patch
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.principals import grants as store
from tiltyard_registry.store.sql.session import Session


@get("/grants/{securable_type:str}/{full_name:str}")
async def list_grants(
    read_session: Session, who: Principal, securable_type: str, full_name: str, principal: str | None = None
) -> GrantsReply:
    """What is granted on a securable itself: all of it to who manages it, to others what is theirs."""
    return _told(await store.list_grants(read_session, who, securable_type, full_name, principal=principal))


@patch("/grants/{securable_type:str}/{full_name:str}")
async def change_grants(
    session: Session, who: Principal, securable_type: str, full_name: str, data: ChangeGrants
) -> GrantsReply:
    """Grants privileges on a securable and takes some back; answers what is granted then."""
    changes = [store.GrantChange(one.principal, one.add, one.remove, one.names) for one in data.changes]
    return _told(await store.change_grants(session, who, securable_type, full_name, changes))


@get("/effective-permissions/{securable_type:str}/{full_name:str}")
async def list_effective_grants(
    read_session: Session,
    who: Principal,
    securable_type: str,
    full_name: str,
    principal: str | None = None,
    privilege: str | None = None,
) -> GrantsReply:
    """Why may somebody do something, or who can: what is granted there and above, and to which groups."""
    return _told(
        await store.effective_grants(
            read_session, who, securable_type, full_name, principal=principal, privilege=privilege
        )
    )


def _told(found: Sequence[store.Grant]) -> GrantsReply:
    return GrantsReply([GrantInfo(one.principal, str(one.privilege.name), *one.on, one.names) for one in found])
