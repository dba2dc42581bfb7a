"""Paths below the artifact root, and the scope that a path belongs to."""

from collections.abc import Iterable

from tiltyard.errors import InvalidParameterValue
from tiltyard.uri import safe_relative_path

MAX_PATH_BYTES = 1024
"""The longest key that object stores take."""


def check_path(path: str) -> str:
    """`path` as the store keeps it.

    Raises:
        InvalidParameterValue: it is unsafe, or longer than a key may be.
    """
    safe = safe_relative_path(path)
    if len(safe.encode()) > MAX_PATH_BYTES:
        raise InvalidParameterValue(
            f"Invalid path for parameter 'path': {len(safe.encode())} bytes, at most {MAX_PATH_BYTES} are allowed."
        )
    return safe


def scope_of(path: str) -> str | None:
    """The directory within which changes exclude one another: `exp/run` or `exp/models/id`.

    None when `path` lies above any such directory.
    """
    parts = path.split("/")
    length = 3 if len(parts) > 1 and parts[1] == "models" else 2
    return "/".join(parts[:length]) if len(parts) >= length else None


def directories_above(paths: Iterable[str]) -> set[str]:
    """Every directory above any of `paths`, but for the root."""
    found: set[str] = set()
    for path in paths:
        directory = path.rpartition("/")[0]
        while directory and directory not in found:
            found.add(directory)
            directory = directory.rpartition("/")[0]
    return found
