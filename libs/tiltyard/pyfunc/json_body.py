"""JSON that others wrote: strict, and with the bare NaN and Infinity of Python's clients where strict parsing fails.

RFC 8259 has neither, but `json.dumps` of a table with a missing value writes `NaN`, and so does whoever uses it.
"""

import json
import re
from typing import Any

import msgspec

from tiltyard.pyfunc.form import Body

_json = msgspec.json.Decoder()
# Texts are passed over, with whatever stands in them; one that does not end goes on to the end.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|(?<![-\w])(?:NaN|-?Infinity)\b', re.DOTALL)


def decode_json(body: Body) -> Any:
    """The value that a body spells, in plain values; bare NaN is a missing number.

    Raises:
        msgspec.DecodeError, UnicodeError, RecursionError: it is not JSON, even so.
    """
    try:
        return _json.decode(body)
    except msgspec.DecodeError:
        plain = without_constants(body)
        if plain is None:
            raise
    # The strict parser decides what is JSON, also here.
    _json.decode(plain)
    try:
        return json.loads(bytes(body))
    except ValueError:
        raise msgspec.DecodeError("JSON is malformed") from None


def without_constants(body: Body) -> bytes | None:
    """The body with a 0 in the place of each bare NaN and Infinity; None if it has none of them."""
    text = bytes(body)
    if b"NaN" not in text and b"Infinity" not in text:
        return None
    plain = _TOKENS.sub(lambda found: found[0] if found[0][:1] == b'"' else b"0", text)
    return None if plain == text else plain
