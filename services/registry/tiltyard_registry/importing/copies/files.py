"""Artifacts: copied into our store, hashed as they pass, so that versions can be pinned without reading them again."""

import asyncio
from collections.abc import AsyncIterator, Callable

from sqlalchemy import select

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist, TiltyardError
from tiltyard.storage import ArtifactStore, Entry
from tiltyard_registry.importing.copies.rows import Compared
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.artifacts import files as artifacts
from tiltyard_registry.store.artifacts.listings import in_pages
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.artifacts import files

NOUN = "artifact files"

_PAGE = 500
_AT_ONCE = 8


class Files:
    """The files below an MLflow server's artifact root.

    `refused` names those that can never be kept as they are, and why; `failed` those that could not be copied now.
    """

    def __init__(self, theirs: ArtifactStore, ours: ArtifactStore) -> None:
        self._theirs = theirs
        self._ours = ours
        self.refused: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.size_bytes = 0

    def pages(self) -> AsyncIterator[list[Entry]]:
        """Every file there."""
        return in_pages(self._theirs.list("", recursive=True), _PAGE)

    async def copy(self, database: Database, who: Principal, done: Callable[[int], None]) -> None:
        """Copies every file that is not here already. `done` is told how many, page by page."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def copied(entry: Entry) -> None:
            async with limit:
                try:
                    await self._copy(database, who, entry)
                except InvalidParameterValue as error:
                    self.refused[entry.path] = error.message
                except TiltyardError as error:
                    self.failed[entry.path] = error.message

        async for page in self.pages():
            have = await self._have(database, page)
            async with asyncio.TaskGroup() as group:
                for entry in page:
                    if (entry.path, entry.size_bytes) not in have:
                        group.create_task(copied(entry))
            done(len(page))

    async def compare(self, database: Database, compared: Compared) -> None:
        """Counts files and sizes on both sides, but for those that are refused and named.

        Here a file counts while it is the one that was hashed.
        """
        async for found in self.pages():
            page = [entry for entry in found if entry.path not in self.refused]
            compared.there.add([(entry.path, entry.size_bytes) for entry in page])
            self.size_bytes += sum(entry.size_bytes for entry in page)
            compared.here.add(sorted(await self._have(database, page)))

    async def _copy(self, database: Database, who: Principal, entry: Entry) -> None:
        async with database.read() as session:
            path = await artifacts.check_writable(session, who, entry.path)
        if path != entry.path:
            raise InvalidParameterValue(f"here it would be '{path}', which may be another file")
        await artifacts.store(database, who, self._ours, path, self._theirs.get(entry.path, etag=entry.etag))

    async def _have(self, database: Database, page: list[Entry]) -> set[tuple[str, int]]:
        """Path and size of those files that are in our store as they were when we hashed them."""
        async with database.read() as session:
            query = select(files.c.path, files.c.size_bytes, files.c.etag)
            rows = await session.all(query.where(rowsets.among(session, files.c.path, [entry.path for entry in page])))
        limit = asyncio.Semaphore(_AT_ONCE)

        async def kept(path: str, etag: str) -> bool:
            async with limit:
                try:
                    return (await self._ours.head(path)).etag == etag
                except ResourceDoesNotExist:
                    return False

        still = await asyncio.gather(*(kept(row["path"], row["etag"]) for row in rows))
        return {(row["path"], row["size_bytes"]) for row, there in zip(rows, still, strict=True) if there}
