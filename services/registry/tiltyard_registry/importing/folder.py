"""The folder of an MLflow server's artifacts, which is only read. What cannot be copied from it is named."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tiltyard.storage import Entry
from tiltyard.storage.local import LocalStore
from tiltyard.storage.local_files import is_text
from tiltyard.uri import contain

_NO_TEXT = "its name is not UTF-8 text"
_NO_FILE = "it is neither a file nor a folder"
_NOT_READABLE = "it may not be read"
_LEADS_OUT = "it is a link that leads out of the artifact root"
_LEADS_NOWHERE = "it is a link to nothing"
_LEADS_UP = "it is a link to a folder above it"


class Folder(LocalStore):
    """A directory that is only read: nothing is created by opening it.

    Links are followed while they stay below the root, as MLflow serves them. `left_out` names, by path, what a
    listing came upon and had to leave out, and why.
    """

    def __init__(self, path: Path) -> None:
        self.root = path.resolve()
        self.left_out: dict[str, str] = {}

    def _path_of(self, relative: str) -> Path:
        return contain(self.root, relative)

    def _entry(self, path: Path) -> Entry:
        relative = "" if path == self.root else path.relative_to(self.root).as_posix()
        target = path.resolve()
        if target.is_dir():
            return Entry(relative, 0, is_dir=True)
        return Entry(relative, target.lstat().st_size, etag=super()._entry(target).etag)

    def _scan(self, directory: Path) -> Sequence[Entry]:
        found = []
        try:
            with os.scandir(directory) as children:
                for child in children:
                    # A file that goes away meanwhile is simply not listed.
                    with suppress(FileNotFoundError):
                        path = Path(child.path)
                        reason = self._reason(child)
                        if reason is None:
                            found.append(self._entry(path))
                        else:
                            self._leave_out(path, reason)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except PermissionError:
            self._leave_out(directory, _NOT_READABLE)
        return sorted(found, key=lambda entry: entry.path)

    def _reason(self, child: "os.DirEntry[str]") -> str | None:
        """Why an entry of a directory cannot be copied, None if it can."""
        if not is_text(child.name):
            return _NO_TEXT
        target = Path(child.path)
        if child.is_symlink():
            target = Path(os.path.realpath(child.path))
            if not target.exists():
                return _LEADS_NOWHERE
            if target != self.root and self.root not in target.parents:
                return _LEADS_OUT
            if target.is_dir() and target in self._folders_above(Path(child.path)):
                return _LEADS_UP
        if not (target.is_file() or target.is_dir()):
            return _NO_FILE
        return None if os.access(target, os.R_OK) else _NOT_READABLE

    def _folders_above(self, path: Path) -> set[Path]:
        above = {self.root}
        for folder in path.relative_to(self.root).parents:
            above.add((self.root / folder).resolve())
        return above

    def _leave_out(self, path: Path, reason: str) -> None:
        relative = os.fsencode(path.relative_to(self.root)).decode("utf-8", "backslashreplace")
        self.left_out[relative] = reason
