"""The file system of this machine as the local store uses it: what is opened, removed and said of its faults."""

import asyncio
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

from tiltyard.errors import InternalError, InvalidParameterValue, ResourceDoesNotExist, TemporarilyUnavailable
from tiltyard.storage.artifact_store import Entry
from tiltyard.storage.uninterrupted import uninterrupted

_TWO_KINDS = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP)
_NO_SUCH_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


def root_path(uri: str) -> Path:
    """The directory that a plain path or a `file:` URI names."""
    if not uri.startswith("file:"):
        return Path(uri)
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise InvalidParameterValue(f"Invalid artifact root '{uri[:200]}': a file URI may not name a host.")
    return Path(unquote(parts.path))


def etag_of(stat: os.stat_result) -> str:
    """What changes whenever a file's bytes do."""
    return f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"


def file_entry(path: str, stat: os.stat_result) -> Entry:
    """What a store says of the plain file that lies at `path` below its root."""
    return Entry(path, stat.st_size, etag=etag_of(stat), modified_ms=stat.st_mtime_ns // 1_000_000)


def open_file(path: Path) -> IO[bytes]:
    """A plain file opened to be read; links are not followed, and nothing waits for a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not S_ISREG(mode := os.fstat(descriptor).st_mode) and not S_ISDIR(mode):
            raise FileNotFoundError(path)
        return os.fdopen(descriptor, "rb", buffering=0)
    except OSError:
        # `fdopen` refuses directories and leaves the descriptor to its caller.
        os.close(descriptor)
        raise


def is_text(name: str) -> bool:
    """Whether a file name of this machine can be said in a protocol; bytes that are no UTF-8 cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def remove(path: Path) -> None:
    """Removes a file or a tree, as far as it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Has the names in a directory survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def in_thread(path: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function gives, run beside the event loop; its faults are told of `path`."""
    work = partial(copy_context().run, function, *args, **kwargs)
    with translated(path):
        # As `asyncio.to_thread`, but for the task that would wait for it: it is a fifth of the time.
        return await uninterrupted(asyncio.get_running_loop().run_in_executor(None, work))


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turns faults of the file system into errors that are safe to show."""
    try:
        yield
    except FileNotFoundError:
        raise ResourceDoesNotExist(f"Artifact '{path}' does not exist.") from None
    except PermissionError:
        log.exception("the artifact directory refuses access")
        raise InternalError("The artifact store refuses access.") from None
    except OSError as error:
        if error.errno in _TWO_KINDS:
            raise InvalidParameterValue(f"Invalid path '{path[:80]}': a file and a directory meet there.") from None
        if error.errno in _NO_SUCH_NAME:
            raise InvalidParameterValue(f"Invalid path '{path[:80]}': the store cannot hold such a name.") from None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            log.warning("the disk of the artifact directory is full: %s", error)
            raise TemporarilyUnavailable(
                "The disk of the artifact store is full. Free some space on it.", retry_after_s=30.0
            ) from None
        log.exception("the artifact directory fails")
        raise TemporarilyUnavailable("The artifact store fails.", retry_after_s=5.0) from None
