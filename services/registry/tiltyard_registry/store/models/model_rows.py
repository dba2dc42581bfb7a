"""Rows of registered models: found, locked for a change, and said to be missing."""

from typing import Any

from sqlalchemy import RowMapping, select, update

from tiltyard.errors import ResourceDoesNotExist
from tiltyard.names import parse_model_name
from tiltyard_registry.rules import access
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.store.sql.session import Found, Session, now_ms
from tiltyard_registry.tables.models import registered_models


async def find_model(session: Session, shown: str) -> RowMapping:
    """The row of the model with this name, as the protocol shows names.

    Raises:
        ResourceDoesNotExist: there is none.
    """
    row = await session.one(select(registered_models).where(registered_models.c.name == shown))
    if row is None:
        raise no_model(shown)
    return row


async def lock_model(session: Session, who: Principal, action: Action, name: str) -> RowMapping:
    """The model's row; who else would change the model, its aliases or its versions waits for this transaction.

    Raises:
        PermissionDenied: `who` may not do `action` to it.
        ResourceDoesNotExist: there is none.
    """
    shown = parse_model_name(name).shown
    access.require(who, action, f"registered model {shown}")
    row = await session.one(select(registered_models).where(registered_models.c.name == shown).with_for_update())
    if row is None:
        raise no_model(shown)
    return row


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
