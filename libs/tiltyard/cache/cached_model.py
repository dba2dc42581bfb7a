"""A model's directory on this host, and the lease that keeps it there while it is read."""

import os
from pathlib import Path
from typing import Self
from weakref import finalize

from tiltyard.storage.manifest import Manifest


def _close(lease: int, process: int) -> None:
    # A process that was forked since has the same object, and may have given the number to another file.
    if os.getpid() == process:
        os.close(lease)


class CachedModel(os.PathLike[str]):
    """A directory of verified files, wherever a path is taken.

    It stays until it is released: by `release`, at the end of a `with` block, or when nothing refers to this object any
    more. A directory that the caller named has no lease, and nothing to release.

    Attributes:
        path: the directory.
        manifest: what is in it, if somebody listed that.
    """

    def __init__(self, path: Path, manifest: Manifest | None = None, lease: int | None = None) -> None:
        """`lease` is a file that holds the shared lock on the entry until it is closed."""
        self.path = path
        self.manifest = manifest
        self._release = None if lease is None else finalize(self, _close, lease, os.getpid())

    def release(self) -> None:
        """Says that the files are not read any more. Safe to repeat."""
        if self._release is not None:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.release()

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    __str__ = __fspath__
