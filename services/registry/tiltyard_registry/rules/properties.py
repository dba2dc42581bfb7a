"""The properties of catalogs and schemas: texts by name, kept as one JSON text.

Source: unitycatalog, api/all.yaml, `SecurablePropertiesMap`; the bounds are ours.
"""

import json
from collections.abc import Mapping
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.keys import check_length

MAX_PROPERTIES = 100
MAX_KEY_CHARS = 255
MAX_VALUE_CHARS = 10_000


def check_properties(properties: Mapping[str, str] | None) -> str | None:
    """The text that is stored of `properties`; None of none.

    Raises:
        InvalidParameterValue: too many, or a key or value that is too long, empty, or not text.
    """
    if not properties:
        return None
    if len(properties) > MAX_PROPERTIES:
        raise InvalidParameterValue(
            f"Invalid value for parameter 'properties': {len(properties)} entries, "
            f"at most {MAX_PROPERTIES} are allowed."
        )
    for key, value in properties.items():
        if not key:
            raise InvalidParameterValue("Invalid value for parameter 'properties': a key is empty.")
        check_length(key, MAX_KEY_CHARS, "properties key")
        check_length(value, MAX_VALUE_CHARS, f"properties.{key[:80]}")
    return json.dumps(dict(properties), ensure_ascii=False, sort_keys=True)


def with_properties(row: Mapping[Any, Any]) -> dict[str, Any]:
    """`row` with its properties as a mapping again, wherever it has that column."""
    shown = dict(row)
    if "properties" in shown:
        shown["properties"] = json.loads(shown["properties"] or "{}")
    return shown
