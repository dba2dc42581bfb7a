"""Where the files of one model directory are read from, by plain threads and without a registry."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tiltyard.errors import ResourceDoesNotExist
from tiltyard.storage.artifact_store import CHUNK_BYTES
from tiltyard.uri import contain


class Source(Protocol):
    """The files of one directory. Both operations may be called from several threads at once."""

    def list_files(self) -> list[tuple[str, int | None]]:
        """Every file at any depth: path relative to the directory, and size in bytes where it is known."""

    def read(self, path: str) -> Iterator[bytes]:
        """The bytes of one file, in chunks."""


@dataclass(frozen=True)
class CallSource:
    """A source made of two functions, such as a client's list and download calls."""

    list_files: Callable[[], list[tuple[str, int | None]]]
    read: Callable[[str], Iterator[bytes]]


class DirectorySource:
    """A directory of this machine. Links to files are read, for the caller named the directory himself."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise ResourceDoesNotExist(f"'{root}' is not a directory.")
        self._root = root

    def list_files(self) -> list[tuple[str, int | None]]:
        return [
            (path.relative_to(self._root).as_posix(), path.stat().st_size)
            for path in sorted(self._root.rglob("*"))
            if path.is_file()
        ]

    def read(self, path: str) -> Iterator[bytes]:
        with contain(self._root, path).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


def object_source(uri: str) -> Source:
    """The directory that an object-store URI names. Raises: MissingPackage: `tiltyard[s3]` is not installed."""
    from tiltyard.storage.object_client import ObjectSource

    return ObjectSource(uri)
