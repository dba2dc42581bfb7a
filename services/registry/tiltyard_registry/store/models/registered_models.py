"""Registered models."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select

from tiltyard.errors import ResourceConflict
from tiltyard.names import check_new_name, parse_model_name
from tiltyard_registry.rules import lifecycle, limits
from tiltyard_registry.rules.access import SEE, Kind, Principal, Privilege
from tiltyard_registry.rules.events import (
    AliasDeleted,
    ModelCreated,
    ModelDeleted,
    ModelRenamed,
    ModelUpdated,
    VersionDeleted,
    changed,
)
from tiltyard_registry.rules.limits import check_entries
from tiltyard_registry.store import access
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.models import related_rows
from tiltyard_registry.store.models.model_rows import find_model, lock_model, touch
from tiltyard_registry.store.models.related_rows import ModelRow, VersionRow
from tiltyard_registry.store.namespaces import schemas
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.availability import already_exists
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.tables.models import (
    model_versions,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
)

_MAX_NAMED = 10


async def create_registered_model(
    session: Session,
    who: Principal,
    name: str,
    *,
    description: str | None = None,
    tags: Sequence[Mapping[str, str]] = (),
) -> ModelRow:
    """The new model, without versions. Its schema and catalog are created when they are missing.

    Raises:
        ResourceAlreadyExists: the name is taken.
        InvalidParameterValue: a name, a description or a tag that is not allowed.
    """
    parsed = parse_model_name(name)
    check_new_name(name, parameter="name")
    shown = parsed.shown
    check_entries(session.quotas, "tags", len(tags))
    description = limits.check_description(description)
    checked = limits.check_tags(tags)
    schema_id = await schemas.ensure_schema(session, who, parsed.catalog, parsed.schema)
    now = now_ms()
    with already_exists(_taken(shown)):
        model_id = await session.scalar(
            insert(registered_models)
            .values(
                uuid=str(uuid.uuid4()),
                schema_id=schema_id,
                name=shown,
                description=description,
                owner=who.name,
                creation_timestamp=now,
                created_by=who.name,
                last_updated_timestamp=now,
                updated_by=who.name,
            )
            .returning(registered_models.c.id)
        )
    await access.own(session, who, Kind.MODEL, model_id)
    if checked:
        columns = {"registered_model_id": model_id, "key": list(checked), "value": list(checked.values())}
        await rowsets.overwrite(session, registered_model_tags, columns)
    outbox.record(session, who, ModelCreated(shown, description, checked), model={"id": model_id, "name": shown})
    return await _shown(session, model_id)


async def get_registered_model(session: Session, who: Principal, name: str) -> ModelRow:
    """The model with its tags, aliases and the latest version of each stage.

    Raises:
        ResourceDoesNotExist: no model has this name.
    """
    return (await related_rows.model_rows(session, [await find_model(session, who, SEE, name)]))[0]


async def update_registered_model(session: Session, who: Principal, name: str, *, description: str | None) -> ModelRow:
    """The model with another description; an absent one clears it.

    Raises:
        ResourceDoesNotExist: no model has this name.
    """
    model = await lock_model(session, who, Privilege.MANAGE, name)
    if change := changed(model, {"description": limits.check_description(description)}):
        await touch(session, who, model, **change[1])
        outbox.record(session, who, ModelUpdated(*change), model=model)
    return await _shown(session, model["id"])


async def rename_registered_model(session: Session, who: Principal, name: str, new_name: str) -> ModelRow:
    """The model under its new name, with its versions, tags and aliases; the schema may be another one.

    The name that it has already changes nothing.

    Raises:
        ResourceDoesNotExist: no model has the old name.
        ResourceAlreadyExists: the new name is taken.
    """
    parsed = parse_model_name(new_name, parameter="new_name")
    if new_name != name:
        check_new_name(new_name, parameter="new_name")
    shown = parsed.shown
    moved: dict[str, Any] = {"name": shown}
    if parsed[:2] != parse_model_name(name)[:2]:
        # First the schema, then the model, as a rename of the schema does: nobody waits in a circle.
        moved["schema_id"] = await schemas.ensure_schema(session, who, parsed.catalog, parsed.schema)
    model = await lock_model(session, who, Privilege.MANAGE, name)
    if shown == model["name"]:
        return await _shown(session, model["id"])
    with already_exists(_taken(shown)):
        await touch(session, who, model, **moved)
    outbox.record(session, who, ModelRenamed(model["name"], shown), model=model)
    return await _shown(session, model["id"])


async def delete_registered_model(
    session: Session, who: Principal, name: str, *, with_versions: bool = True, with_aliases: bool = True
) -> None:
    """Removes the model with everything on it; one that has versions, or aliases, only with them.

    Raises:
        ResourceDoesNotExist: no model has this name.
        ResourceConflict: it has some that are not to go.
    """
    model = await lock_model(session, who, Privilege.MANAGE, name)
    of_model = model_versions.c.registered_model_id == model["id"]
    versions = await session.all(related_rows.VERSIONS.where(of_model).order_by(model_versions.c.version))
    if versions and not with_versions:
        raise ResourceConflict(
            f"Unable to delete a registered model with existing model versions: {parse_model_name(model['name']).model}"
        )
    before = (await related_rows.model_rows(session, [model]))[0]
    if before["aliases"] and not with_aliases:
        named = shown_aliases([alias["alias"] for alias in before["aliases"]])
        raise ResourceConflict(
            f"Aliases of '{model['name']}' would be gone too: {named}. Move or delete them first, or force the "
            "deletion, which deletes them too."
        )
    for alias in before["aliases"]:
        outbox.record(session, who, AliasDeleted.of(alias), model=model)
    for version in await related_rows.version_rows(session, versions):
        deleted = VersionDeleted.of(version, tags=related_rows.by_key(version["tags"]), aliases=None)
        outbox.record(session, who, deleted, model=model)
    outbox.record(session, who, ModelDeleted.of(model, tags=related_rows.by_key(before["tags"])), model=model)
    for table in (registered_model_aliases, model_versions):
        await session.execute(table.delete().where(table.c.registered_model_id == model["id"]))
    await session.execute(registered_models.delete().where(registered_models.c.id == model["id"]))
    await access.forget(session, Kind.MODEL, [model["id"]])


async def get_latest_versions(
    session: Session, who: Principal, name: str, stage_names: Sequence[str] = ()
) -> list[VersionRow]:
    """The highest version of each of the stages, of every stage when none is named; with aliases.

    Raises:
        ResourceDoesNotExist: no model has this name.
        InvalidParameterValue: an unknown stage.
    """
    wanted = [lifecycle.canonical(stage) for stage in stage_names] or lifecycle.STAGES
    model = await find_model(session, who, SEE, name)
    return await related_rows.latest_versions(session, [model["id"]], sorted(set(wanted)))


def shown_aliases(aliases: Sequence[str]) -> str:
    """Aliases as a message names them; of very many only the first."""
    more = f" and {len(aliases) - _MAX_NAMED} more" if len(aliases) > _MAX_NAMED else ""
    return ", ".join(f"'{alias}'" for alias in aliases[:_MAX_NAMED]) + more


async def _shown(session: Session, model_id: int) -> ModelRow:
    """A model as this transaction has left it."""
    found = await session.all(select(registered_models).where(registered_models.c.id == model_id))
    return (await related_rows.model_rows(session, found))[0]


def _taken(shown: str) -> str:
    return f"Registered Model (name={shown}) already exists."
