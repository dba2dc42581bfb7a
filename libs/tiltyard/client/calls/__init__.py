"""Every call of the registry's API as a function from plain values to a `Call`: no I/O, no state.

A function's name is the method's name on both clients. Here is what the calls are built from.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tiltyard.wire.tags import Tag

MLFLOW = "/api/2.0/mlflow"
OWN = "/api/tiltyard/v1"

Tags = Mapping[str, str]


def tag_list(tags: Tags | None) -> list[Tag]:
    """Tags, or params, as they travel."""
    return [Tag(key, str(value)) for key, value in (tags or {}).items()]


def given(**query: Any) -> dict[str, Any]:
    """The parameters that have a value."""
    return {key: value for key, value in query.items() if value not in (None, [], ())}


def quoted(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")
