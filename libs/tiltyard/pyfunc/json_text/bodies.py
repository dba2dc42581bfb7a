"""JSON that others wrote: strict, and with the bare NaN and Infinity of Python's clients where strict parsing fails.

RFC 8259 has neither, but `json.dumps` of a table with a missing value writes `NaN`, and so does whoever uses it.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tiltyard.pyfunc.json_text import Body
from tiltyard.pyfunc.json_text.nesting import is_deeper
from tiltyard.pyfunc.json_text.pieces import parse_in_pieces

_json = msgspec.json.Decoder()
# What one call reads while the interpreter's lock is held: the event loop waits for no more than that.
PIECE_BYTES = 256 * 1024
# With the rest of the word that it would end in.
MAX_BYTES = PIECE_BYTES + 16
# Within 5 ms, or so.
AT_ONCE_BYTES = 2 * PIECE_BYTES
# More than the parser itself goes.
_MAX_LEVELS = 2000
# All up to a constant, or to a text that goes on beyond the piece; and all of a text up to its end.
_OUTSIDE = re.compile(
    rb'(?:[^"NI]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"|N(?!aN\b)|(?<=\w)N|I(?!nfinity\b)|(?<=\w)I)*+', re.DOTALL
)
_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_CONSTANT = re.compile(rb"NaN\b|Infinity\b")


def decode_json(body: Body, max_levels: int = _MAX_LEVELS) -> Any:
    """The value that a body spells, in plain values; bare NaN is a missing number.

    Raises:
        msgspec.DecodeError, UnicodeError: it is not JSON, even so.
        RecursionError: it is nested in more lists and objects than `max_levels`, or than the parser goes.
    """
    if len(body) <= AT_ONCE_BYTES:
        if is_deeper(body, max_levels):
            raise RecursionError
        return parse(body)
    try:
        return parse_in_pieces(body, parse, max_levels)
    except msgspec.DecodeError:
        # Places in a piece tell nobody anything.
        raise msgspec.DecodeError("JSON is malformed") from None


def parse(text: Body) -> Any:
    try:
        return _json.decode(text)
    except msgspec.DecodeError:
        plain = without_constants(text)
        if plain is None:
            raise
    # The strict parser decides what is JSON, also here.
    _json.decode(plain)
    try:
        return json.loads(bytes(text))
    except ValueError:
        raise msgspec.DecodeError("JSON is malformed") from None


def without_constants(body: Body) -> bytes | None:
    """The body with a 0 in the place of each bare NaN and Infinity; None if it has none of them."""
    text = bytes(body)
    if b"NaN" not in text and b"Infinity" not in text:
        return None
    parts: list[bytes] = []
    kept = 0
    for start, end in _constants(text):
        parts += text[kept:start], b"0"
        kept = end
    return b"".join([*parts, text[kept:]]) if parts else None


def _constants(text: bytes) -> Iterator[tuple[int, int]]:
    """Where the constants outside texts are, with the minus before them; read in pieces."""
    at, size_bytes, inside = 0, len(text), False
    while at < size_bytes:
        piece_end = min(at + PIECE_BYTES, size_bytes)
        while piece_end < size_bytes and text[piece_end - 1 : piece_end].isalpha() and piece_end - at < MAX_BYTES:
            # Not through the middle of a constant.
            piece_end += 1
        if inside:
            found = _INSIDE.match(text, at, piece_end)
            at = piece_end if found is None else found.end()
            if text[at : at + 1] == b'"':
                inside = False
                at += 1
            elif at == piece_end - 1:
                # A backslash that ends the piece takes what comes after it along.
                at += 2
            continue
        found = _OUTSIDE.match(text, at, piece_end)
        at = piece_end if found is None else found.end()
        if at < piece_end:
            if text[at : at + 1] == b'"':
                inside = True
                at += 1
                continue
            constant = _CONSTANT.match(text, at)
            if constant is None:
                # A longer word.
                at += 1
                continue
            minus = text[at - 1 : at] == b"-" and text[at : at + 1] == b"I"
            yield at - minus, constant.end()
            at = constant.end()
