"""Model versions: created once and never changed but for what is said about them."""

from typing import TypedDict

from sqlalchemy import select

from tiltyard.errors import ResourceConflict
from tiltyard.names import check_version, parse_model_name
from tiltyard_registry.rules import lifecycle, limits
from tiltyard_registry.rules.access import SEE, Principal, Privilege
from tiltyard_registry.rules.events import StageChanged, VersionDeleted, VersionUpdated, changed
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.store.artifacts.artifact_root import is_reserved
from tiltyard_registry.store.artifacts.manifests import get_manifest as stored_manifest
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.models import related_rows
from tiltyard_registry.store.models.aliases import drop
from tiltyard_registry.store.models.model_rows import find_model, touch
from tiltyard_registry.store.models.registered_models import shown_aliases
from tiltyard_registry.store.models.related_rows import VersionRow
from tiltyard_registry.store.models.version_rows import (
    change_version,
    find_version,
    is_version,
    lock_version,
    no_version,
    shown_version,
)
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.models import model_versions

_version = model_versions.c


class FileRow(TypedDict):
    """A file of a version."""

    path: str
    size_bytes: int
    sha256: str


class ManifestRow(TypedDict):
    """What a version is, byte for byte; an external one, and one that is not READY, has no digest and no files."""

    name: str
    version: int
    external: bool
    location: str
    digest: str | None
    size_bytes: int | None
    files: list[FileRow]


async def get_model_version(
    session: Session, who: Principal, name: str, version: str | int, *, wanted: Privilege = SEE
) -> VersionRow:
    """One version with its tags and aliases, for somebody who wants to do something to its model.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: the version is not a number.
    """
    query = related_rows.VERSIONS.where(_version.version == check_version(version))
    missing = no_version(parse_model_name(name).shown, version)
    row = await find_version(session, who, wanted, name, query, missing)
    return (await related_rows.version_rows(session, [row]))[0]


async def get_manifest(session: Session, who: Principal, name: str, version: str | int) -> ManifestRow:
    """What the version is, byte for byte.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
    """
    row = await get_model_version(session, who, name, version, wanted=Privilege.EXECUTE)
    manifest = None
    if row["manifest_digest"] is not None:
        manifest = await stored_manifest(session, row["manifest_digest"])
    return {
        "name": row["name"],
        "version": row["version"],
        "external": row["external"],
        "location": row["location"],
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
    row = await get_model_version(session, who, name, version, wanted=Privilege.EXECUTE)
    reserved = row["pinned_prefix"] is not None and is_reserved(row["pinned_prefix"])
    return str(row["location"] if reserved or row["source"].startswith("models:/") else row["source"])


async def get_storage_location(session: Session, who: Principal, name: str, version: str | int) -> str:
    """Where the files of the version are kept, for somebody who may read them.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
    """
    row = await get_model_version(session, who, name, version, wanted=Privilege.EXECUTE)
    return str(row["storage_location"])


async def update_model_version(
    session: Session, who: Principal, name: str, version: str | int, *, description: str | None
) -> VersionRow:
    """The version with another description; an absent one clears it.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
    """
    description = limits.check_description(description)
    model, row = await lock_version(session, who, Privilege.CREATE_MODEL_VERSION, name, version)
    if change := changed(row, {"description": description}):
        await change_version(session, who, row, description=description)
        outbox.record(session, who, VersionUpdated(*change, row["version"]), model=model)
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
) -> VersionRow:
    """The version in another stage; if asked, every other version that was in that stage is archived.

    `comment`, the reason that the caller gives, is kept in the events.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: an unknown stage, or archiving asked for one that holds nothing in service.
    """
    target = lifecycle.canonical(stage)
    comment = check_length(comment, limits.MAX_DESCRIPTION_CHARS, "comment") if comment else None
    if archive_existing_versions:
        lifecycle.check_archiving(target)
    model, row = await lock_version(session, who, Privilege.TRANSITION_STAGE, name, version, named=target)
    if row["current_stage"] != target and row["current_stage"] in lifecycle.IN_SERVICE:
        # What serves is taken from its stage by who may change that stage.
        await find_model(session, who, Privilege.TRANSITION_STAGE, name, named=row["current_stage"])
    moves = []
    if archive_existing_versions:
        others = select(model_versions).where(
            _version.registered_model_id == model["id"],
            _version.current_stage == target,
            _version.version != row["version"],
        )
        moves += [(other, lifecycle.ARCHIVED) for other in await session.all(others.order_by(_version.version))]
    if row["current_stage"] != target:
        moves.append((row, target))
    for moved, new_stage in moves:
        await change_version(session, who, moved, current_stage=new_stage)
        before = {"current_stage": moved["current_stage"]}
        after = {"current_stage": new_stage} | ({"comment": comment} if comment else {})
        outbox.record(session, who, StageChanged(before, after, moved["version"]), model=model)
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
    model, row = await lock_version(session, who, Privilege.MANAGE, name, version)
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
    deleted = VersionDeleted.of(before, tags=related_rows.by_key(before["tags"]), aliases=before["aliases"] or None)
    outbox.record(session, who, deleted, model=model)
