"""Uploads whose bytes do not pass through the registry: begun, completed and given up here, sent to the store.

Nobody has hashed what was sent so, and no store is asked to be believed: the file counts as one that did not come
through us, and is read and hashed once, when a version is registered from it. Of files that are never registered,
such as most checkpoints, no byte is read.
"""

from collections.abc import Sequence

from tiltyard.errors import InvalidParameterValue
from tiltyard.storage.artifact_store import ArtifactStore, DirectTransfers
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.artifacts.files import check_abortable, check_readable, check_writable
from tiltyard_registry.store.artifacts.paths import scope_of
from tiltyard_registry.store.sql.availability import done_already
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.artifacts import files

DOWNLOAD_LIFETIME_S = 300


async def complete_upload(
    database: Database,
    who: Principal,
    direct: DirectTransfers,
    path: str,
    upload_id: str,
    parts: Sequence[tuple[int, str]],
) -> None:
    """Makes the file at `path` of its parts. Until then nothing of the upload can be seen.

    Raises:
        ResourceDoesNotExist: there is no such upload to this path.
        InvalidParameterValue: the path is unsafe, or the parts make no file.
        ResourceConflict: a version was registered while the parts were coming.
    """
    async with database.scopes.alone(scope_of(path) or path):
        async with database.write() as session:
            safe = await check_writable(session, who, path)
            # What is known of another file at this path will say nothing of this one.
            await session.execute(files.delete().where(files.c.path == safe))
        with done_already():
            await direct.complete_upload(safe, upload_id, parts)


async def abort_upload(database: Database, who: Principal, direct: DirectTransfers, path: str, upload_id: str) -> None:
    """Gives up an upload; one that is gone already is no error."""
    safe = await check_abortable(database, who, path)
    await direct.abort_upload(safe, upload_id)


async def download_url(
    database: Database, who: Principal, artifact_store: ArtifactStore, direct: DirectTransfers, path: str
) -> tuple[str, int]:
    """A URL that reads the file for the next five minutes, and the file's size in bytes.

    Raises:
        ResourceDoesNotExist: there is no such file.
        InvalidParameterValue: the path is unsafe, or a directory.
    """
    safe = await check_readable(database, who, path)
    entry = await artifact_store.head(safe)
    if entry.is_dir:
        raise InvalidParameterValue(f"Invalid path '{safe}': it is a directory.")
    return await direct.download_url(safe, expires_s=DOWNLOAD_LIFETIME_S), entry.size_bytes
