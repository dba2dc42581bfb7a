"""Large JSON texts, parsed in pieces: a call of the parser holds the interpreter's lock, and others wait for it.

The text is cut at commas that its layout shows, found without building anything. Where the cuts are decides nothing:
a text whose pieces are all lists of values, between brackets that match, is JSON, and any other is none.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from tiltyard.pyfunc.json_text import Body
from tiltyard.pyfunc.json_text.nesting import BLOCK_BYTES, blocks

_COMMA = ord(",")
PIECE_BYTES = BLOCK_BYTES
_SPACES = b" \t\n\r"
_NAME = re.compile(rb'[ \t\n\r]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\n\r]*+:', re.DOTALL)
_MAX_NAME_BYTES = 64 * 1024
_CLOSED = {b"[": b"]", b"{": b"}"}


def parse_in_pieces(text: Body, parse: Callable[[bytes], Any], max_levels: int) -> Any:
    """The value of a text, each piece of which `parse` reads.

    Raises:
        msgspec.DecodeError: it is not JSON; and whatever `parse` raises.
        RecursionError: it is nested in more lists and objects than `max_levels`.
    """
    return _Text(text, parse, max_levels).value(0, len(text), 1)


class _Text:
    """A text, and where commas of each level are: the first and the last of each block."""

    def __init__(self, text: Body, parse: Callable[[bytes], Any], max_levels: int) -> None:
        self._text = memoryview(text)
        self._parse = parse
        self._commas: dict[int, list[int]] = {}
        for start, piece, inside, levels in blocks(text):
            if int(levels.max()) > max_levels:
                raise RecursionError
            commas = piece == _COMMA
            if inside is not None:
                commas &= ~inside
            places = np.flatnonzero(commas)
            at = levels[places]
            for level in np.flatnonzero(np.bincount(at[at > 0])).tolist() if len(at) else ():
                same = at == level
                ends = {int(places[np.argmax(same)]), int(places[len(same) - 1 - np.argmax(same[::-1])])}
                self._commas.setdefault(level, []).extend(start + place for place in sorted(ends))

    def value(self, start: int, end: int, level: int) -> Any:
        """The value between, whose items, if it has any, are `level` deep."""
        if end - start <= 2 * PIECE_BYTES:
            return self._parse(self._text[start:end].tobytes())
        start, end = self._trimmed(start, end)
        opening = self._text[start : start + 1].tobytes()
        if opening not in _CLOSED:
            return self._parse(self._text[start:end].tobytes())
        closing = _CLOSED[opening]
        if self._text[end - 1 : end].tobytes() != closing:
            raise msgspec.DecodeError("JSON is malformed")
        return self._items(start + 1, end - 1, level) if opening == b"[" else self._members(start + 1, end - 1, level)

    def _items(self, start: int, end: int, level: int) -> list[Any]:
        items: list[Any] = []
        for piece_start, piece_end in self._pieces(start, end, level):
            if piece_end - piece_start > 2 * PIECE_BYTES:
                items.append(self.value(piece_start, piece_end, level + 1))
            else:
                items += self._some(piece_start, piece_end, b"[", b"]")
        return items

    def _members(self, start: int, end: int, level: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for piece_start, piece_end in self._pieces(start, end, level):
            name = _NAME.match(self._text, piece_start, min(piece_end, piece_start + _MAX_NAME_BYTES))
            if piece_end - piece_start > 2 * PIECE_BYTES and name is not None:
                members[self._parse(name[1])] = self.value(name.end(), piece_end, level + 1)
            else:
                members.update(self._some(piece_start, piece_end, b"{", b"}"))
        return members

    def _some(self, start: int, end: int, opening: bytes, closing: bytes) -> Any:
        found = self._parse(b"".join((opening, self._text[start:end], closing)))
        if not found:
            raise msgspec.DecodeError("JSON is malformed")
        return found

    def _pieces(self, start: int, end: int, level: int) -> list[tuple[int, int]]:
        """Parts of a list or an object, each about a piece; one that is larger by far is a single item."""
        commas = self._commas.get(level, [])
        inner = commas[bisect_left(commas, start) : bisect_right(commas, end - 1)]
        pieces: list[tuple[int, int]] = []
        piece_start, last = start, start
        for comma in [*inner, end]:
            if comma - piece_start > PIECE_BYTES and last > piece_start:
                pieces.append((piece_start, last - 1))
                piece_start = last
            last = comma + 1
        return [*pieces, (piece_start, end)]

    def _trimmed(self, start: int, end: int) -> tuple[int, int]:
        """Without the white space around it, of which there may be megabytes."""
        while start < end:
            block = self._text[start : min(end, start + BLOCK_BYTES)].tobytes()
            kept = len(block.lstrip(_SPACES))
            start += len(block) - kept
            if kept:
                break
        while start < end:
            block = self._text[max(start, end - BLOCK_BYTES) : end].tobytes()
            kept = len(block.rstrip(_SPACES))
            end -= len(block) - kept
            if kept:
                break
        return start, end
