"""One object written in parts, whole or not at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from tiltyard.errors import TiltyardError
from tiltyard.storage.artifact_store import CHUNK_BYTES, Entry
from tiltyard.storage.object_client import obstore, translated_errors
from tiltyard.storage.uninterrupted import uninterrupted

_OPAQUE: dict[str, Any] = {"Content-Type": "application/octet-stream"}

PART_BYTES = 8 << 20
"""Size of one part of a multipart upload: ten thousand of them, the most that S3 takes, are 78 GiB."""


class ObjectWriter:
    """An upload of one object: one put when it fits a part, else parts sent while more bytes arrive."""

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key
        self._pending = bytearray()
        self._size_bytes = 0
        self._parts: _Parts | None = None

    async def write(self, chunk: bytes) -> None:
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
        await self.seal()
        put = await uninterrupted(self._put_whole() if self._parts is None else self._parts.complete())
        return Entry(self._key, self._size_bytes, etag=put["e_tag"] or "")

    async def _put_whole(self) -> Any:
        with translated_errors(self._key):
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
        with translated_errors(self._key):
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


class _Aborted(Exception):
    """The upload was given up by its writer."""
