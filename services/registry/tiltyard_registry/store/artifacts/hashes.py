"""Hashes of files: remembered, and made up for where they were not taken while the file arrived."""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from functools import partial

from sqlalchemy import select

from tiltyard.errors import ResourceConflict
from tiltyard.storage import ArtifactStore, Entry
from tiltyard_registry.store.artifacts.paths import check_path
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.availability import unknown_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.rowsets import pages
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection
from tiltyard_registry.tables.artifacts import files

_KEPT = """INSERT INTO files (path, size_bytes, sha256, etag, last_modified) VALUES ({}) ON CONFLICT (path) DO UPDATE
SET size_bytes = excluded.size_bytes, sha256 = excluded.sha256, etag = excluded.etag,
  last_modified = excluded.last_modified"""
_IN_SQLITE = _KEPT.format("?, ?, ?, ?, ?")
_IN_POSTGRESQL = _KEPT.format("$1, $2, $3, $4, $5")


async def hash_all(database: Database, artifact_store: ArtifactStore, prefix: str) -> list[Entry]:
    """The files below a prefix, read where their hashes were not known; each is kept as soon as it is.

    Raises:
        ResourceConflict: somebody changes them behind the registry's back.
    """
    entries, unknown = await listed(database, artifact_store, prefix)
    for entry in unknown:
        hashes = await hash_unknown(artifact_store, [entry])
        async with database.write() as session:
            await remember_hashes(session, hashes)
    if unknown:
        entries, unknown = await listed(database, artifact_store, prefix)
    if unknown:
        raise ResourceConflict("The files change while they are read.")
    return entries


async def hash_unknown(artifact_store: ArtifactStore, entries: Iterable[Entry]) -> list[tuple[Entry, str]]:
    """Each entry with its SHA-256, read from the store: the long part, done without any session."""
    return [(entry, await _hash(artifact_store, entry)) for entry in entries]


async def known_hashes(session: Session, entries: Sequence[Entry]) -> dict[str, str]:
    """The SHA-256, by path, of those files that are still as they were when they were hashed."""
    known: dict[str, str] = {}
    for some in pages(entries):
        page = {entry.path: entry for entry in some}
        rows = await session.all(select(files).where(rowsets.among(session, files.c.path, list(page))))
        for row in rows:
            entry = page[row["path"]]
            if (entry.etag, entry.size_bytes) == (row["etag"], row["size_bytes"]):
                known[entry.path] = row["sha256"]
    return known


async def _hash(artifact_store: ArtifactStore, entry: Entry) -> str:
    hashed = hashlib.sha256()
    async for chunk in artifact_store.get(entry.path, etag=entry.etag):
        await asyncio.to_thread(hashed.update, chunk)
    return hashed.hexdigest()


async def remember_hash(database: Database, entry: Entry, sha256: str) -> None:
    """Keeps the hash of a file that was just stored, by one statement; see `remember_hashes`.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy, or its disk is full.
    """
    row = (entry.path, entry.size_bytes, sha256, entry.etag, now_ms())
    with unknown_when_lost():
        if database.is_sqlite:
            await database.sqlite(partial(_keep, row), is_read=False)
            return
        async with database.driver() as connection:
            await connection.execute(_IN_POSTGRESQL, *row)


def _keep(row: tuple[object, ...], connection: InlineConnection) -> None:
    with connection.transaction():
        connection.execute(_IN_SQLITE, row)


async def remember_hashes(session: Session, hashes: Sequence[tuple[Entry, str]]) -> None:
    """Keeps hashes for as long as the files keep their etags."""
    if not hashes:
        return
    columns = {
        "path": [entry.path for entry, _ in hashes],
        "size_bytes": [entry.size_bytes for entry, _ in hashes],
        "sha256": [sha256 for _, sha256 in hashes],
        "etag": [entry.etag for entry, _ in hashes],
        "last_modified": now_ms(),
    }
    await rowsets.overwrite(session, files, columns)


async def listed(database: Database, artifact_store: ArtifactStore, prefix: str) -> tuple[list[Entry], list[Entry]]:
    """The files below a prefix, and those of them whose hash is not known."""
    entries = [entry async for entry in artifact_store.list(check_path(prefix), recursive=True)]
    async with database.read() as session:
        known = await known_hashes(session, entries)
    return entries, [entry for entry in entries if entry.path not in known]
