"""Values of subclasses as what they extend, by one rule for every form of an answer."""

from typing import Any


def plain(value: Any) -> Any:
    """The text, number or bytes that `value` holds, whatever its class makes of it; other values as they are.

    A member of `class Label(str, Enum)` is its text, one of `IntEnum` its number.
    """
    # The methods of the plain types: those of the subclass may say something else, such as the member's name.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return bytes(memoryview(value))
    return value
