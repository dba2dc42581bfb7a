"""What of Spark's filters the registry can apply first. Each clause lets through all that the filter does."""

from datetime import UTC, datetime
from typing import Any

from pyspark.sql.datasource import (
    EqualNullSafe,
    EqualTo,
    Filter,
    GreaterThan,
    GreaterThanOrEqual,
    In,
    LessThan,
    LessThanOrEqual,
    StringContains,
    StringEndsWith,
    StringStartsWith,
)

_TEXTS = ("run_id", "run_name", "user_id", "status", "artifact_uri")
_TIMES = ("start_time", "end_time")
_EQUAL = (EqualTo, EqualNullSafe)
# The registry counts milliseconds, Spark microseconds: what is greater than 1.5 ms is at least 1.
_COMPARED: dict[type[Filter], str] = {
    EqualTo: "=",
    EqualNullSafe: "=",
    GreaterThan: ">=",
    GreaterThanOrEqual: ">=",
    LessThan: "<=",
    LessThanOrEqual: "<=",
}
_LIKE: dict[type[Filter], str] = {StringStartsWith: "{}%", StringEndsWith: "%{}", StringContains: "%{}%"}


def clause_of(filter: Filter) -> str | None:
    """A clause of the registry's language, or None when it has none for this filter."""
    path: tuple[str, ...] = getattr(filter, "attribute", ())
    value: Any = getattr(filter, "value", None)
    if len(path) != 1 or value is None:
        return None
    name = path[0]
    if name in _TEXTS:
        return _text_clause(filter, f"attributes.{name}", value)
    if name in _TIMES and isinstance(value, datetime) and type(filter) in _COMPARED:
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return f"attributes.{name} {_COMPARED[type(filter)]} {int(aware.timestamp() * 1000 // 1)}"
    return None


def _text_clause(filter: Filter, identifier: str, value: Any) -> str | None:
    if isinstance(filter, _EQUAL):
        return f"{identifier} = {_quoted(value)}" if _is_plain(value) else None
    if isinstance(filter, In) and identifier == "attributes.run_id" and value and all(map(_is_plain, value)):
        return f"{identifier} IN ({', '.join(map(_quoted, value))})"
    pattern = _LIKE.get(type(filter))
    if pattern is None or not _is_plain(value) or any(char in value for char in "%_\\"):
        return None
    return f"{identifier} LIKE {_quoted(pattern.format(value))}"


def _is_plain(value: Any) -> bool:
    """Whether a text can be written in a filter of any server of the protocol."""
    return isinstance(value, str) and value.isprintable() and not set(value) & set("'\"`;")


def _quoted(value: str) -> str:
    return f"'{value}'"
