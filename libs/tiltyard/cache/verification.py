"""Whether the files of a fetched model are still what its manifest says, read anew or as this process last saw them."""

import hashlib
import os
import stat
import threading
from pathlib import Path

from tiltyard.cache.download import each
from tiltyard.storage.manifest import Manifest, ManifestFile

Stat = tuple[int, int, int, int]

# What the files of an entry looked like when this process last hashed them.
_seen: dict[Path, dict[str, Stat]] = {}
_seen_lock = threading.Lock()


def holds(entry: Path, manifest: Manifest) -> bool:
    """Whether every file of the manifest is there, byte for byte. What else is there is removed."""
    expected = {file.path for file in manifest.files}
    for folder, folders, names in os.walk(entry):
        for name in [*folders, *names]:
            path = Path(folder, name)
            kind = path.lstat().st_mode
            if stat.S_ISREG(kind) and path.relative_to(entry).as_posix() in expected:
                continue
            # Python writes compiled modules beside the model's own; anything else was planted.
            if not stat.S_ISDIR(kind):
                path.unlink(missing_ok=True)
    return all(each(lambda file: _is(entry / file.path, file), manifest.files))


def _is(path: Path, file: ManifestFile) -> bool:
    try:
        with path.open("rb") as stored:
            digest = hashlib.file_digest(stored, "sha256").hexdigest()
            return (stored.tell(), digest) == (file.size_bytes, file.sha256)
    except OSError:
        return False


def _stats(entry: Path, manifest: Manifest) -> dict[str, Stat]:
    found = {}
    for file in manifest.files:
        status = (entry / file.path).lstat()
        # The change time cannot be set back by who may only write the file.
        found[file.path] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def remember(entry: Path, manifest: Manifest) -> None:
    """Keeps in mind what the files of an entry that is right look like now."""
    with _seen_lock:
        _seen[entry] = _stats(entry, manifest)


def forget(entry: Path) -> None:
    """Has an entry looked at byte for byte when it is wanted again."""
    with _seen_lock:
        _seen.pop(entry, None)


def untouched(entry: Path, manifest: Manifest) -> bool:
    """Whether the files of an entry look as they did when they were last read and right."""
    with _seen_lock:
        seen = _seen.get(entry)
    try:
        return seen is not None and seen == _stats(entry, manifest)
    except OSError:
        return False
