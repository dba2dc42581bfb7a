"""A version from files: what its source leads to is looked at before the transaction, and its files are read after it.

Neither a slow object store nor a large file holds up other writers so: between BEGIN and COMMIT there is SQL alone.
"""

import logging
from contextlib import AbstractAsyncContextManager, nullcontext

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist, TiltyardError
from tiltyard.version_status import PENDING
from tiltyard_registry.rules import limits, prompts
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.store.artifacts import paths
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.models.model_versions import get_model_version
from tiltyard_registry.store.models.related_rows import VersionRow
from tiltyard_registry.store.models.version_rows import shown_version
from tiltyard_registry.store.registration import freeze, reserved_versions
from tiltyard_registry.store.registration.create_version import NewVersion, create_model_version
from tiltyard_registry.store.registration.sources import Location, locate
from tiltyard_registry.store.sql.availability import nothing_done_yet
from tiltyard_registry.store.sql.database import Database

log = logging.getLogger(__name__)


async def create_version(
    database: Database,
    who: Principal,
    artifacts: ArtifactRoot,
    name: str,
    new: NewVersion,
    *,
    request_id: str | None = None,
) -> VersionRow:
    """The model's next version, its files pinned where they lie: READY, when few bytes had to be read.

    PENDING_REGISTRATION when many bytes that did not come through the registry must be read first, or when the store
    does not answer now; that happens in the background.

    Raises:
        ResourceDoesNotExist: the model, or the run, logged model or version that the source names, is missing.
        InvalidParameterValue: the source may not be registered, has no files, or a value breaks a rule.
    """
    # A prompt has no files to look at.
    seen = None
    with nothing_done_yet():
        if not prompts.is_prompt(limits.check_tags(new.tags)):
            seen = await _located(database, who, artifacts, new)
        if (
            seen is not None
            and seen.prefix is not None
            and seen.manifest_digest is None
            and not await _has_files(artifacts, seen.prefix)
        ):
            raise InvalidParameterValue(
                f"Invalid model version source: '{new.source[:300]}'. There are no files at it."
            )
    async with _pinning(database, seen), database.write(request_id=request_id) as session:
        row = await create_model_version(session, who, artifacts, name, new, seen=seen)
    return await _finished(database, artifacts, row)


def _pinning(database: Database, seen: Location | None) -> AbstractAsyncContextManager[None]:
    """Keeps everybody from changing what shall be pinned. What another version pins, as of a copy, cannot change."""
    if seen is None or seen.prefix is None or seen.manifest_digest is not None:
        return nullcontext()
    return database.scopes.alone(paths.scope_of(seen.prefix) or seen.prefix)


async def _located(database: Database, who: Principal, artifacts: ArtifactRoot, new: NewVersion) -> Location:
    """Where the source leads. What has to be asked of the store is asked while no connection is held."""
    answers: dict[str, bool] = {}
    asked: set[str] = set()

    async def has_files(prefix: str) -> bool:
        asked.add(prefix)
        return answers.get(prefix, True)

    while True:
        async with database.read() as session:
            found = await locate(
                session, who, artifacts, new.source, run_id=new.run_id, model_id=new.model_id, has_files=has_files
            )
        if asked <= answers.keys():
            return found
        answers.update({prefix: await _has_files(artifacts, prefix) for prefix in asked})


async def _has_files(artifacts: ArtifactRoot, prefix: str) -> bool:
    async for _ in artifacts.store.list(prefix):
        return True
    return False


async def finalize_version(
    database: Database,
    who: Principal,
    artifacts: ArtifactRoot,
    name: str,
    version: str | int,
    *,
    request_id: str | None = None,
) -> VersionRow:
    """The version that its creator has written, with its files pinned and frozen: READY.

    PENDING_REGISTRATION still when there are many bytes, which are then read in the background.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: it is not waiting to be finalized, or its place holds no `MLmodel`.
    """
    async with database.read() as session:
        row = await get_model_version(session, who, name, version, wanted=Privilege.CREATE_MODEL_VERSION)
    prefix = reserved_versions.check_reserved(artifacts, row["name"], row)
    try:
        await artifacts.store.head(f"{prefix}/{reserved_versions.REQUIRED_FILE}")
    except ResourceDoesNotExist:
        raise reserved_versions.no_required_file(row["name"], row) from None
    async with (
        database.scopes.alone(paths.scope_of(prefix) or prefix),
        database.write(request_id=request_id) as session,
    ):
        row = await reserved_versions.finalize_version(session, who, artifacts, name, version)
    return await _finished(database, artifacts, row)


async def _finished(database: Database, artifacts: ArtifactRoot, row: VersionRow) -> VersionRow:
    """The version as it is once its files were read, if that is soon done; the background does the rest."""
    if row["status"] != PENDING or row["pinned_prefix"] is None:
        return row
    done = False
    try:
        done = await freeze.finish_small(database, artifacts, row)
        async with database.read() as session:
            return await shown_version(session, row)
    except Exception as error:
        # It is registered: who is told otherwise would register it again.
        shown = error.message if isinstance(error, TiltyardError) else ""
        log.warning(
            "version %s of %s is left to the background: %s", row["version"], row["name"], shown, exc_info=not shown
        )
        return row
    finally:
        if not done:
            artifacts.pending.set()
