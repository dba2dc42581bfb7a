"""Artifacts as plain files below one directory, laid out as their paths say."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

from tiltyard.errors import InvalidParameterValue, ResourceConflict, TemporarilyUnavailable
from tiltyard.storage.artifact_store import CHUNK_BYTES, Entry, PendingUpload
from tiltyard.storage.local_files import (
    etag_of,
    file_entry,
    in_thread,
    is_text,
    open_file,
    remove,
    root_path,
    translated,
)
from tiltyard.storage.local_writer import LocalWriter
from tiltyard.storage.uninterrupted import uninterrupted
from tiltyard.uri import contain, safe_relative_path

UPLOADS = ".uploads"
_STALE_UPLOAD_S = 24 * 3600.0


class LocalStore:
    """An `ArtifactStore` over a directory, which it creates with mode 0700.

    An upload is written to a hidden directory of the root, synced and renamed, so a file is whole or absent,
    also after a kill -9. Links are never followed.
    """

    direct = None

    def __init__(self, uri: str | Path) -> None:
        self.root = root_path(str(uri))
        with translated(""):
            for folder in reversed([self.root, *self.root.parents]):
                # Those above that are missing are as private: `mkdir` would make the last alone so.
                if not folder.is_dir():
                    folder.mkdir(mode=0o700, exist_ok=True)
            self.root = self.root.resolve()
            (self.root / UPLOADS).mkdir(mode=0o700, exist_ok=True)
        self._swept = False

    @asynccontextmanager
    async def open_writer(self, path: str) -> AsyncIterator[LocalWriter]:
        target = self._path_of(path)
        if target == self.root:
            raise InvalidParameterValue("Invalid path for parameter 'path': expected the path of a file.")
        if not self._swept:
            self._swept = True
            await in_thread(path, self._sweep)
        temporary = self.root / UPLOADS / uuid4().hex
        writer = LocalWriter(self.root, safe_relative_path(path), target, temporary)
        try:
            yield writer
        finally:
            # Also of a cancelled upload no bytes are left behind.
            if writer.is_begun:
                await uninterrupted(asyncio.to_thread(writer.discard))

    async def get(
        self, path: str, start: int = 0, end: int | None = None, *, etag: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        target = self._path_of(path)
        file = await in_thread(path, open_file, target)
        try:
            stat = os.fstat(file.fileno())
            if etag is not None and etag_of(stat) != etag:
                raise ResourceConflict(f"Artifact '{path}' changed while it was being read.")
            left = max(0, (stat.st_size if end is None else min(end, stat.st_size)) - start)
            if start:
                file.seek(start)
            while left:
                chunk = await in_thread(path, file.read, min(left, CHUNK_BYTES))
                if not chunk:
                    raise TemporarilyUnavailable("The artifact store ended a file early.", retry_after_s=1.0)
                left -= len(chunk)
                yield chunk
        finally:
            file.close()

    async def list(self, prefix: str, *, recursive: bool = False) -> AsyncIterator[Entry]:
        base = self._path_of(prefix)
        pending = [base]
        while pending:
            directory = pending.pop()
            for entry in await in_thread(prefix, self._scan, directory):
                if recursive and entry.is_dir:
                    pending.append(self.root / entry.path)
                else:
                    yield entry

    async def head(self, path: str) -> Entry:
        target = self._path_of(path)
        return await in_thread(path, self._entry, target)

    async def delete(self, prefix: str) -> None:
        """Removes the file or tree at `prefix`, and the directories that this leaves empty."""
        target = self._path_of(prefix)
        if target == self.root:
            raise InvalidParameterValue("Invalid path for parameter 'path': the root of the store stays.")
        await in_thread(prefix, self._delete, target)

    async def delete_files(self, paths: Sequence[str]) -> None:
        """Removes files, and the directories that this leaves empty."""
        targets = [self._path_of(path) for path in paths]
        await in_thread(paths[0] if paths else "", self._unlink, targets)

    async def list_uploads(self) -> AsyncIterator[PendingUpload]:
        """The temporary files, of which nobody knows any more where they were to go."""
        for upload in await in_thread("", self._scan_uploads):
            yield upload

    async def abort_upload(self, upload: PendingUpload) -> None:
        """Removes a temporary file, or a tree whose removal was cut off."""
        await in_thread("", remove, self.root / UPLOADS / Path(upload.upload_id).name)

    def _path_of(self, relative: str) -> Path:
        """The one way from a caller's path to a file of this machine."""
        safe = safe_relative_path(relative)
        plain = self.root / safe
        # A link inside the root could lead below a pinned prefix under another name.
        if contain(self.root, relative) != plain or safe.partition("/")[0] == UPLOADS:
            raise InvalidParameterValue(f"Invalid path {relative[:80]!a} for parameter 'path'.")
        return plain

    def _entry(self, path: Path) -> Entry:
        stat = path.lstat()
        relative = "" if path == self.root else path.relative_to(self.root).as_posix()
        if path.is_dir():
            return Entry(relative, 0, is_dir=True)
        if not S_ISREG(stat.st_mode):
            # To open a named pipe would wait for whoever writes into it.
            raise FileNotFoundError(path)
        return file_entry(relative, stat)

    def _scan(self, directory: Path) -> Sequence[Entry]:
        found = []
        try:
            with os.scandir(directory) as children:
                for child in children:
                    if child.is_symlink() or (directory == self.root and child.name == UPLOADS):
                        continue
                    if not is_text(child.name):
                        continue
                    # A file that goes away between the two calls is simply not listed.
                    with suppress(FileNotFoundError):
                        found.append(self._entry(Path(child.path)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found, key=lambda entry: entry.path)

    def _delete(self, target: Path) -> None:
        # Renamed first, so that a tree goes all at once.
        trash = self.root / UPLOADS / uuid4().hex
        try:
            target.replace(trash)
        except (FileNotFoundError, NotADirectoryError):
            return
        remove(trash)
        self._prune(target.parent)

    def _unlink(self, targets: Sequence[Path]) -> None:
        for target in targets:
            # What became a directory meanwhile is another thing, and stays.
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                target.unlink()
        for parent in {target.parent for target in targets}:
            self._prune(parent)

    def _prune(self, directory: Path) -> None:
        while directory != self.root:
            try:
                directory.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                break
            directory = directory.parent

    def _scan_uploads(self) -> Sequence[PendingUpload]:
        found = []
        for path in sorted((self.root / UPLOADS).glob("*")):
            with suppress(FileNotFoundError):
                stat = path.lstat()
                below = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
                size_bytes = sum(file.lstat().st_size for file in below if not file.is_dir())
                found.append(PendingUpload(path.name, "", size_bytes, stat.st_mtime_ns // 1_000_000))
        return found

    def _sweep(self) -> None:
        """Removes uploads that a killed process left behind a day ago or longer."""
        oldest = time.time() - _STALE_UPLOAD_S
        for left_over in (self.root / UPLOADS).iterdir():
            with suppress(FileNotFoundError):
                if left_over.lstat().st_mtime < oldest:
                    remove(left_over)
