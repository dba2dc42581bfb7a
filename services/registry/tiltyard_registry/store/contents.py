"""What a version is made of: frozen at once when the hashes are known, else in the background.

A version that waits is PENDING_REGISTRATION and has its prefix pinned already, so no byte of it can change
through the registry while it is read. One that waits for its creator's `finalize` has no pinned prefix yet.
"""

from sqlalchemy import bindparam, select

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.store import artifacts as files
from tiltyard_registry.store.places import Artifacts
from tiltyard_registry.store.session import Session
from tiltyard_registry.tables import model_versions

PENDING, READY, FAILED = "PENDING_REGISTRATION", "READY", "FAILED_REGISTRATION"
HASHED_AT_ONCE_BYTES = 32 << 20
"""Up to so many unknown bytes are read within the request; more wait for the background."""

_version = model_versions.c
_FROZEN = (
    select(_version.manifest_digest)
    .where(
        _version.pinned_prefix == bindparam("prefix"), _version.status == READY, _version.manifest_digest.is_not(None)
    )
    .limit(1)
)


async def freeze_or_defer(session: Session, artifacts: Artifacts, prefix: str, source: str) -> tuple[str, str | None]:
    """The status and manifest digest of a new version over `prefix`, which the caller pins in this transaction.

    Raises:
        InvalidParameterValue: there are no files.
    """
    await session.lock(files.scope_of(prefix) or prefix)
    # What a version has pinned is what it was.
    frozen = await session.scalar(_FROZEN, {"prefix": prefix})
    if frozen is not None:
        return READY, frozen
    unknown = await files.unknown_files(session, artifacts.store, prefix)
    if sum(entry.size_bytes for entry in unknown) > HASHED_AT_ONCE_BYTES:
        session.after_commit.append(artifacts.wake)
        return PENDING, None
    manifest = await files.freeze_manifest(session, artifacts.store, prefix)
    if not manifest.files:
        raise InvalidParameterValue(f"Invalid model version source: '{source[:300]}'. There are no files at it.")
    await files.store_manifest(session, manifest)
    return READY, manifest.digest
