"""Manifests: what a directory holds, stored once for each digest."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import bindparam, select

from tiltyard.errors import ResourceConflict, ResourceDoesNotExist
from tiltyard.storage import Entry, Manifest, ManifestFile
from tiltyard_registry.store.artifacts.hashes import known_hashes
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.artifacts import manifests

_MANIFEST = select(manifests).where(manifests.c.digest == bindparam("digest"))


async def manifest_of(session: Session, prefix: str, entries: Sequence[Entry]) -> Manifest:
    """What lies below `prefix`, by a listing of it, every hash of which is remembered.

    Raises:
        ResourceConflict: a file is not what it was when it was hashed.
        InvalidParameterValue: the paths cannot lie in one directory.
    """
    known = await known_hashes(session, entries)
    if len(known) < len(entries):
        raise ResourceConflict("The files change while they are read.")
    start = len(prefix) + 1 if prefix else 0
    return Manifest.of(ManifestFile(entry.path[start:], entry.size_bytes, known[entry.path]) for entry in entries)


async def store_manifest(session: Session, manifest: Manifest) -> None:
    """Keeps a manifest under its digest; the same one twice is one row."""
    text = msgspec.json.encode(manifest.files).decode()
    columns = {"digest": [manifest.digest], "size_bytes": manifest.size_bytes, "files": text}
    await rowsets.insert_missing(session, manifests, columns)


async def get_manifest(session: Session, digest: str) -> Manifest:
    """The manifest of that digest.

    Raises:
        ResourceDoesNotExist: no version has it.
    """
    row = await session.one(_MANIFEST, {"digest": digest})
    if row is None:
        raise ResourceDoesNotExist(f"Manifest {digest} not found")
    stored = msgspec.json.decode(row["files"], type=tuple[ManifestFile, ...])
    return Manifest(row["digest"], row["size_bytes"], stored)
