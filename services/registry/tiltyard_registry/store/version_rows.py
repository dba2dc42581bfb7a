"""Rows of model versions: how one begins, is found for a change, and is changed."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, bindparam, insert, select, update

from tiltyard.names import check_version
from tiltyard_registry.rules import stages
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.store import children, events, rowsets
from tiltyard_registry.store.aliases import no_version
from tiltyard_registry.store.registered_models import locked, missing
from tiltyard_registry.store.session import Found, Row, Session, now_ms
from tiltyard_registry.tables import model_version_tags, model_versions, registered_models

_version = model_versions.c
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
        ResourceDoesNotExist: no model has this name.
    """
    row = await session.one(_NEXT, {"shown": shown, "now": now_ms(), "who": who.name})
    if row is None:
        raise missing(shown)
    return row, int(row["last_version"])


def new_version(who: Principal, model: Found, number: int, source: str, **values: Any) -> Row:
    """The row of a version that is about to be inserted; columns that are not given are null."""
    now = now_ms()
    return {
        **dict.fromkeys(_version.keys()),
        "registered_model_id": model["id"],
        "version": number,
        "uuid": str(uuid.uuid4()),
        "creation_timestamp": now,
        "last_updated_timestamp": now,
        "user_id": who.name,
        "updated_by": who.name,
        "current_stage": stages.NONE,
        "source": source,
        **values,
    }


async def insert_version(session: Session, who: Principal, model: Found, row: Row, tags: Mapping[str, str]) -> Row:
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
    kept = ("source", "run_id", "model_id", "status", "description", "storage_location", "manifest_digest")
    after = {name: row[name] for name in kept if row[name] is not None} | {"tags": dict(tags)}
    events.record(session, who, "create_model_version", model=model, version=row["version"], after=after)
    return {
        "name": model["name"],
        **row,
        "tags": [{"key": key, "value": tags[key]} for key in sorted(tags)],
        "aliases": [],
        "location": children.location_of(row),
    }


async def locked_version(
    session: Session, who: Principal, name: str, version: str | int, *, action: Action = Action.UPDATE
) -> tuple[RowMapping, RowMapping]:
    """The rows of the model and of its version; other changes to either wait for this transaction.

    Raises:
        PermissionDenied: `who` may not do `action` to the model.
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: the version is not a number.
    """
    number = check_version(version)
    model = await locked(session, who, action, name)
    row = await session.one(
        select(model_versions).where(_version.registered_model_id == model["id"], _version.version == number)
    )
    if row is None:
        raise no_version(model["name"], version)
    return model, row


async def change_version(session: Session, who: Principal, row: Found, **values: Any) -> None:
    """Sets columns of a version, and when and by whom it was changed."""
    stamp = {"last_updated_timestamp": now_ms(), "updated_by": who.name}
    await session.execute(update(model_versions).where(is_version(row)).values(**values, **stamp))


async def shown_version(session: Session, row: Found) -> Row:
    """The version as it is in this transaction, with tags and aliases."""
    return (await children.version_rows(session, await session.all(children.VERSIONS.where(is_version(row)))))[0]


def is_version(row: Found) -> ColumnElement[bool]:
    """Whether a row of `model_versions` is that version."""
    return and_(_version.registered_model_id == row["registered_model_id"], _version.version == row["version"])
