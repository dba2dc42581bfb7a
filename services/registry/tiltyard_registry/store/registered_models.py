"""Registered models."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, insert, select, update

from tiltyard.errors import ResourceConflict, ResourceDoesNotExist
from tiltyard.names import check_new_name, parse_model_name
from tiltyard_registry.rules import access, limits, stages
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.rules.quotas import check_entries
from tiltyard_registry.search import REGISTERED_MODELS, Page
from tiltyard_registry.store import children, events, rowsets, schemas
from tiltyard_registry.store.session import Found, Row, Session, already_exists, now_ms
from tiltyard_registry.tables import (
    model_versions,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
)

DEFAULT_PAGE = 100
MAX_PAGE = 1000
_MAX_NAMED = 10


async def create_registered_model(
    session: Session,
    who: Principal,
    name: str,
    *,
    description: str | None = None,
    tags: Sequence[Mapping[str, str]] = (),
) -> Row:
    """The new model, without versions. Its schema and catalog are created when they are missing.

    Raises:
        ResourceAlreadyExists: the name is taken.
        InvalidParameterValue: a name, a description or a tag that is not allowed.
    """
    parsed = parse_model_name(name)
    check_new_name(name, parameter="name")
    shown = parsed.shown
    access.require(who, Action.CREATE, f"registered model {shown}")
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
    if checked:
        columns = {"registered_model_id": model_id, "key": list(checked), "value": list(checked.values())}
        await rowsets.overwrite(session, registered_model_tags, columns)
    events.record(
        session,
        who,
        "create_registered_model",
        model={"id": model_id, "name": shown},
        after={"name": shown, "description": description, "tags": checked},
    )
    return await _shown(session, shown)


async def get_registered_model(session: Session, who: Principal, name: str) -> Row:
    """The model with its tags, aliases and the latest version of each stage.

    Raises:
        ResourceDoesNotExist: no model has this name.
    """
    shown = parse_model_name(name).shown
    access.require(who, Action.READ, f"registered model {shown}")
    return await _shown(session, shown)


async def update_registered_model(session: Session, who: Principal, name: str, *, description: str | None) -> Row:
    """The model with another description; an absent one clears it.

    Raises:
        ResourceDoesNotExist: no model has this name.
    """
    model = await locked(session, who, Action.UPDATE, name)
    change = events.changed(model, {"description": limits.check_description(description)})
    if change is not None:
        await touch(session, who, model, description=change[1]["description"])
        events.record(session, who, "update_registered_model", model=model, before=change[0], after=change[1])
    return await _shown(session, model["name"])


async def rename_registered_model(session: Session, who: Principal, name: str, new_name: str) -> Row:
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
    access.require(who, Action.CREATE, f"registered model {shown}")
    # First the schema, then the model, as a rename of the schema does: nobody waits in a circle.
    schema_id = await schemas.ensure_schema(session, who, parsed.catalog, parsed.schema)
    model = await locked(session, who, Action.UPDATE, name)
    if shown == model["name"]:
        return await _shown(session, shown)
    with already_exists(_taken(shown)):
        await touch(session, who, model, name=shown, schema_id=schema_id)
    events.record(
        session, who, "rename_registered_model", model=model, before={"name": model["name"]}, after={"name": shown}
    )
    return await _shown(session, shown)


async def delete_registered_model(
    session: Session, who: Principal, name: str, *, with_versions: bool = True, with_aliases: bool = True
) -> None:
    """Removes the model with everything on it; one that has versions, or aliases, only with them.

    Raises:
        ResourceDoesNotExist: no model has this name.
        ResourceConflict: it has some that are not to go.
    """
    model = await locked(session, who, Action.DELETE, name)
    of_model = model_versions.c.registered_model_id == model["id"]
    versions = await session.all(children.VERSIONS.where(of_model).order_by(model_versions.c.version))
    if versions and not with_versions:
        raise ResourceConflict(
            f"Unable to delete a registered model with existing model versions: {parse_model_name(model['name']).model}"
        )
    before = (await children.model_rows(session, [model]))[0]
    if before["aliases"] and not with_aliases:
        named = shown_aliases([alias["alias"] for alias in before["aliases"]])
        raise ResourceConflict(
            f"Aliases of '{model['name']}' would be gone too: {named}. Move or delete them first, or force the "
            "deletion, which deletes them too."
        )
    for alias in before["aliases"]:
        record_alias(session, who, model, alias["alias"], alias["version"], None)
    for version in await children.version_rows(session, versions):
        events.record(
            session, who, "delete_model_version", model=model, version=version["version"], before=remembered(version)
        )
    events.record(
        session,
        who,
        "delete_registered_model",
        model=model,
        before={
            "name": model["name"],
            "description": model["description"],
            "tags": {tag["key"]: tag["value"] for tag in before["tags"]},
        },
    )
    for table in (registered_model_aliases, model_versions):
        await session.execute(table.delete().where(table.c.registered_model_id == model["id"]))
    await session.execute(registered_models.delete().where(registered_models.c.id == model["id"]))


async def search_registered_models(
    session: Session,
    who: Principal,
    filter: str | None = None,
    *,
    order_by: Sequence[str] = (),
    max_results: int | None = None,
    page_token: str | None = None,
) -> tuple[list[Row], str | None]:
    """One page of the models that match, and the token of the next page.

    Raises:
        InvalidParameterValue: the filter, the order, the page size or the token is not right.
    """
    access.require(who, Action.READ, "registered models")
    page = Page(
        REGISTERED_MODELS,
        filter=filter,
        order_by=order_by,
        page_token=page_token,
        max_results=limits.page_size(max_results, default=DEFAULT_PAGE, maximum=MAX_PAGE),
        dialect=session.dialect,
    )
    rows, next_page_token = page.split(await session.all(page.of(select(registered_models))))
    return await children.model_rows(session, rows), next_page_token


async def list_registered_models(
    session: Session,
    who: Principal,
    *,
    within: tuple[str, str] | None = None,
    after: str = "",
    limit: int,
) -> list[Row]:
    """At most `limit` models by name, those behind the name `after`; of one (catalog, schema) or of all.

    Raises:
        ResourceDoesNotExist: the schema is missing.
    """
    access.require(who, Action.READ, "registered models")
    query = select(registered_models).where(registered_models.c.name > after)
    if within is not None:
        schema = await schemas.get_schema(session, who, *within)
        query = query.where(registered_models.c.schema_id == schema["id"])
    return [dict(row) for row in await session.all(query.order_by(registered_models.c.name).limit(limit))]


async def get_latest_versions(
    session: Session, who: Principal, name: str, stage_names: Sequence[str] = ()
) -> list[Row]:
    """The highest version of each of the stages, of every stage when none is named; with aliases.

    Raises:
        ResourceDoesNotExist: no model has this name.
        InvalidParameterValue: an unknown stage.
    """
    shown = parse_model_name(name).shown
    access.require(who, Action.READ, f"registered model {shown}")
    wanted = [stages.canonical(stage) for stage in stage_names] or stages.STAGES
    model = await found(session, shown)
    return await children.latest_versions(session, [model["id"]], sorted(set(wanted)))


async def found(session: Session, shown: str) -> RowMapping:
    """The row of the model with this name, as the protocol shows names.

    Raises:
        ResourceDoesNotExist: there is none.
    """
    row = await session.one(select(registered_models).where(registered_models.c.name == shown))
    if row is None:
        raise missing(shown)
    return row


async def locked(session: Session, who: Principal, action: Action, name: str) -> RowMapping:
    """The model's row; who else would change the model, its aliases or its versions waits for this transaction.

    Raises:
        PermissionDenied: `who` may not do `action` to it.
        ResourceDoesNotExist: there is none.
    """
    shown = parse_model_name(name).shown
    access.require(who, action, f"registered model {shown}")
    row = await session.one(select(registered_models).where(registered_models.c.name == shown).with_for_update())
    if row is None:
        raise missing(shown)
    return row


async def touch(session: Session, who: Principal, model: Found, **values: Any) -> None:
    """Sets columns of a model, and when and by whom it was changed."""
    await session.execute(
        update(registered_models)
        .where(registered_models.c.id == model["id"])
        .values(**values, last_updated_timestamp=now_ms(), updated_by=who.name)
    )


def shown_aliases(aliases: Sequence[str]) -> str:
    """Aliases as a message names them; of very many only the first."""
    more = f" and {len(aliases) - _MAX_NAMED} more" if len(aliases) > _MAX_NAMED else ""
    return ", ".join(f"'{alias}'" for alias in aliases[:_MAX_NAMED]) + more


def missing(shown: str) -> ResourceDoesNotExist:
    """The error that says that no model has this name."""
    return ResourceDoesNotExist(f"Registered Model with name={shown} not found")


def record_alias(
    session: Session, who: Principal, model: Found, alias: str, before: int | None, after: int | None
) -> None:
    """Writes the event of one move of an alias, from one version to another, from or to nothing."""
    events.record(
        session,
        who,
        "delete_registered_model_alias" if after is None else "set_registered_model_alias",
        model=model,
        version=before if after is None else after,
        alias=alias,
        before=None if before is None else {"version": before},
        after=None if after is None else {"version": after},
    )


def remembered(version: Found) -> Row:
    """What the event of a deleted version keeps of it. `version` comes with its tags."""
    kept = ("source", "run_id", "model_id", "current_stage", "description", "status", "storage_location")
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    return {name: version[name] for name in (*kept, "manifest_digest")} | {"tags": tags}


async def _shown(session: Session, shown: str) -> Row:
    return (await children.model_rows(session, [await found(session, shown)]))[0]


def _taken(shown: str) -> str:
    return f"Registered Model (name={shown}) already exists."
