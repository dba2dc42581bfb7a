"""Artifacts as objects of S3, Google Cloud Storage, Azure Blob Storage, or of this process's memory."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist
from tiltyard.storage.artifact_store import CHUNK_BYTES, Entry, PendingUpload
from tiltyard.storage.object_client import entry_of, obstore, open_objects, translated_errors
from tiltyard.storage.object_writer import ObjectWriter
from tiltyard.storage.uninterrupted import uninterrupted
from tiltyard.uri import safe_relative_path

if TYPE_CHECKING:
    from obstore import GetOptions

    from tiltyard.storage.s3_direct import S3Direct


class ObjectStore:
    """An `ArtifactStore` over objects: an upload is one put, or a multipart upload completed or aborted."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._store = open_objects(uri)

    @cached_property
    def direct(self) -> "S3Direct | None":
        """Transfers past this process: on S3, with keys to sign with."""
        from tiltyard.storage.s3_direct import s3_direct

        return s3_direct(self._store, self._uri)

    @asynccontextmanager
    async def open_writer(self, path: str) -> AsyncIterator["ObjectWriter"]:
        key = safe_relative_path(path)
        if not key:
            raise InvalidParameterValue("Invalid path for parameter 'path': expected the path of a file.")
        writer = ObjectWriter(self._store, key)
        try:
            yield writer
        finally:
            await uninterrupted(writer.discard())

    async def get(
        self, path: str, start: int = 0, end: int | None = None, *, etag: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        key = safe_relative_path(path)
        # Stores refuse a range that is empty or starts at the end.
        if (end is not None and end <= start) or (start and start >= (await self.head(path)).size_bytes):
            return
        options: GetOptions = {}
        if etag is not None:
            options["if_match"] = etag
        if start or end is not None:
            options["range"] = {"offset": start} if end is None else (start, end)
        with translated_errors(path):
            result = await obstore.get_async(self._store, key, options=options or None)
            async for data in result.stream(min_chunk_size=CHUNK_BYTES):
                view = memoryview(data)
                for offset in range(0, len(view), CHUNK_BYTES):
                    yield bytes(view[offset : offset + CHUNK_BYTES])

    async def list(self, prefix: str, *, recursive: bool = False) -> AsyncIterator[Entry]:
        key = safe_relative_path(prefix)
        with translated_errors(prefix):
            if recursive:
                async for page in obstore.list(self._store, key or None):
                    for meta in page:
                        if meta["path"] != key:
                            yield entry_of(meta)
                return
            found = await obstore.list_with_delimiter_async(self._store, key or None)
            entries = [Entry(path, 0, is_dir=True) for path in found["common_prefixes"]]
            entries += [entry_of(meta) for meta in found["objects"] if meta["path"] != key]
            for entry in sorted(entries, key=lambda entry: entry.path):
                yield entry

    async def head(self, path: str) -> Entry:
        """The entry at `path`; a key prefix is a directory."""
        key = safe_relative_path(path)
        if not key:
            return Entry("", 0, is_dir=True)
        with translated_errors(path), suppress(FileNotFoundError):
            return entry_of(await obstore.head_async(self._store, key))
        with translated_errors(path):
            found = await obstore.list_with_delimiter_async(self._store, key)
            if found["common_prefixes"] or any(meta["path"] != key for meta in found["objects"]):
                return Entry(key, 0, is_dir=True)
        raise ResourceDoesNotExist(f"Artifact '{path}' does not exist.")

    async def delete(self, prefix: str) -> None:
        """Removes the object at `prefix` and every object below it."""
        key = safe_relative_path(prefix)
        if not key:
            raise InvalidParameterValue("Invalid path for parameter 'path': the root of the store stays.")
        with translated_errors(prefix):
            async for page in obstore.list(self._store, key):
                await obstore.delete_async(self._store, [meta["path"] for meta in page])
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)

    async def delete_files(self, paths: Sequence[str]) -> None:
        """Removes objects by their keys, in one request where the store can."""
        keys = [safe_relative_path(path) for path in paths]
        if keys:
            with translated_errors(keys[0]), suppress(FileNotFoundError):
                await obstore.delete_async(self._store, keys)

    async def list_uploads(self) -> AsyncIterator[PendingUpload]:
        """Multipart uploads that were begun and not ended; none where the store cannot list them."""
        if self.direct is not None:
            with translated_errors(""):
                async for upload in self.direct.list_uploads():
                    yield upload

    async def abort_upload(self, upload: PendingUpload) -> None:
        if self.direct is not None:
            await self.direct.abort_upload(upload.path, upload.upload_id)
