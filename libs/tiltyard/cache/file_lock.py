"""Locks on files that may be removed. The kernel lets go of them when their holder dies, and no file stays for good."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def lock_file(path: Path, *, shared: bool = False, wait: bool = True) -> int:
    """A descriptor that holds the lock on `path` until it is closed; the file is made when it is missing.

    Threads of this process exclude one another too.

    Raises:
        BlockingIOError: somebody else holds it, and `wait` is false.
    """
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, kind)
            # Who held it before may have removed it: then others hold the lock on its successor.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), path.stat()):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds every other thread and process off; afterwards the file is gone."""
    file = lock_file(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def remove_unheld(path: Path) -> None:
    """Removes a lock file that nobody holds."""
    with suppress(BlockingIOError, FileNotFoundError):
        file = lock_file(path, wait=False)
        try:
            path.unlink(missing_ok=True)
        finally:
            os.close(file)
