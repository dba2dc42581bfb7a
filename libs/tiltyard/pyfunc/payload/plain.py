"""Values of subclasses as what they extend, by one rule for every form of an answer."""

import enum
from typing import Any

import numpy as np

_PLAIN = (bool, int, float, str, bytes, type(None))


def plain(value: Any) -> Any:  # noqa: PLR0911 - one return per kind of value
    """The text, number or bytes that `value` holds, whatever its class makes of it; other values as they are.

    A member of any enum is its value, a scalar of numpy is Python's; times stay what they are.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, np.generic):
        return value.item() if value.dtype.kind in "biufUSO" else value
    # The methods of the plain types: those of the subclass may say something else, such as the member's name.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return bytes(memoryview(value))
    return value
