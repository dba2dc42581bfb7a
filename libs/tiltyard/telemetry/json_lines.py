"""Log records as JSON, one line each, whatever a caller put into them."""

from collections.abc import Mapping
from typing import Any

import msgspec

# JSON leaves these as they are, and readers that split at Unicode's line ends would see a line of a caller's making.
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}


def json_line(fields: Mapping[str, Any]) -> str:
    """One JSON object on one line, by any reader's idea of a line; without the end of the line."""
    try:
        line = msgspec.json.encode(fields).decode()
    except UnicodeEncodeError:
        line = msgspec.json.encode(_writable(fields)).decode()
    return line if line.isascii() else line.translate(_LINE_ENDS)


def _writable(value: Any) -> Any:
    """`value` without the lone surrogates that JSON cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_writable(name): _writable(item) for name, item in value.items()}
    return [_writable(item) for item in value] if isinstance(value, list | tuple) else value
