"""Log records as text, for people at a terminal."""

from collections.abc import Mapping
from typing import Any

# What the message says already.
_SAID = {"time", "level", "logger", "message", "error", "method", "path", "status"}


def text_line(fields: Mapping[str, Any]) -> str:
    """The time, the level unless it is INFO, the message and what else there is; a traceback below it.

    Nothing that a caller sent can move the cursor or begin a line of its own.
    """
    time = str(fields.get("time", "")).partition("T")[2][:8]
    level = str(fields.get("level", ""))
    parts = [time, *([level] if level != "INFO" else []), str(fields.get("message", ""))]
    parts += [f"{name}={value}" for name, value in fields.items() if name not in _SAID]
    line = _printable(" ".join(parts))
    if error := fields.get("error"):
        line += "".join(f"\n  {_printable(each)}" for each in str(error).splitlines())
    return line


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
