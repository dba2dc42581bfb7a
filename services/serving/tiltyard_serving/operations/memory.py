"""Memory that a model needed, back with the system once the model is gone.

The C library keeps what was freed for itself, and a server that swaps models would seem to grow with each.
"""

import ctypes
import ctypes.util
import gc
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from tiltyard.pyfunc.own_code.modules import forget_gone
from tiltyard_serving.operations.turns import Turns

# Several models that go at once are one occasion, and those that come and go all the time are one now and then.
SOON_S = 0.5
SELDOM_S = 5.0

# What a body of this size leaves must not wait for ten thousand others to be collected.
LARGE_BYTES = 512 * 1024
# The values of a body of this size may take hundreds of MiB.
HUGE_BYTES = 8 * 1024 * 1024
# Source: glibc's malloc.h.
_M_ARENA_MAX = -8
_no_turn = nullcontext()
AT_ONCE = 2
_turns = Turns(AT_ONCE)


def share_memory_with_arrow() -> None:
    """Makes Arrow take its memory from the C library, unless the environment names a pool.

    Arrow's own pool keeps what each of its threads has freed; what the C library keeps is given back.
    """
    import pyarrow as pa

    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        pa.set_memory_pool(pa.system_memory_pool())


def share_arenas() -> None:
    """Makes all threads share as many arenas of the C library as there are processors, unless the environment says.

    Each of them keeps what its threads have freed at its end, and without a bound there are eight per processor.
    """
    if _mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        _mallopt(_M_ARENA_MAX, max(2, os.cpu_count() or 1))


@contextmanager
def _turn(size_bytes: int) -> Iterator[None]:
    with _turns.taken(AT_ONCE if size_bytes > HUGE_BYTES else 1):
        yield
    left_by(size_bytes)


def decoding(size_bytes: int) -> AbstractContextManager[object]:
    """What a body of that size is decoded within, in a thread: of large ones two at a time, and huge ones alone.

    The values of a large body may take many times its bytes until they are a table, and more of them at once are done
    no sooner.
    """
    if size_bytes <= LARGE_BYTES:
        return _no_turn
    # What the last requests left in cycles: few objects, but those of a large request may be large.
    gc.collect(0)
    return _turn(size_bytes)


class _MemoryTrimmer:
    """When memory is given back next, and how."""

    def __init__(self, give: Callable[[], object]) -> None:
        self._give = give
        self._pending = threading.Lock()
        self._last_s = -SELDOM_S

    def soon(self) -> None:
        """In a moment, in a thread."""
        if self._pending.acquire(blocking=False):
            timer = threading.Timer(max(SOON_S, self._last_s + SELDOM_S - time.monotonic()), self._now)
            timer.daemon = True
            timer.start()

    def _now(self) -> None:
        self._last_s = time.monotonic()
        self._pending.release()
        self._give()


def give_back_soon() -> None:
    """Gives back what is free, a little later, in a thread."""
    _models.soon()


def left_by(size_bytes: int) -> None:
    """Gives back what is free, a little later, if what was worked on is a body or an answer of many bytes.

    Each thread would else keep the memory of its largest one.
    """
    if size_bytes > LARGE_BYTES:
        _large.soon()


def give_back() -> None:
    """Gives the memory that is free, or only held by garbage, back to the system, where the C library can.

    Between large bodies, if there is a moment between them: a collection walks through all of their values, and nobody
    else gets a turn meanwhile.
    """
    with _turns.taken(AT_ONCE, timeout_s=SELDOM_S):
        gc.collect()
        if forget_gone():
            gc.collect()
    _give_free()


def _give_free() -> None:
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


def _c_library() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("c")
    return ctypes.CDLL(name) if name else None


_c = _c_library()
# Where the C library is another one, it has neither.
_trim: Callable[[int], int] | None = getattr(_c, "malloc_trim", None)
_mallopt: Callable[[int, int], int] | None = getattr(_c, "mallopt", None)
_models = _MemoryTrimmer(give_back)
_large = _MemoryTrimmer(_give_free)
