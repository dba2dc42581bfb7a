"""Memory that a model needed, back with the system once the model is gone.

The C library keeps what was freed for itself, and a server that swaps models would seem to grow with each.
"""

import ctypes
import ctypes.util
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

# Several models that go at once are one occasion.
_SOON_S = 0.5

_pending = threading.Lock()


def give_back_soon() -> None:
    """Gives back what is free, a little later, in a thread."""
    if _pending.acquire(blocking=False):
        timer = threading.Timer(_SOON_S, _now)
        timer.daemon = True
        timer.start()


def _now() -> None:
    _pending.release()
    give_back()


def give_back() -> None:
    """Gives the memory that is free back to the system, where the C library can."""
    if _trim is not None:
        _trim(0)


def size_of(directory: Path) -> int:
    """How much memory a model is counted with: its files, unpacked."""
    return sum(_unpacked(path) for path in directory.rglob("*") if path.is_file())


def _unpacked(path: Path) -> int:
    # Files of skops are archives.
    if path.suffix in (".skops", ".zip", ".npz"):
        try:
            with zipfile.ZipFile(path) as archive:
                return sum(entry.file_size for entry in archive.infolist())
        except zipfile.BadZipFile:
            pass
    return path.stat().st_size


def _found() -> Callable[[int], int] | None:
    name = ctypes.util.find_library("c")
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
    return trim


_trim = _found()
