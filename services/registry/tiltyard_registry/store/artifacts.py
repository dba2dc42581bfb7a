"""Artifacts: who may change a file, what is pinned, and what a directory held when it was registered.

Publishing an upload, deleting, and pinning exclude one another within a scope (one run's or one logged model's
directory), so no byte below a prefix changes once it is pinned. Who changes files holds the scope (`ScopeLocks`),
looks for pins, and asks the store while no transaction is open: a store may take long, and all others would wait.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec
from sqlalchemy import bindparam, select

from tiltyard.errors import InvalidParameterValue, ResourceConflict, ResourceDoesNotExist
from tiltyard.storage import ArtifactStore, ArtifactWriter, Entry, Manifest, ManifestFile
from tiltyard.uri import safe_relative_path
from tiltyard_registry.rules import access
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.store import rowsets
from tiltyard_registry.store.availability import done_already
from tiltyard_registry.store.session import Database, Session, now_ms
from tiltyard_registry.tables import files, manifests, model_versions, registered_models

MAX_PATH_BYTES = 1024
"""The longest key that object stores take."""

_PAGE = 1000

T = TypeVar("T")

_PIN = select(registered_models.c.name, model_versions.c.version).join_from(model_versions, registered_models)
_MANIFEST = select(manifests).where(manifests.c.digest == bindparam("digest"))


class HashedUpload:
    """A writer whose bytes are counted and hashed as they pass."""

    def __init__(self, writer: ArtifactWriter) -> None:
        self._hash = hashlib.sha256()
        self._writer = writer

    async def write(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        self._hash.update(chunk)
        await self._writer.write(chunk)

    async def seal(self) -> None:
        """Sends what is still in memory; called before the transaction that publishes."""
        await self._writer.seal()

    async def commit(self) -> tuple[Entry, str]:
        """The published entry and the SHA-256 of its bytes."""
        return await self._writer.commit(), self._hash.hexdigest()


def check_path(path: str) -> str:
    """`path` as the store keeps it.

    Raises:
        InvalidParameterValue: it is unsafe, or longer than a key may be.
    """
    safe = safe_relative_path(path)
    if len(safe.encode()) > MAX_PATH_BYTES:
        raise InvalidParameterValue(
            f"Invalid path for parameter 'path': {len(safe.encode())} bytes, at most {MAX_PATH_BYTES} are allowed."
        )
    return safe


def scope_of(path: str) -> str | None:
    """The directory within which changes exclude one another: `exp/run` or `exp/models/id`.

    None when `path` lies above any such directory.
    """
    parts = path.split("/")
    length = 3 if len(parts) > 1 and parts[1] == "models" else 2
    return "/".join(parts[:length]) if len(parts) >= length else None


async def check_writable(session: Session, who: Principal, path: str) -> str:
    """`path` as the store keeps it, if `who` may write a file there now.

    Raises:
        InvalidParameterValue: the path is unsafe.
        ResourceConflict: a registered version pins it.
    """
    safe = check_path(path)
    access.require(who, Action.UPDATE, f"artifact {safe}")
    await _refuse_pinned(session, safe, {safe} | directories_above([safe]))
    return safe


async def publish(database: Database, who: Principal, path: str, upload: HashedUpload) -> Entry:
    """Makes a sealed upload visible at `path`, and remembers its hash.

    Raises:
        ResourceConflict: a version was registered while the bytes were coming.
    """
    async with database.scopes.alone(scope_of(path) or path):
        async with database.read() as session:
            await check_writable(session, who, path)
        entry, sha256 = await upload.commit()
        with done_already():
            async with database.write() as session:
                await remember_hashes(session, [(entry, sha256)])
    return entry


async def delete(database: Database, who: Principal, artifact_store: ArtifactStore, path: str) -> None:
    """Removes the file or tree at `path`; a missing one is no error.

    Raises:
        InvalidParameterValue: the path is unsafe, or the root itself.
        ResourceConflict: a registered version pins it, something below it or a directory above it. Of what lies above
            the directories of runs and models, other directories may be gone when one of them is pinned meanwhile.
    """
    safe = check_path(path)
    if not safe:
        raise InvalidParameterValue("Invalid path for parameter 'path': the artifact root cannot be deleted.")
    access.require(who, Action.DELETE, f"artifact {safe}")
    # Above the scopes, each directory is locked by itself: one that comes later is not part of this deletion.
    targets = [safe] if scope_of(safe) else sorted([path async for path in _scopes_below(artifact_store, safe)])
    if targets != [safe]:
        for target in targets:
            await _check_deletable(database, who, artifact_store, safe, target)
    for target in targets:
        async with database.scopes.alone(scope_of(target) or target):
            below = await _check_deletable(database, who, artifact_store, safe, target)
            # What is remembered of files goes first: if their removal is cut off, it can be asked for again.
            async with database.write() as session:
                for page in _pages([target, *below]):
                    await session.execute(files.delete().where(rowsets.among(session, files.c.path, page)))
            with done_already():
                await artifact_store.delete(target)


async def _check_deletable(
    database: Database, who: Principal, artifact_store: ArtifactStore, path: str, target: str
) -> list[str]:
    """The files below `target`, once it is known that no version pins any of it; `path` is what the caller named."""
    below = [entry.path async for entry in artifact_store.list(target, recursive=True)]
    async with database.read() as session:
        await check_writable(session, who, target)
        await _refuse_pinned(session, path, directories_above(below))
    return below


async def remove_unpinned(database: Database, artifact_store: ArtifactStore, entries: Sequence[Entry]) -> list[Entry]:
    """Removes those of these files, at most 1,000, that no registered version pins, and gives the others."""
    by_scope: dict[str, list[Entry]] = {}
    for entry in entries:
        by_scope.setdefault(scope_of(entry.path) or entry.path, []).append(entry)
    kept: list[Entry] = []
    for scope, some in sorted(by_scope.items()):
        async with database.scopes.alone(scope):
            async with database.read() as session:
                free, pinned = await split_pinned(session, some)
            kept += pinned
            paths = [entry.path for entry in free]
            await artifact_store.delete_files(paths)
            # These go last: by them a collection that is cut off here knows the files that are left for its own.
            async with database.write() as session:
                await session.execute(files.delete().where(rowsets.among(session, files.c.path, paths)))
    return kept


async def split_pinned(session: Session, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The files that no registered version pins now, and those that one does."""
    paths = [entry.path for entry in entries]
    column, pins = model_versions.c.pinned_prefix, set[str]()
    for page in _pages(sorted({*paths, *directories_above(paths)})):
        pins |= set((await session.execute(select(column).where(rowsets.among(session, column, page)))).scalars())
    free: list[Entry] = []
    kept: list[Entry] = []
    for entry in entries:
        (free if pins.isdisjoint({entry.path, *directories_above([entry.path])}) else kept).append(entry)
    return free, kept


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


async def listed(database: Database, artifact_store: ArtifactStore, prefix: str) -> tuple[list[Entry], list[Entry]]:
    """The files below a prefix, and those of them whose hash is not known."""
    entries = [entry async for entry in artifact_store.list(check_path(prefix), recursive=True)]
    async with database.read() as session:
        known = await known_hashes(session, entries)
    return entries, [entry for entry in entries if entry.path not in known]


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


async def _refuse_pinned(session: Session, path: str, prefixes: Collection[str]) -> None:
    for page in _pages(sorted(prefixes)):
        query = _PIN.where(rowsets.among(session, model_versions.c.pinned_prefix, page)).limit(1)
        if pin := await session.one(query):
            raise ResourceConflict(
                f"Artifact '{path}' cannot be changed: version {pin['version']} of registered model "
                f"'{pin['name']}' is made of it."
            )


def directories_above(paths: Iterable[str]) -> set[str]:
    """Every directory above any of `paths`, but for the root."""
    found: set[str] = set()
    for path in paths:
        directory = path.rpartition("/")[0]
        while directory and directory not in found:
            found.add(directory)
            directory = directory.rpartition("/")[0]
    return found


def _pages(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for offset in range(0, len(items), _PAGE):
        yield items[offset : offset + _PAGE]


async def _scopes_below(artifact_store: ArtifactStore, path: str) -> AsyncIterator[str]:
    async for entry in artifact_store.list(path):
        if entry.is_dir and scope_of(entry.path) is None:
            async for below in _scopes_below(artifact_store, entry.path):
                yield below
        else:
            yield entry.path


async def known_hashes(session: Session, entries: Sequence[Entry]) -> dict[str, str]:
    """The SHA-256, by path, of those files that are still as they were when they were hashed."""
    known: dict[str, str] = {}
    for some in _pages(entries):
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
