"""Shared libraries that models bring, which one process cannot keep apart."""

import hashlib
import threading
from pathlib import Path

from tiltyard.errors import InvalidParameterValue

# What the dynamic loader knows by its name alone, once it is loaded: name to digest.
_known: dict[str, str] = {}
_lock = threading.Lock()


def check_libraries(folder: Path) -> None:
    """Refuses a shared library that the process would take for another of the same name, loaded before.

    Extension modules are told apart by their paths; what they are linked against, by its name.
    """
    for path in sorted(folder.rglob("lib*.so*")):
        if not path.is_file():
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with _lock:
            known = _known.setdefault(path.name, digest)
        if known != digest:
            raise InvalidParameterValue(
                f"The model brings the shared library '{path.name[:80]}', and another model in this process brings "
                "another one of that name: serve it with isolation 'process'."
            )
