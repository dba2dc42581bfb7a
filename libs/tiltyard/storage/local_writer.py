"""An upload to the local store: written beside it, synced, and renamed to where it belongs."""

import os
from pathlib import Path
from typing import IO

from tiltyard.storage.artifact_store import CHUNK_BYTES, Entry
from tiltyard.storage.local_files import file_entry, in_thread, sync_directory

_RENAME_TRIES = 5


class LocalWriter:
    """An upload into a `temporary` file, gathered into writes of 1 MiB; `target` below `root` is where it belongs."""

    def __init__(self, root: Path, path: str, target: Path, temporary: Path) -> None:
        self._root = root
        self._path = path
        self._target = target
        self._temporary = temporary
        self._file: IO[bytes] | None = None
        self._pending = bytearray()
        self._sealed: Entry | None = None

    async def write(self, chunk: bytes) -> None:
        self._pending += chunk
        if len(self._pending) >= CHUNK_BYTES:
            full, self._pending = self._pending, bytearray()
            await in_thread(self._path, self._append, full)

    async def seal(self) -> None:
        """Writes and syncs what is left."""
        if self._sealed is None:
            self._sealed = await in_thread(self._path, self._finish)

    async def commit(self) -> Entry:
        entry = await in_thread(self._path, self._publish)
        self._file = None
        return entry

    @property
    def is_begun(self) -> bool:
        """Whether there may be bytes of it that are not published."""
        return self._file is not None

    def _append(self, data: bytearray) -> IO[bytes]:
        if self._file is None:
            self._file = self._create()
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        return self._file

    def _create(self) -> IO[bytes]:
        def create() -> int:
            return os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

        try:
            descriptor = create()
        except FileNotFoundError:
            # Somebody who emptied the root by hand shall not have to restart the registry.
            self._temporary.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = create()
        return os.fdopen(descriptor, "wb", buffering=0)

    def _finish(self) -> Entry:
        file = self._append(self._pending)
        self._pending = bytearray()
        os.fsync(file.fileno())
        entry = file_entry(self._path, os.fstat(file.fileno()))
        file.close()
        return entry

    def _publish(self) -> Entry:
        entry = self._sealed or self._finish()
        self._rename()
        sync_directory(self._target.parent)
        return entry

    def _rename(self) -> None:
        for tries_left in reversed(range(_RENAME_TRIES)):
            try:
                self._temporary.replace(self._target)
                break
            except FileNotFoundError:
                # Its directory is new, or a deletion removed it meanwhile, for it was empty.
                if not tries_left:
                    raise
                self._make_directories(self._target.parent)

    def _make_directories(self, directory: Path) -> None:
        """Creates what is missing on the way, each level with mode 0700; `mkdir` would do so for the last alone."""
        missing = []
        while directory != self._root and not directory.is_dir():
            missing.append(directory)
            directory = directory.parent
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)

    def discard(self) -> None:
        """Removes what was written, unless it was published."""
        if self._file is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)
