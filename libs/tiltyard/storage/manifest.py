"""What a model directory holds: paths, sizes, hashes, and one digest over them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from tiltyard.errors import InvalidParameterValue
from tiltyard.storage.sources import Source
from tiltyard.uri import safe_relative_path


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file: path relative to the model directory, size, and SHA-256 as 64 hex digits."""

    path: str
    size_bytes: int
    sha256: str

    @property
    def line(self) -> str:
        """The file's line in the text that the digest is taken of."""
        return f"{self.sha256}  {self.size_bytes}  {self.path}\n"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one model version, sorted by path, and `sha256:<hex>` over them."""

    digest: str
    size_bytes: int
    files: tuple[ManifestFile, ...]

    @classmethod
    def of(cls, files: Iterable[ManifestFile]) -> "Manifest":
        """The manifest of `files`.

        Raises:
            InvalidParameterValue: they cannot lie in one directory: a path twice, or a file below a file.
        """
        ordered = tuple(sorted(files, key=lambda file: file.path.encode()))
        check_tree(file.path for file in ordered)
        return cls(digest_of(ordered), sum(file.size_bytes for file in ordered), ordered)

    @classmethod
    def of_source(cls, source: Source) -> "Manifest":
        """The manifest of a directory whose files are read here and now.

        Raises:
            InvalidParameterValue: a file's name is not one that a model directory may hold.
        """
        return cls.of(_hashed(path, source.read(path)) for path, _ in source.list_files())


def _hashed(path: str, chunks: Iterable[bytes]) -> ManifestFile:
    size_bytes, hashed = 0, hashlib.sha256()
    for chunk in chunks:
        size_bytes += len(chunk)
        hashed.update(chunk)
    return ManifestFile(path, size_bytes, hashed.hexdigest())


def digest_of(files: Iterable[ManifestFile]) -> str:
    """`sha256:` and the hex SHA-256 of the files' lines, sorted by the bytes of their paths."""
    text = "".join(file.line for file in sorted(files, key=lambda file: file.path.encode()))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def check_tree(paths: Iterable[str]) -> None:
    """Passes when the paths can lie together in one directory.

    Raises:
        InvalidParameterValue: a path is unsafe or comes twice, or a file lies below another file.
    """
    seen: set[str] = set()
    for path in paths:
        if not path or safe_relative_path(path) != path:
            raise InvalidParameterValue(f"Invalid path {path[:80]!a} in a model directory.")
        if path in seen:
            raise InvalidParameterValue(f"Path {path[:80]!a} comes twice in a model directory.")
        seen.add(path)
    for path in seen:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in seen:
                raise InvalidParameterValue(f"{parent[:80]!a} is both a file and a directory.")
            parent = parent.rpartition("/")[0]
