"""How deep the lists and objects of a JSON text are nested, told without building any of them."""

from typing import Any

import numpy as np

from tiltyard.pyfunc.form import Body

_STEPS = np.zeros(256, dtype=np.int8)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_PIECE_BYTES = 1024 * 1024


def is_deeper(text: Body, levels: int) -> bool:
    """Whether anything in a JSON text is nested in more lists and objects than `levels`."""
    if len(text) <= 2 * levels:
        return False
    data = np.frombuffer(text, dtype=np.uint8)
    if np.count_nonzero(_STEPS[data[:_PIECE_BYTES]] > 0) <= levels and len(data) <= _PIECE_BYTES:
        return False
    level, within, odd = 0, False, False
    # Piece by piece: without the interpreter's lock, and no further than it must.
    for start in range(0, len(data), _PIECE_BYTES):
        piece = data[start : start + _PIECE_BYTES]
        steps = _STEPS[piece]
        quotes = piece == _QUOTE
        escaped, odd = _escaped(piece, odd)
        quotes &= ~escaped
        if within or quotes.any():
            inside = np.logical_xor.accumulate(quotes) ^ within
            steps[inside] = 0
            within = bool(inside[-1])
        reached = np.cumsum(steps, dtype=np.int32)
        if level + int(reached.max()) > levels:
            return True
        level += int(reached[-1])
    return False


def _escaped(piece: Any, odd: bool) -> tuple[Any, bool]:
    """Which bytes follow an odd number of backslashes, of which an `odd` number may come before the piece."""
    escaped = np.zeros(len(piece), dtype=bool)
    escaped[0] = odd
    marks = piece == _BACKSLASH
    if not marks.any():
        return escaped, False
    places = np.arange(len(piece))
    before = np.maximum.accumulate(np.where(marks, -1, places))
    runs = np.where(marks, places - before + (odd & (before < 0)), 0)
    escaped[1:] = runs[:-1] % 2 == 1
    return escaped, bool(runs[-1] % 2)
