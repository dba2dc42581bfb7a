"""Versions whose files their creator writes to a place that the registry chose: created, written, finalized.

Source: unitycatalog, server/…/ModelRepository.java: `createModelVersion`, `finalizeModelVersion`.
"""

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist
from tiltyard.names import parse_model_name
from tiltyard_registry.rules import access, limits
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.store import events
from tiltyard_registry.store.contents import PENDING, freeze_or_defer
from tiltyard_registry.store.places import Artifacts
from tiltyard_registry.store.session import Row, Session
from tiltyard_registry.store.version_rows import (
    change_version,
    insert_version,
    locked_version,
    new_version,
    next_version,
    shown_version,
)

_REQUIRED_FILE = "MLmodel"


async def create_pending_version(
    session: Session,
    who: Principal,
    artifacts: Artifacts,
    name: str,
    source: str,
    *,
    run_id: str | None = None,
    description: str | None = None,
) -> Row:
    """The model's next version, PENDING_REGISTRATION, with a `storage_location` for the caller to write to.

    `finalize_version` ends it. `source` is recorded as it came; nothing is read from it.

    Raises:
        ResourceDoesNotExist: the model is missing.
        InvalidParameterValue: a value breaks a rule.
    """
    shown = parse_model_name(name).shown
    access.require(who, Action.UPDATE, f"registered model {shown}")
    check_length(source, limits.MAX_SOURCE_CHARS, "source")
    description = limits.check_description(description)
    if run_id:
        check_length(run_id, limits.MAX_RUN_ID_CHARS, "run_id")
    model, number = await next_version(session, who, shown)
    row = new_version(
        who, model, number, source, description=description, run_id=run_id or None, status=PENDING, external=False
    )
    row["storage_location"] = await artifacts.reserve(model["uuid"], row["uuid"])
    return await insert_version(session, who, model, row, {})


async def finalize_version(
    session: Session, who: Principal, artifacts: Artifacts, name: str, version: str | int
) -> Row:
    """The version with its files pinned and frozen: READY.

    PENDING_REGISTRATION still when there are many bytes, which are then read in the background.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: it is not waiting to be finalized, or its place holds no `MLmodel`.
    """
    model, row = await locked_version(session, who, name, version)
    full = f"{parse_model_name(model['name']).full}/{row['version']}"
    prefix = artifacts.prefix_of(row["storage_location"])
    if row["status"] != PENDING or row["pinned_prefix"] is not None or not prefix:
        raise InvalidParameterValue(f"Model version not in a pending registration state: {full}")
    try:
        await artifacts.store.head(f"{prefix}/{_REQUIRED_FILE}")
    except ResourceDoesNotExist:
        raise InvalidParameterValue(
            f"Model version {full} cannot be finalized: its storage location holds no '{_REQUIRED_FILE}' file."
        ) from None
    status, digest = await freeze_or_defer(session, artifacts, prefix, row["source"])
    after = {"status": status, "manifest_digest": digest, "pinned_prefix": prefix}
    await change_version(session, who, row, **after)
    changed = events.changed(row, after)
    if changed is not None:
        events.record(
            session,
            who,
            "finalize_model_version",
            model=model,
            version=row["version"],
            before=changed[0],
            after=changed[1],
        )
    return await shown_version(session, row)
