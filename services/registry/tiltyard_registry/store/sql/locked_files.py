"""Locks that processes of one machine hold by files; a process that dies gives its own back."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked_file(folder: Path, name: str) -> Iterator[bool]:
    """Whether this caller alone holds the lock of that name below `folder` until it leaves; it does not wait."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / hashlib.sha256(name.encode()).hexdigest()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        held = _lock(descriptor, path)
        try:
            yield held
        finally:
            if held:
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it has removed it by now: another may have made and locked it anew.
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
