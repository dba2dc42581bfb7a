"""Files of the artifact store: who may read and change one, and how it is published and deleted.

Publishing an upload, deleting, and pinning exclude one another within a scope (one run's or one logged model's
directory), so no byte below a prefix changes once it is pinned. Who changes files holds the scope (`ScopeLocks`),
looks for pins, and asks the store while no transaction is open: a store may take long, and all others would wait.
"""

import hashlib
from collections.abc import AsyncIterator

from tiltyard.errors import InvalidParameterValue
from tiltyard.storage import ArtifactStore
from tiltyard.storage.artifact_store import CHUNK_BYTES
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.store.artifacts import access_by_path
from tiltyard_registry.store.artifacts.hashes import remember_hash
from tiltyard_registry.store.artifacts.paths import check_path, directories_above, scope_of
from tiltyard_registry.store.artifacts.pins import is_pinned, refuse_pinned
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.availability import done_already
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.rowsets import pages
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.artifacts import files


async def check_readable(database: Database, who: Principal, path: str) -> str:
    """`path` as the store keeps it, if `who` may read what is there.

    Raises:
        InvalidParameterValue: the path is unsafe.
        ResourceDoesNotExist: they see nothing there.
    """
    return await _admitted(database, who, Privilege.READ, path)


async def check_writable(session: Session, who: Principal, path: str) -> str:
    """`path` as the store keeps it, if `who` may write a file there now.

    Raises:
        InvalidParameterValue: the path is unsafe.
        ResourceDoesNotExist, PermissionDenied: they may not write there.
        ResourceConflict: a registered version pins it.
    """
    safe = check_path(path)
    await access_by_path.admit(session, who, Privilege.EDIT, safe)
    await refuse_pinned(session, who, safe, {safe} | directories_above([safe]))
    return safe


async def store(
    database: Database, who: Principal, artifact_store: ArtifactStore, path: str, chunks: AsyncIterator[bytes]
) -> None:
    """Stores a file at `path`, hashed as it streams, and remembers its hash. When `chunks` raises, nothing is stored.

    Raises:
        ResourceConflict: a version was registered while the bytes were coming.
    """
    hashed = hashlib.sha256()
    scope, size_bytes = scope_of(path) or path, 0
    async with artifact_store.open_writer(path) as writer:
        async for chunk in chunks:
            hashed.update(chunk)
            size_bytes += len(chunk)
            await writer.write(chunk)
        if size_bytes > CHUNK_BYTES or not database.scopes.is_free(scope):
            # What is still in memory is sent before anybody has to wait. A small file goes at once if nobody does.
            await writer.seal()
        async with database.scopes.alone(scope):
            if not who.is_admin or await is_pinned(database, {path} | directories_above([path])):
                async with database.read() as session:
                    await check_writable(session, who, path)
            entry = await writer.commit()
            with done_already():
                await remember_hash(database, entry, hashed.hexdigest())


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
    await _admitted(database, who, Privilege.EDIT, safe)
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
                for page in pages([target, *below]):
                    await session.execute(files.delete().where(rowsets.among(session, files.c.path, page)))
            with done_already():
                await artifact_store.delete(target)


async def check_abortable(database: Database, who: Principal, path: str) -> str:
    """`path` as the store keeps it, if `who` may give up an upload to it: as one that writes, but for pins."""
    return await _admitted(database, who, Privilege.EDIT, path)


async def _admitted(database: Database, who: Principal, wanted: Privilege, path: str) -> str:
    safe = check_path(path)
    if not who.is_admin:
        async with database.read() as session:
            await access_by_path.admit(session, who, wanted, safe)
    return safe


async def _check_deletable(
    database: Database, who: Principal, artifact_store: ArtifactStore, path: str, target: str
) -> list[str]:
    """The files below `target`, once it is known that no version pins any of it; `path` is what the caller named."""
    below = [entry.path async for entry in artifact_store.list(target, recursive=True)]
    async with database.read() as session:
        await refuse_pinned(session, who, target, {target} | directories_above([target]))
        await refuse_pinned(session, who, path, directories_above(below))
    return below


async def _scopes_below(artifact_store: ArtifactStore, path: str) -> AsyncIterator[str]:
    async for entry in artifact_store.list(path):
        if entry.is_dir and scope_of(entry.path) is None:
            async for below in _scopes_below(artifact_store, entry.path):
                yield below
        else:
            yield entry.path
