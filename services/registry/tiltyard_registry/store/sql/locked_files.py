"""Locks that processes of one machine hold by files; a process that dies gives its own back."""

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SEEK_SET = 0


class FileLocks:
    """The locks of one holder, by name, below a folder that all of them share.

    On Linux each is a byte of a file that stays, locked for whoever opened it: nothing is created or removed for a
    lock, for that may have to wait for a disk that is being written to. Elsewhere it is a file of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    @contextmanager
    def tried(self, name: str) -> Iterator[bool]:
        """Whether no other holder has the lock of that name until the caller leaves; it does not wait.

        Who of those that share this holder is next the caller has to know.
        """
        hashed = hashlib.sha256(name.encode())
        if hasattr(fcntl, "F_OFD_SETLK"):
            tried = self._byte(int.from_bytes(hashed.digest()[:7], "big"))
        else:
            tried = self._file(self._folder / hashed.hexdigest())
        with tried as is_held:
            yield is_held

    def close(self) -> None:
        """Closes the file, if one is open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def _byte(self, start: int) -> Iterator[bool]:
        # Somebody may have removed the file, and others made it anew. Who holds a lock of the old one still does.
        if self._descriptor is None or not os.fstat(self._descriptor).st_nlink:
            self._descriptor = _opened(self._folder / "locks")
        descriptor = self._descriptor
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _range(fcntl.F_WRLCK, start))
        except (BlockingIOError, PermissionError):
            yield False
            return
        try:
            yield True
        finally:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _range(fcntl.F_UNLCK, start))

    @contextmanager
    def _file(self, path: Path) -> Iterator[bool]:
        descriptor = _opened(path)
        try:
            is_held = _lock(descriptor, path)
            try:
                yield is_held
            finally:
                if is_held:
                    path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _opened(path: Path) -> int:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _range(kind: int, start: int) -> bytes:
    """One byte, as `struct flock` says it."""
    return struct.pack("hhqqi4x", kind, _SEEK_SET, start, 1, 0)


def _lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it has removed it by now: another may have made and locked it anew.
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
