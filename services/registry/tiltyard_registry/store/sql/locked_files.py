"""Locks that processes of one machine hold by files; a process that dies gives its own back."""

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Such locks belong to the open file and not to the process, so another of its files gives none of them back. Only
# Linux has them.
HAS_LOCKED_BYTES = hasattr(fcntl, "F_OFD_SETLK")

_SEEK_SET = 0


@contextmanager
def locked_file(folder: Path, name: str) -> Iterator[bool]:
    """Whether this caller alone holds the lock of that name below `folder` until it leaves; it does not wait."""
    path = folder / hashlib.sha256(name.encode()).hexdigest()
    try:
        descriptor = _opened(path)
    except FileNotFoundError:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = _opened(path)
    try:
        held = _lock(descriptor, path)
        try:
            yield held
        finally:
            if held:
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it has removed it by now: another may have made and locked it anew.
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


class LockedBytes:
    """Locks by name, each by a byte of a file that stays.

    Nothing is created or removed for a lock: that may have to wait for a disk that is being written to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @contextmanager
    def tried(self, name: str) -> Iterator[bool]:
        """Whether no other process holds the lock of that name until the caller leaves; it does not wait.

        Who of this process is next the caller has to know.
        """
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
        descriptor = self._opened()
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _range(fcntl.F_WRLCK, start))
        except (BlockingIOError, PermissionError):
            yield False
            return
        try:
            yield True
        finally:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _range(fcntl.F_UNLCK, start))

    def close(self) -> None:
        """Gives all locks back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        # Somebody may have removed the file, and others made it anew. Who holds a lock of the old one still does.
        if self._descriptor is None or not os.fstat(self._descriptor).st_nlink:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor


def _range(kind: int, start: int) -> bytes:
    """One byte, as `struct flock` says it."""
    return struct.pack("hhqqi4x", kind, _SEEK_SET, start, 1, 0)
