"""The protocol that every artifact store keeps, and nothing else."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

CHUNK_BYTES = 1 << 20
"""No chunk handed to a reader is larger."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or directory of a store.

    `path` is relative to the store's root, with `/` between parts. `etag` changes whenever the file's bytes
    change; it is empty for a directory, whose `size_bytes` is 0.
    """

    path: str
    size_bytes: int
    is_dir: bool = False
    etag: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


class ArtifactWriter(Protocol):
    """One upload in progress. Nothing of it can be seen before `commit` returns."""

    async def write(self, chunk: bytes) -> None:
        """Takes the next bytes; a chunk may have any length."""

    async def seal(self) -> None:
        """Sends what is still in memory, so that `commit` has only to publish. Nothing is written after it."""

    async def commit(self) -> Entry:
        """Publishes the whole file at its path, in place of what was there. Called at most once."""


class ArtifactStore(Protocol):
    """Files below one root. Every path is relative and checked by `tiltyard.uri.safe_relative_path`.

    Raises, from every operation:
        InvalidParameterValue: the path is unsafe, or names a directory where a file is meant.
        TemporarilyUnavailable: the store does not answer.
    """

    def open_writer(self, path: str) -> AbstractAsyncContextManager[ArtifactWriter]:
        """A writer for the file at `path`; leaving the context without `commit` discards everything."""
        ...

    def get(
        self, path: str, start: int = 0, end: int | None = None, *, etag: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The bytes `[start, end)` of a file, in chunks of at most 1 MiB; `end` past the file is its end.

        Raises:
            ResourceDoesNotExist: there is no such file.
            ResourceConflict: `etag` is given and the file has another one by now.
        """
        ...

    def list(self, prefix: str, *, recursive: bool = False) -> AsyncIterator[Entry]:
        """What lies below the directory `prefix`; nothing for a file or a missing path.

        One level, sorted by path; or, recursive, the files at any depth and no directories.
        """
        ...

    async def head(self, path: str) -> Entry:
        """The entry at `path`.

        Raises:
            ResourceDoesNotExist: there is neither a file nor a directory.
        """
        ...

    async def delete(self, prefix: str) -> None:
        """Removes the file or the whole tree at `prefix`; a missing one is no error."""
