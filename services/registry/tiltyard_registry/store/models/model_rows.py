"""Rows of registered models: found, locked for a change, and said to be missing."""

from typing import Any

from sqlalchemy import RowMapping, select, update

from tiltyard.errors import ResourceDoesNotExist
from tiltyard.names import parse_model_name
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.store import access
from tiltyard_registry.store.sql.session import Found, Session, now_ms
from tiltyard_registry.tables.models import registered_models


async def find_model(
    session: Session, who: Principal, wanted: Privilege, name: str, *, lock: bool = False, named: str | None = None
) -> RowMapping:
    """The row of the model of this name, for who wants to do something to it, or to its alias or stage `named`.

    With `lock`, who else would change the model, its aliases or its versions waits for this transaction.

    Raises:
        ResourceDoesNotExist: there is none that `who` may see.
        PermissionDenied: they may not do it.
    """
    shown = parse_model_name(name).shown
    found = select(registered_models).where(registered_models.c.name == shown)
    query = access.held(found, who, access.MODELS, wanted, named=named)
    row = await session.one(query.with_for_update(of=registered_models) if lock else query)
    return access.admit(who, wanted, row, no_model(shown), f"registered model {shown}")


async def lock_model(
    session: Session, who: Principal, wanted: Privilege, name: str, *, named: str | None = None
) -> RowMapping:
    """As `find_model`, with the model locked until the transaction ends."""
    return await find_model(session, who, wanted, name, lock=True, named=named)


async def touch(session: Session, who: Principal, model: Found, **values: Any) -> None:
    """Sets columns of a model, and when and by whom it was changed."""
    await session.execute(
        update(registered_models)
        .where(registered_models.c.id == model["id"])
        .values(**values, last_updated_timestamp=now_ms(), updated_by=who.name)
    )


def no_model(shown: str) -> ResourceDoesNotExist:
    """The error that says that no model has this name."""
    return ResourceDoesNotExist(f"Registered Model with name={shown} not found")
