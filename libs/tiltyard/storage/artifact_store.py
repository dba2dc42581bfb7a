"""The protocol that every artifact store keeps, and nothing else."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

CHUNK_BYTES = 1 << 20
"""No chunk handed to a reader is larger."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or directory of a store.

    `path` is relative to the store's root, with `/` between parts. `etag` changes whenever the file's bytes
    change; it is empty for a directory, whose `size_bytes` is 0. `modified_ms` is when a listing says that the
    file was written, 0 where nobody said.
    """

    path: str
    size_bytes: int
    is_dir: bool = False
    etag: str = ""
    modified_ms: int = field(default=0, compare=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """Bytes of an upload that was begun and not ended. `path` is empty where the store does not know it."""

    upload_id: str
    path: str
    size_bytes: int
    started_ms: int


class ArtifactWriter(Protocol):
    """One upload in progress. Nothing of it can be seen before `commit` returns."""

    async def write(self, chunk: bytes) -> None:
        """Takes the next bytes; a chunk may have any length."""

    async def seal(self) -> None:
        """Sends what is still in memory, so that `commit` has only to publish. Nothing is written after it."""

    async def commit(self) -> Entry:
        """Publishes the whole file at its path, in place of what was there. Called at most once."""


class DirectTransfers(Protocol):
    """What a store offers to clients that send and fetch large files past this process.

    Raises, from every operation:
        TemporarilyUnavailable: the store does not answer.
    """

    async def create_upload(self, path: str, num_parts: int) -> tuple[str, list[str]]:
        """The id of a new upload to `path`, and the URL to put each part to, the first part's first."""

    async def complete_upload(self, path: str, upload_id: str, parts: Sequence[tuple[int, str]]) -> None:
        """Makes the file of its parts, `(number, etag)` each; the same call again is no error.

        Raises:
            ResourceDoesNotExist: there is no such upload to this path.
            InvalidParameterValue: the file cannot be made of these parts.
        """

    async def abort_upload(self, path: str, upload_id: str) -> None:
        """Gives up an upload and its parts; one that is gone already is no error."""

    async def download_url(self, path: str, *, expires_s: int) -> str:
        """A URL that anybody may read the file with until `expires_s` have passed."""


class ArtifactStore(Protocol):
    """Files below one root. Every path is relative and checked by `tiltyard.uri.safe_relative_path`.

    `direct` is None where clients have to send every byte through this process.

    Raises, from every operation:
        InvalidParameterValue: the path is unsafe, or names a directory where a file is meant.
        TemporarilyUnavailable: the store does not answer.
    """

    @property
    def direct(self) -> DirectTransfers | None:
        """Transfers past this process. Finding out may ask the network the first time."""

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
        """The entry at `path`. Raises: ResourceDoesNotExist: there is neither a file nor a directory."""
        ...

    async def delete(self, prefix: str) -> None:
        """Removes the file or the whole tree at `prefix`; a missing one is no error."""

    async def delete_files(self, paths: Sequence[str]) -> None:
        """Removes these files and nothing else, at most 1,000 at a time; a missing one is no error."""

    def list_uploads(self) -> AsyncIterator[PendingUpload]:
        """Every upload that was begun and not ended, be it under way or left behind by a killed process."""
        ...

    async def abort_upload(self, upload: PendingUpload) -> None:
        """Removes the bytes of an upload; one that is gone already is no error."""
