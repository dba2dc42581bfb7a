"""Versions whose files their creator writes to a place that the registry chose: created, written, finalized.

Source: unitycatalog, server/…/ModelRepository.java: `createModelVersion`, `finalizeModelVersion`.
"""

from tiltyard.errors import InvalidParameterValue
from tiltyard.names import parse_model_name
from tiltyard.version_status import PENDING, READY
from tiltyard_registry.rules import limits
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.events import VersionFinalized, changed
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.models.related_rows import VersionRow
from tiltyard_registry.store.models.version_rows import change_version, lock_version, shown_version
from tiltyard_registry.store.registration.freeze import frozen_digest
from tiltyard_registry.store.registration.new_rows import insert_version, new_version, next_version
from tiltyard_registry.store.sql.session import Found, Session

REQUIRED_FILE = "MLmodel"


async def create_pending_version(
    session: Session,
    who: Principal,
    artifacts: ArtifactRoot,
    name: str,
    source: str,
    *,
    run_id: str | None = None,
    description: str | None = None,
) -> VersionRow:
    """The model's next version, PENDING_REGISTRATION, with a `storage_location` for the caller to write to.

    `finalize_version` ends it. `source` is recorded as it came; nothing is read from it.

    Raises:
        ResourceDoesNotExist: the model is missing.
        InvalidParameterValue: a value breaks a rule.
    """
    check_length(source, limits.MAX_SOURCE_CHARS, "source")
    description = limits.check_description(description)
    if run_id:
        check_length(run_id, limits.MAX_RUN_ID_CHARS, "run_id")
    model, number = await next_version(session, who, parse_model_name(name).shown)
    row = new_version(
        who, model, number, source, description=description, run_id=run_id or None, status=PENDING, external=False
    )
    row["storage_location"] = artifacts.version_storage(model["uuid"], row["uuid"])
    session.after_commit.append(lambda: artifacts.make_directory(row["storage_location"]))
    return await insert_version(session, who, model, row, {})


async def finalize_version(
    session: Session, who: Principal, artifacts: ArtifactRoot, name: str, version: str | int
) -> VersionRow:
    """The version with its files pinned, PENDING_REGISTRATION until they were read; see `new_versions`.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: it is not waiting to be finalized.
    """
    model, row = await lock_version(session, who, Privilege.CREATE_MODEL_VERSION, name, version)
    prefix = check_reserved(artifacts, model["name"], row)
    digest = await frozen_digest(session, prefix)
    after = {
        "status": PENDING if digest is None else READY,
        "manifest_digest": digest,
        "pinned_prefix": prefix,
    }
    await change_version(session, who, row, **after)
    if change := changed(row, after):
        outbox.record(session, who, VersionFinalized(*change, row["version"]), model=model)
    return await shown_version(session, row)


def check_reserved(artifacts: ArtifactRoot, name: str, row: Found) -> str:
    """The path below our root of a version that waits to be finalized.

    Raises:
        InvalidParameterValue: it does not wait.
    """
    prefix = artifacts.prefix_of(row["storage_location"])
    if row["status"] != PENDING or row["pinned_prefix"] is not None or not prefix:
        raise InvalidParameterValue(f"Model version not in a pending registration state: {_full(name, row)}")
    return prefix


def no_required_file(name: str, row: Found) -> InvalidParameterValue:
    """The error that says that a version's creator has not written the model yet."""
    return InvalidParameterValue(
        f"Model version {_full(name, row)} cannot be finalized: its storage location holds no '{REQUIRED_FILE}' file."
    )


def _full(name: str, row: Found) -> str:
    return f"{parse_model_name(name).full}/{row['version']}"
