"""A store that lets a test look at the moments in which it is asked."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tiltyard.storage import ArtifactStore, Entry
from tiltyard.storage.artifact_store import PendingUpload


class AskedStore:
    """The store within, and before each thing that it is asked for, `look(what)`."""

    def __init__(self, within: ArtifactStore, look: Callable[[str], Awaitable[None]]) -> None:
        self.within = within
        self.look = look

    def __getattr__(self, name: str) -> Any:
        return getattr(self.within, name)

    @property
    def direct(self) -> Any:
        """Its transfers past the registry, looked at too."""
        return _Direct(self.within.direct, self.look)

    @asynccontextmanager
    async def open_writer(self, path: str) -> AsyncIterator["_Writer"]:
        """A writer whose steps are looked at."""
        async with self.within.open_writer(path) as writer:
            yield _Writer(writer, self.look)

    async def get(self, path: str, start: int = 0, end: int | None = None, *, etag: str | None = None) -> Any:
        """The bytes of a file."""
        await self.look("get")
        async for chunk in self.within.get(path, start, end, etag=etag):
            yield chunk

    async def list(self, prefix: str, *, recursive: bool = False) -> AsyncIterator[Entry]:
        """What lies below a prefix."""
        await self.look("list")
        async for entry in self.within.list(prefix, recursive=recursive):
            yield entry

    async def head(self, path: str) -> Entry:
        """The entry at a path."""
        await self.look("head")
        return await self.within.head(path)

    async def delete(self, prefix: str) -> None:
        """Removes a tree."""
        await self.look("delete")
        await self.within.delete(prefix)

    async def delete_files(self, paths: Sequence[str]) -> None:
        """Removes files."""
        await self.look("delete_files")
        await self.within.delete_files(paths)

    async def list_uploads(self) -> AsyncIterator[PendingUpload]:
        """Uploads that were begun."""
        await self.look("list_uploads")
        async for upload in self.within.list_uploads():
            yield upload


class _Writer:
    def __init__(self, within: Any, look: Callable[[str], Awaitable[None]]) -> None:
        self._within = within
        self._look = look

    async def write(self, chunk: bytes) -> None:
        await self._within.write(chunk)

    async def seal(self) -> None:
        await self._look("seal")
        await self._within.seal()

    async def commit(self) -> Entry:
        await self._look("commit")
        entry: Entry = await self._within.commit()
        return entry


class _Direct:
    def __init__(self, within: Any, look: Callable[[str], Awaitable[None]]) -> None:
        self._within = within
        self._look = look

    def __getattr__(self, name: str) -> Any:
        return getattr(self._within, name)

    async def complete_upload(self, *arguments: Any) -> None:
        await self._look("complete_upload")
        await self._within.complete_upload(*arguments)
