"""How deep the lists and objects of a JSON text are nested, told without building any of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tiltyard.pyfunc.json_text import Body

_STEPS = np.zeros(256, dtype=np.int8)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
# What is looked at in one step, without the interpreter's lock, and small enough to stay in the processor's cache.
BLOCK_BYTES = 256 * 1024


def is_deeper(text: Body, levels: int) -> bool:
    """Whether anything in a JSON text is nested in more lists and objects than `levels`."""
    if len(text) <= 2 * levels:
        return False
    if len(text) <= BLOCK_BYTES:
        data = np.frombuffer(text, dtype=np.uint8)
        if np.count_nonzero(_STEPS[data] > 0) <= levels:
            return False
    # No further than it must.
    return any(int(reached.max()) > levels for _, _, _, reached in blocks(text))


def blocks(text: Body) -> Iterator[tuple[int, Any, Any, Any]]:
    """Blocks of a text: where each begins, its bytes, which of them are in texts (None: none), and their levels."""
    data = np.frombuffer(text, dtype=np.uint8)
    level, within, odd = 0, False, False
    for start in range(0, len(data), BLOCK_BYTES):
        piece = data[start : start + BLOCK_BYTES]
        steps = _STEPS[piece]
        quotes = piece == _QUOTE
        inside = None
        escaped, odd = _escaped(piece, odd)
        if escaped is not None:
            quotes &= ~escaped
        if within or quotes.any():
            inside = np.logical_xor.accumulate(quotes)
            if within:
                inside ^= True
            steps[inside] = 0
            within = bool(inside[-1])
        reached = np.cumsum(steps, dtype=np.int32)
        reached += level
        yield start, piece, inside, reached
        level = int(reached[-1])


def _escaped(piece: Any, odd: bool) -> tuple[Any, bool]:
    """Which bytes follow an odd number of backslashes, of which an `odd` number may come before; None if none do."""
    marks = piece == _BACKSLASH
    if not marks.any():
        if not odd:
            return None, False
        escaped = np.zeros(len(piece), dtype=bool)
        escaped[0] = True
        return escaped, False
    escaped = np.zeros(len(piece), dtype=bool)
    escaped[0] = odd
    places = np.arange(len(piece))
    before = np.maximum.accumulate(np.where(marks, -1, places))
    runs = np.where(marks, places - before + (odd & (before < 0)), 0)
    escaped[1:] = runs[:-1] % 2 == 1
    return escaped, bool(runs[-1] % 2)
