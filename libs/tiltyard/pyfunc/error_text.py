"""How a refused value is shown to the caller who sent it: short, and without the rest of the input."""

from typing import Any

MAX_SHOWN_CHARS = 60


def quote(value: Any) -> str:
    """`value` for an error message, at most about 60 characters; containers by type and size only."""
    if isinstance(value, str):
        text = value if len(value) <= MAX_SHOWN_CHARS else value[:MAX_SHOWN_CHARS] + "…"
        # A lone surrogate cannot be sent; show it as an escape.
        return repr(text).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    if isinstance(value, list | tuple | set | dict):
        return f"{type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def name_list(names: Any, *, limit: int = 10) -> str:
    """Names as a list for an error message; beyond `limit` only their number."""
    names = list(names)
    shown = ", ".join(quote(name) for name in names[:limit])
    return f"[{shown}, … {len(names) - limit} more]" if len(names) > limit else f"[{shown}]"
