"""Model versions: created once and never changed but for what is said about them."""

from collections.abc import Sequence

from sqlalchemy import select

from tiltyard.errors import ResourceConflict
from tiltyard.names import check_version, parse_model_name
from tiltyard_registry.rules import access, limits, prompts, stages
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.rules.new_versions import NewVersion
from tiltyard_registry.rules.quotas import check_entries
from tiltyard_registry.search import MODEL_VERSIONS, Page
from tiltyard_registry.store import children, events
from tiltyard_registry.store.aliases import drop, no_version
from tiltyard_registry.store.artifacts import get_manifest as stored_manifest
from tiltyard_registry.store.contents import PENDING, READY, frozen_digest
from tiltyard_registry.store.logged_models import record_registration
from tiltyard_registry.store.places import Artifacts, is_reserved
from tiltyard_registry.store.registered_models import found, remembered, shown_aliases, touch
from tiltyard_registry.store.session import Row, Session
from tiltyard_registry.store.sources import Location, locate
from tiltyard_registry.store.sources import is_version as names_version
from tiltyard_registry.store.version_rows import (
    change_version,
    insert_version,
    is_version,
    locked_version,
    new_version,
    next_version,
    shown_version,
)
from tiltyard_registry.tables import model_versions, registered_models

DEFAULT_PAGE = MAX_PAGE = 200_000
"""What a client may ask for. Source: mlflow/store/model_registry/__init__.py, tag v3.17.2."""
PAGE_VERSIONS = 10_000
"""What it gets at most, with the token of the next page: one request shall not hold everybody's memory."""

_version = model_versions.c


async def create_model_version(
    session: Session,
    who: Principal,
    artifacts: Artifacts,
    name: str,
    new: NewVersion,
    *,
    seen: Location | None = None,
) -> Row:
    """The model's next version. Its files are pinned where they lie.

    A version with the prompt tag is a prompt: it has a text in a tag and no files, and is never served.

    The status is READY for a prompt, for a copy, and where another version pins the same; else PENDING_REGISTRATION
    until the files were read, which `new_versions` and the background do: the store is not asked here. `seen` is where
    the source led when it was asked; whoever calls holds its scope.

    Raises:
        ResourceDoesNotExist: the model, or the run, logged model or version that the source names, is missing.
        InvalidParameterValue: the source may not be registered, or a value breaks a rule.
    """
    shown = parse_model_name(name).shown
    access.require(who, Action.UPDATE, f"registered model {shown}")
    description = limits.check_description(new.description)
    if new.run_link:
        check_length(new.run_link, limits.MAX_RUN_LINK_CHARS, "run_link")
    check_entries(session.quotas, "tags", len(new.tags))
    checked = limits.check_tags(new.tags)
    # A version that is copied is held, and so is its model by who deletes it: of those two the model comes first.
    # In all other cases it comes last, for who holds it keeps all others from the next number.
    held = None

    async def had_files(prefix: str) -> bool:
        return seen is None or seen.prefix == prefix

    if prompts.is_prompt(checked):
        check_length(new.run_id or "", limits.MAX_RUN_ID_CHARS, "run_id")
        prompts.check_source(new.source)
        location = Location(prompts.LOCATION, None, new.run_id or None, None)
    else:
        held = await next_version(session, who, shown) if names_version(new.source) else None
        location = await locate(
            session, artifacts, new.source, run_id=new.run_id, model_id=new.model_id, has_files=had_files
        )
    status, digest = READY, location.manifest_digest
    if location.prefix is not None and digest is None:
        if seen is not None and seen.prefix != location.prefix:
            raise ResourceConflict(
                f"The source '{new.source[:300]}' leads to another place than a moment ago. Register it again."
            )
        digest = await frozen_digest(session, location.prefix)
        status = PENDING if digest is None else READY
    model, number = held or await next_version(session, who, shown)
    row = new_version(
        who,
        model,
        number,
        new.source,
        description=description,
        run_id=location.run_id,
        run_link=new.run_link or None,
        model_id=location.model_id,
        status=status,
        storage_location=location.storage_location,
        pinned_prefix=location.prefix,
        manifest_digest=digest,
        external=location.prefix is None,
    )
    created = await insert_version(session, who, model, row, checked)
    if location.model_id:
        await record_registration(session, location.model_id, shown, number)
    return created


async def get_model_version(session: Session, who: Principal, name: str, version: str | int) -> Row:
    """One version with its tags and aliases.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: the version is not a number.
    """
    shown = parse_model_name(name).shown
    access.require(who, Action.READ, f"registered model {shown}")
    query = children.VERSIONS.where(registered_models.c.name == shown, _version.version == check_version(version))
    row = await session.one(query)
    if row is None:
        await found(session, shown)
        raise no_version(shown, version)
    return (await children.version_rows(session, [row]))[0]


async def get_manifest(session: Session, who: Principal, name: str, version: str | int) -> Row:
    """What the version is, byte for byte: `{name, version, digest, size_bytes, external, location, files}`.

    An external version, and one that is not READY, has no digest and no files.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
    """
    row = await get_model_version(session, who, name, version)
    manifest = None
    if row["manifest_digest"] is not None:
        manifest = await stored_manifest(session, row["manifest_digest"])
    return {
        **{key: row[key] for key in ("name", "version", "external", "location")},
        "digest": manifest.digest if manifest else None,
        "size_bytes": manifest.size_bytes if manifest else None,
        "files": [
            {"path": file.path, "size_bytes": file.size_bytes, "sha256": file.sha256}
            for file in (manifest.files if manifest else ())
        ],
    }


async def get_model_version_download_uri(session: Session, who: Principal, name: str, version: str | int) -> str:
    """Where a client that knows only this protocol reads the files: the source, unless only we can follow that.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
    """
    row = await get_model_version(session, who, name, version)
    reserved = row["pinned_prefix"] is not None and is_reserved(row["pinned_prefix"])
    return str(row["location"] if reserved or row["source"].startswith("models:/") else row["source"])


async def update_model_version(
    session: Session, who: Principal, name: str, version: str | int, *, description: str | None
) -> Row:
    """The version with another description; an absent one clears it.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
    """
    description = limits.check_description(description)
    model, row = await locked_version(session, who, name, version)
    change = events.changed(row, {"description": description})
    if change is not None:
        await change_version(session, who, row, description=description)
        events.record(
            session,
            who,
            "update_model_version",
            model=model,
            version=row["version"],
            before=change[0],
            after=change[1],
        )
    return await shown_version(session, row)


async def transition_model_version_stage(
    session: Session,
    who: Principal,
    name: str,
    version: str | int,
    stage: str,
    *,
    archive_existing_versions: bool = False,
    comment: str | None = None,
) -> Row:
    """The version in another stage; if asked, every other version that was in that stage is archived.

    `comment`, the reason that the caller gives, is kept in the events.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: an unknown stage, or archiving asked for one that holds nothing in service.
    """
    target = stages.canonical(stage)
    comment = check_length(comment, limits.MAX_DESCRIPTION_CHARS, "comment") if comment else None
    if archive_existing_versions:
        stages.check_archiving(target)
    model, row = await locked_version(session, who, name, version)
    moves = []
    if archive_existing_versions:
        others = select(model_versions).where(
            _version.registered_model_id == model["id"],
            _version.current_stage == target,
            _version.version != row["version"],
        )
        moves += [(other, stages.ARCHIVED) for other in await session.all(others.order_by(_version.version))]
    if row["current_stage"] != target:
        moves.append((row, target))
    for moved, new_stage in moves:
        await change_version(session, who, moved, current_stage=new_stage)
        events.record(
            session,
            who,
            "transition_model_version_stage",
            model=model,
            version=moved["version"],
            before={"current_stage": moved["current_stage"]},
            after={"current_stage": new_stage} | ({"comment": comment} if comment else {}),
        )
    if moves:
        await touch(session, who, model)
    return await shown_version(session, row)


async def delete_model_version(
    session: Session, who: Principal, name: str, version: str | int, *, force: bool = True
) -> None:
    """Removes the version and the aliases that name it; its files are free to change again.

    The event says which aliases went. Without `force` a version that an alias names stays.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        ResourceConflict: an alias names it, and `force` is not given.
    """
    model, row = await locked_version(session, who, name, version, action=Action.DELETE)
    before = await shown_version(session, row)
    if before["aliases"] and not force:
        named = shown_aliases(before["aliases"])
        raise ResourceConflict(
            f"Version {row['version']} of '{model['name']}' is still named by an alias: {named}. Move or delete the "
            "alias first, or force the deletion, which deletes the alias too."
        )
    for alias in before["aliases"]:
        await drop(session, who, model, alias, row["version"])
    await session.execute(model_versions.delete().where(is_version(row)))
    await touch(session, who, model)
    events.record(
        session,
        who,
        "delete_model_version",
        model=model,
        version=row["version"],
        before=remembered(before) | ({"aliases": before["aliases"]} if before["aliases"] else {}),
    )


async def search_model_versions(
    session: Session,
    who: Principal,
    filter: str | None = None,
    *,
    order_by: Sequence[str] = (),
    max_results: int | None = None,
    page_token: str | None = None,
) -> tuple[list[Row], str | None]:
    """One page of the versions that match, with tags and aliases, and the token of the next page.

    Raises:
        InvalidParameterValue: the filter, the order, the page size or the token is not right.
    """
    access.require(who, Action.READ, "registered models")
    page = Page(
        MODEL_VERSIONS,
        filter=filter,
        order_by=order_by,
        page_token=page_token,
        max_results=min(limits.page_size(max_results, default=DEFAULT_PAGE, maximum=MAX_PAGE), PAGE_VERSIONS),
        dialect=session.dialect,
    )
    rows, next_page_token = page.split(await session.all(page.of(children.VERSIONS)))
    return await children.version_rows(session, rows), next_page_token


async def list_model_versions(session: Session, who: Principal, name: str, *, after: int = 0, limit: int) -> list[Row]:
    """At most `limit` versions of a model by number, those behind the number `after`.

    Raises:
        ResourceDoesNotExist: the model is missing.
    """
    shown = parse_model_name(name).shown
    access.require(who, Action.READ, f"registered model {shown}")
    model = await found(session, shown)
    query = children.VERSIONS.where(_version.registered_model_id == model["id"], _version.version > after)
    return await children.version_rows(session, await session.all(query.order_by(_version.version).limit(limit)))
