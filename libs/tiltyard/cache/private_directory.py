"""Directories whose content is run as code: nobody but their owner may have put anything there."""

import os
import stat
from pathlib import Path

from tiltyard.errors import InvalidParameterValue

DIRECTORY_VARIABLE = "TILTYARD_CACHE_DIR"


def private_root(directory: Path) -> Path:
    """The directory, made if need be, that private ones may lie in: this user's, or root's as a volume's often is.

    A link of this user may stand for it. Raises: InvalidParameterValue: it, or the link, is another user's.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for status in (directory.lstat(), directory.stat()):
        if status.st_uid not in (os.geteuid(), 0):
            raise _of_another(directory)
    status = directory.stat()
    if status.st_uid == os.geteuid() and status.st_mode & 0o022:
        directory.chmod(stat.S_IMODE(status.st_mode) & ~0o022)
    return directory


def private_directory(directory: Path) -> Path:
    """The directory, made if need be, that this user alone can read and write.

    Raises:
        InvalidParameterValue: it is another user's, or a link, which may lead to what is not ours to change.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.is_symlink():
        raise InvalidParameterValue(
            f"The cache directory '{directory}' is a link: remove it, or set {DIRECTORY_VARIABLE} to another directory."
        )
    # What was looked at is what is changed, whatever is put in its place meanwhile.
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if status.st_uid != os.geteuid():
            raise _of_another(directory)
        if status.st_mode & 0o077:
            os.fchmod(file, 0o700)
    finally:
        os.close(file)
    return directory


def _of_another(directory: Path) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"The cache directory '{directory}' belongs to another user: set {DIRECTORY_VARIABLE} to one of your own."
    )
