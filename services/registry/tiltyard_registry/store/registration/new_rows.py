"""Rows of versions at their birth: numbered, made and inserted."""

import uuid
from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import RowMapping, bindparam, insert, update

from tiltyard_registry.rules import lifecycle
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.events import VersionCreated
from tiltyard_registry.store import access
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.models import related_rows
from tiltyard_registry.store.models.model_rows import find_model, no_model
from tiltyard_registry.store.models.related_rows import TagRow, VersionRow
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Found, Row, Session, now_ms
from tiltyard_registry.tables.models import model_version_tags, model_versions, registered_models

# Built once: putting a statement together takes longer than most databases take to answer it.
_INSERT = insert(model_versions)

_NEXT = (
    update(registered_models)
    .where(registered_models.c.name == bindparam("shown"))
    .values(
        last_version=registered_models.c.last_version + 1,
        last_updated_timestamp=bindparam("now"),
        updated_by=bindparam("who"),
    )
    .returning(*registered_models.c)
)


async def next_version(session: Session, who: Principal, shown: str) -> tuple[RowMapping, int]:
    """The model's row, held until the commit, and a number that no other version has or had.

    The counter is raised by the transaction that uses the number, so a number that is rolled back is not lost.

    Raises:
        ResourceDoesNotExist: no model that `who` may see has this name.
        PermissionDenied: they may not create versions of it.
    """
    allowed = access.visible(who, access.MODELS, Privilege.CREATE_MODEL_VERSION)
    row = await session.one(
        _NEXT.where(*allowed) if allowed else _NEXT, {"shown": shown, "now": now_ms(), "who": who.name}
    )
    if row is None:
        await find_model(session, who, Privilege.CREATE_MODEL_VERSION, shown)
        raise no_model(shown)
    return row, int(row["last_version"])


def new_version(who: Principal, model: Found, number: int, source: str, **values: Any) -> Row:
    """The row of a version that is about to be inserted; columns that are not given are null."""
    now = now_ms()
    return {
        **dict.fromkeys(model_versions.c.keys()),
        "registered_model_id": model["id"],
        "version": number,
        "uuid": str(uuid.uuid4()),
        "creation_timestamp": now,
        "last_updated_timestamp": now,
        "user_id": who.name,
        "updated_by": who.name,
        "current_stage": lifecycle.NONE,
        "source": source,
        **values,
    }


async def insert_version(
    session: Session, who: Principal, model: Found, row: Row, tags: Mapping[str, str]
) -> VersionRow:
    """The version as it is shown, once its row and tags are inserted and its event is recorded."""
    await session.execute(_INSERT, row)
    if tags:
        columns = {
            "registered_model_id": model["id"],
            "version": row["version"],
            "key": list(tags),
            "value": list(tags.values()),
        }
        await rowsets.overwrite(session, model_version_tags, columns)
    outbox.record(session, who, VersionCreated.of(row, tags=dict(tags)), model=model)
    shown = [TagRow(key=key, value=tags[key]) for key in sorted(tags)]
    hanging = {"tags": shown, "aliases": [], "location": related_rows.location_of(row)}
    return cast(VersionRow, {"name": model["name"], **row, **hanging})
