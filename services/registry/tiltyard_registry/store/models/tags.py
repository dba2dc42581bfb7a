"""Tags of registered models and of versions."""

from typing import Any

from sqlalchemy import Table, and_, select

from tiltyard_registry.rules import limits
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.events import ModelTagDeleted, ModelTagSet, VersionTagDeleted, VersionTagSet
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.models.model_rows import lock_model
from tiltyard_registry.store.models.version_rows import lock_version
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.models import model_version_tags, registered_model_tags

_Change = tuple[dict[str, str] | None, dict[str, str] | None]


async def set_registered_model_tag(session: Session, who: Principal, name: str, key: str, value: str) -> None:
    """Sets one tag of the model.

    Raises:
        ResourceDoesNotExist: no model has this name.
        InvalidParameterValue: a key or value that is not allowed.
    """
    limits.check_tag(key, value)
    model = await lock_model(session, who, Privilege.APPLY_TAG, name)
    owner = {"registered_model_id": model["id"]}
    change = await _change(session, registered_model_tags, owner, key, value)
    if change is not None:
        outbox.record(session, who, ModelTagSet(*change), model=model)


async def delete_registered_model_tag(session: Session, who: Principal, name: str, key: str) -> None:
    """Removes one tag of the model; an absent one is no error.

    Raises:
        ResourceDoesNotExist: no model has this name.
    """
    limits.check_tag(key, "")
    model = await lock_model(session, who, Privilege.APPLY_TAG, name)
    change = await _change(session, registered_model_tags, {"registered_model_id": model["id"]}, key, None)
    if change is not None:
        outbox.record(session, who, ModelTagDeleted(*change), model=model)


async def set_model_version_tag(
    session: Session, who: Principal, name: str, version: str | int, key: str, value: str
) -> None:
    """Sets one tag of the version.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: a key or value that is not allowed.
    """
    limits.check_tag(key, value)
    model, row = await lock_version(session, who, Privilege.APPLY_TAG, name, version)
    owner = {"registered_model_id": model["id"], "version": row["version"]}
    change = await _change(session, model_version_tags, owner, key, value)
    if change is not None:
        outbox.record(session, who, VersionTagSet(*change, row["version"]), model=model)


async def delete_model_version_tag(session: Session, who: Principal, name: str, version: str | int, key: str) -> None:
    """Removes one tag of the version; an absent one is no error.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
    """
    limits.check_tag(key, "")
    model, row = await lock_version(session, who, Privilege.APPLY_TAG, name, version)
    owner = {"registered_model_id": model["id"], "version": row["version"]}
    change = await _change(session, model_version_tags, owner, key, None)
    if change is not None:
        outbox.record(session, who, VersionTagDeleted(*change, row["version"]), model=model)


async def _change(session: Session, table: Table, owner: dict[str, int], key: str, value: str | None) -> _Change | None:
    """What the tag was and is, once it is set, or gone without a value; None when it was the same."""
    before: str | None = await session.scalar(select(table.c.value).where(_is(table, owner, key)))
    if before == value:
        return None
    if value is None:
        await session.execute(table.delete().where(_is(table, owner, key)))
    else:
        await rowsets.overwrite(session, table, {**owner, "key": [key], "value": value})
    return None if before is None else {key: before}, None if value is None else {key: value}


def _is(table: Table, owner: dict[str, int], key: str) -> Any:
    return and_(table.c.key == key, *(table.c[name] == value for name, value in owner.items()))
