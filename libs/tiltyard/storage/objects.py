"""Artifacts as objects of S3, Google Cloud Storage, Azure Blob Storage, or of this process's memory."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tiltyard.errors import (
    InternalError,
    InvalidParameterValue,
    MissingPackage,
    ResourceConflict,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
    TiltyardError,
)
from tiltyard.storage.artifact_store import CHUNK_BYTES, Entry, PendingUpload
from tiltyard.storage.uninterrupted import uninterrupted
from tiltyard.uri import safe_relative_path

try:
    import obstore
    from obstore.exceptions import (
        BaseError,
        PermissionDeniedError,
        PreconditionError,
        UnauthenticatedError,
    )
    from obstore.store import MemoryStore, from_url
except ImportError as error:
    raise MissingPackage(
        "Object stores need the package 'obstore': install it with `pip install 'tiltyard[s3]'`."
    ) from error

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig

    from tiltyard.storage.s3_direct import S3Direct

PART_BYTES = 8 << 20
"""Size of one part of a multipart upload: ten thousand of them, the most that S3 takes, are 78 GiB."""

_OPAQUE: dict[str, Any] = {"Content-Type": "application/octet-stream"}
_RETRIES: "RetryConfig" = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=6),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
}
# The total covers the whole body, whatever its size; a stalled peer is found by the read timeout.
_CLIENT: "ClientConfig" = {"timeout": "24h", "connect_timeout": "3s", "read_timeout": "20s"}

_memory: dict[str, MemoryStore] = {}
log = logging.getLogger(__name__)


def open_objects(uri: str) -> Any:
    """The object-store library's own handle for `uri`, whose path becomes the prefix of every key.

    Credentials, region and endpoint come from the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`). An endpoint that is
    named with `http://` is asked without TLS, unless `AWS_ALLOW_HTTP=false` says otherwise.
    `memory://name` is one store per name for as long as the process lives.
    """
    if uri.startswith("memory:"):
        return _memory.setdefault(uri, MemoryStore())
    # Options given here hide those of the environment, so this one is read for the library.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = (endpoint or os.environ.get("AWS_ENDPOINT", "")).lower()
    said = os.environ.get("AWS_ALLOW_HTTP", "").lower()
    plain = said in ("1", "true") or (not said and endpoint.startswith("http://"))
    with _translated(""):
        return from_url(uri, client_options={**_CLIENT, "allow_http": plain}, retry_config=_RETRIES)


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
        """A writer for the object at `path`."""
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
        """The bytes `[start, end)` of an object in chunks of at most 1 MiB."""
        key = safe_relative_path(path)
        # Stores refuse a range that is empty or starts at the end.
        if (end is not None and end <= start) or (start and start >= (await self.head(path)).size_bytes):
            return
        options: GetOptions = {}
        if etag is not None:
            options["if_match"] = etag
        if start or end is not None:
            options["range"] = {"offset": start} if end is None else (start, end)
        with _translated(path):
            result = await obstore.get_async(self._store, key, options=options or None)
            async for data in result.stream(min_chunk_size=CHUNK_BYTES):
                view = memoryview(data)
                for offset in range(0, len(view), CHUNK_BYTES):
                    yield bytes(view[offset : offset + CHUNK_BYTES])

    async def list(self, prefix: str, *, recursive: bool = False) -> AsyncIterator[Entry]:
        """What lies below `prefix`."""
        key = safe_relative_path(prefix)
        with _translated(prefix):
            if recursive:
                async for page in obstore.list(self._store, key or None):
                    for meta in page:
                        if meta["path"] != key:
                            yield _entry(meta)
                return
            found = await obstore.list_with_delimiter_async(self._store, key or None)
            entries = [Entry(path, 0, is_dir=True) for path in found["common_prefixes"]]
            entries += [_entry(meta) for meta in found["objects"] if meta["path"] != key]
            for entry in sorted(entries, key=lambda entry: entry.path):
                yield entry

    async def head(self, path: str) -> Entry:
        """The entry at `path`; a key prefix is a directory."""
        key = safe_relative_path(path)
        if not key:
            return Entry("", 0, is_dir=True)
        with _translated(path), suppress(FileNotFoundError):
            return _entry(await obstore.head_async(self._store, key))
        with _translated(path):
            found = await obstore.list_with_delimiter_async(self._store, key)
            if found["common_prefixes"] or any(meta["path"] != key for meta in found["objects"]):
                return Entry(key, 0, is_dir=True)
        raise ResourceDoesNotExist(f"Artifact '{path}' does not exist.")

    async def delete(self, prefix: str) -> None:
        """Removes the object at `prefix` and every object below it."""
        key = safe_relative_path(prefix)
        if not key:
            raise InvalidParameterValue("Invalid path for parameter 'path': the root of the store stays.")
        with _translated(prefix):
            async for page in obstore.list(self._store, key):
                await obstore.delete_async(self._store, [meta["path"] for meta in page])
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)

    async def delete_files(self, paths: Sequence[str]) -> None:
        """Removes objects by their keys, in one request where the store can."""
        keys = [safe_relative_path(path) for path in paths]
        if keys:
            with _translated(keys[0]), suppress(FileNotFoundError):
                await obstore.delete_async(self._store, keys)

    async def list_uploads(self) -> AsyncIterator[PendingUpload]:
        """Multipart uploads that were begun and not ended; none where the store cannot list them."""
        if self.direct is not None:
            with _translated(""):
                async for upload in self.direct.list_uploads():
                    yield upload

    async def abort_upload(self, upload: PendingUpload) -> None:
        """Gives up a multipart upload and its parts."""
        if self.direct is not None:
            await self.direct.abort_upload(upload.path, upload.upload_id)


class ObjectWriter:
    """An upload of one object: one put when it fits a part, else parts sent while more bytes arrive."""

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key
        self._pending = bytearray()
        self._size_bytes = 0
        self._parts: _Parts | None = None

    async def write(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        self._pending += chunk
        self._size_bytes += len(chunk)
        # The library gathers parts by itself, so once it has begun nothing is held back here.
        if len(self._pending) >= (PART_BYTES if self._parts is None else CHUNK_BYTES):
            if self._parts is None:
                self._parts = _Parts(self._store, self._key)
            part, self._pending = self._pending, bytearray()
            await self._parts.send(part)

    async def seal(self) -> None:
        """Sends the last part of a multipart upload; a small object can only go with its commit."""
        if self._parts is not None and self._pending:
            last, self._pending = self._pending, bytearray()
            await self._parts.send(last)

    async def commit(self) -> Entry:
        """Completes the upload."""
        await self.seal()
        put = await uninterrupted(self._put_whole() if self._parts is None else self._parts.complete())
        return Entry(self._key, self._size_bytes, etag=put["e_tag"] or "")

    async def _put_whole(self) -> Any:
        with _translated(self._key):
            return await obstore.put_async(
                self._store, self._key, bytes(self._pending), attributes=_OPAQUE, use_multipart=False
            )

    async def discard(self) -> None:
        """Aborts a multipart upload that was not completed; its parts are removed."""
        if self._parts is not None:
            await self._parts.abort()


class _Parts:
    """A multipart upload: a task of the library's that takes its parts from a queue of one."""

    def __init__(self, store: Any, key: str) -> None:
        self._key = key
        self._queue: asyncio.Queue[bytearray | Exception | None] = asyncio.Queue(maxsize=1)
        self._task = asyncio.create_task(self._put(store))

    async def _put(self, store: Any) -> Any:
        with _translated(self._key):
            return await obstore.put_async(
                store,
                self._key,
                self._taken(),
                attributes=_OPAQUE,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=1,
            )

    async def _taken(self) -> AsyncIterator[bytearray]:
        while (part := await self._queue.get()) is not None:
            if isinstance(part, Exception):
                raise part
            yield part

    async def send(self, part: bytearray | None) -> None:
        putting = asyncio.ensure_future(self._queue.put(part))
        try:
            await asyncio.wait({putting, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not putting.done():
                # Nobody takes parts any more: the upload failed, and this raises why.
                await self._task
        finally:
            putting.cancel()

    async def complete(self) -> Any:
        await self.send(None)
        return await self._task

    async def abort(self) -> None:
        """Ends the upload unless it is complete. The library aborts when its source raises, and only then."""
        if not self._task.done():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(_Aborted())
        with suppress(_Aborted, TiltyardError):
            await self._task


class ObjectSource:
    """The objects below one URI, read without an event loop."""

    def __init__(self, uri: str) -> None:
        self._store = open_objects(uri)

    def list_files(self) -> list[tuple[str, int | None]]:
        """Every object below the URI."""
        with _translated(""):
            return [(meta["path"], meta["size"]) for page in obstore.list(self._store) for meta in page]

    def read(self, path: str) -> Iterator[bytes]:
        """The bytes of one object."""
        with _translated(path):
            yield from obstore.get(self._store, safe_relative_path(path)).stream(min_chunk_size=CHUNK_BYTES)


class _Aborted(Exception):
    """The upload was given up by its writer."""


def _entry(meta: Any) -> Entry:
    modified_ms = int(meta["last_modified"].timestamp() * 1000)
    return Entry(meta["path"], meta["size"], etag=meta["e_tag"] or "", modified_ms=modified_ms)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turns the library's exceptions, whose texts hold endpoints and keys, into errors safe to show."""
    try:
        yield
    except FileNotFoundError:
        raise ResourceDoesNotExist(f"Artifact '{path}' does not exist.") from None
    except PreconditionError:
        raise ResourceConflict(f"Artifact '{path}' changed while it was being read.") from None
    except (PermissionDeniedError, UnauthenticatedError):
        log.exception("the object store refuses the credentials")
        raise InternalError("The artifact store refuses access.") from None
    except ValueError:
        raise InvalidParameterValue(f"Invalid path '{path[:80]}': the store cannot hold such a name.") from None
    except (BaseError, OSError) as error:
        if "NoSuchBucket" in str(error):
            log.warning("the object store has no such bucket")
            raise TemporarilyUnavailable("The artifact store's bucket does not exist.", retry_after_s=30.0) from None
        log.exception("the object store fails")
        raise TemporarilyUnavailable("The artifact store does not answer.", retry_after_s=5.0) from None
