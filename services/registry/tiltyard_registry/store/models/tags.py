"""Tags of registered models and of versions."""

from sqlalchemy import and_, select

from tiltyard_registry.rules import limits
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.events import Event, ModelTagDeleted, ModelTagSet, VersionTagDeleted, VersionTagSet
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.models.model_rows import lock_model
from tiltyard_registry.store.models.version_rows import lock_version
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.models import model_version_tags, registered_model_tags


async def set_tag(
    session: Session, who: Principal, name: str, version: str | int | None, key: str, value: str | None
) -> None:
    """Sets one tag of the model, or of a version of it. Without a value the tag is removed; an absent one is no error.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: a key or value that is not allowed.
    """
    limits.check_tag(key, value or "")
    if version is None:
        table, model = registered_model_tags, await lock_model(session, who, Privilege.APPLY_TAG, name)
        owner = {"registered_model_id": model["id"]}
    else:
        table = model_version_tags
        model, row = await lock_version(session, who, Privilege.APPLY_TAG, name, version)
        owner = {"registered_model_id": model["id"], "version": row["version"]}
    tag = and_(table.c.key == key, *(table.c[name] == id for name, id in owner.items()))
    before: str | None = await session.scalar(select(table.c.value).where(tag))
    if before == value:
        return
    if value is None:
        await session.execute(table.delete().where(tag))
    else:
        await rowsets.overwrite(session, table, {**owner, "key": [key], "value": value})
    change = None if before is None else {key: before}, None if value is None else {key: value}
    if version is None:
        event: Event = (ModelTagDeleted if value is None else ModelTagSet)(*change)
    else:
        event = (VersionTagDeleted if value is None else VersionTagSet)(*change, owner["version"])
    outbox.record(session, who, event, model=model)
