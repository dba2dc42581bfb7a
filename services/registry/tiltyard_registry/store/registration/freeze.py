"""What a version is made of: its files are listed and hashed while no transaction is open, then frozen by one.

A version over a prefix is pinned first, PENDING_REGISTRATION, by a transaction that holds nothing but SQL. From then
on no byte of it can change through the registry, so it is read at leisure: at once when few bytes are unknown, else
in the background. A version that waits for its creator's `finalize` has no pinned prefix yet.
"""

import contextlib

from sqlalchemy import bindparam, select, update

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist
from tiltyard.storage import Entry
from tiltyard.version_status import FAILED, PENDING, READY
from tiltyard_registry.rules.access import SEE, SYSTEM
from tiltyard_registry.rules.events import VersionFinalized
from tiltyard_registry.store.artifacts import manifests
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.artifacts.hashes import hash_all, hash_unknown, listed, remember_hashes
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.models.model_rows import lock_model
from tiltyard_registry.store.models.version_rows import is_version
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Found, Session
from tiltyard_registry.tables.models import model_versions

HASHED_AT_ONCE_BYTES = 32 << 20
"""Up to so many unknown bytes are read within the request; more wait for the background."""

GONE = "The files are gone."

_version = model_versions.c
_FROZEN = (
    select(_version.manifest_digest)
    .where(
        _version.pinned_prefix == bindparam("prefix"), _version.status == READY, _version.manifest_digest.is_not(None)
    )
    .limit(1)
)


async def frozen_digest(session: Session, prefix: str) -> str | None:
    """The digest of a prefix that a READY version pins already: what it has pinned is what it was.

    None when it must be read first. Whoever asks holds the scope until the end of the transaction that pins it.
    """
    digest: str | None = await session.scalar(_FROZEN, {"prefix": prefix})
    return digest


async def finish_small(database: Database, artifacts: ArtifactRoot, row: Found) -> bool:
    """Freezes a version that was just pinned, if few of its bytes are unknown; whether it did.

    Raises:
        TiltyardError: the store does not answer, or has not what was there a moment ago: the background goes on.
    """
    entries, unknown = await listed(database, artifacts.store, row["pinned_prefix"])
    if not entries or sum(entry.size_bytes for entry in unknown) > HASHED_AT_ONCE_BYTES:
        return False
    await _freeze(database, artifacts, row, entries, unknown)
    return True


async def finish(database: Database, artifacts: ArtifactRoot, row: Found) -> None:
    """Freezes a pinned version, however long its files take to read. Every hash is kept as soon as it is known.

    Raises:
        ResourceConflict, ResourceDoesNotExist, InvalidParameterValue: somebody changes the files behind the
            registry's back, or they are gone, or make no directory.
        InternalError, TemporarilyUnavailable: the store or the database does not answer.
    """
    entries = await hash_all(database, artifacts.store, row["pinned_prefix"])
    if not entries:
        raise InvalidParameterValue(GONE)
    await _freeze(database, artifacts, row, entries, [])


async def fail(database: Database, row: Found, reason: str) -> None:
    """Ends a registration as FAILED_REGISTRATION, and pins nothing any more."""
    async with database.write() as session:
        await _end(session, row, status=FAILED, status_message=reason, pinned_prefix=None)


async def _freeze(
    database: Database, artifacts: ArtifactRoot, row: Found, entries: list[Entry], unknown: list[Entry]
) -> None:
    prefix = row["pinned_prefix"]
    hashes = await hash_unknown(artifacts.store, unknown)
    async with database.write() as session:
        await remember_hashes(session, hashes)
        manifest = await manifests.manifest_of(session, prefix, entries)
        await manifests.store_manifest(session, manifest)
        await _end(session, row, status=READY, manifest_digest=manifest.digest)


async def _end(session: Session, row: Found, **after: str | None) -> None:
    with contextlib.suppress(ResourceDoesNotExist):
        # Deleted or renamed meanwhile, or ended by another process: there is nothing left to do here.
        model = await lock_model(session, SYSTEM, SEE, row["name"])
        # Who registered it made the last change: that its files were read is none.
        ended = await session.one(
            update(model_versions)
            .where(is_version(row), _version.status == PENDING)
            .values(**after)
            .returning(_version.version)
        )
        if ended is not None:
            before = {name: row[name] for name in after}
            outbox.record(session, SYSTEM, VersionFinalized(before, after, row["version"]), model=model)
