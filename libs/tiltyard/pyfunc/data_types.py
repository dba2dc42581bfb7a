"""The types of values in a signature, and the JSON that says them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, TypeAlias

import msgspec

from tiltyard.errors import InvalidParameterValue

# Types are read, shown and enforced by recursion.
MAX_TYPE_DEPTH = 64
# A longer text is parsed in pieces: who parses it while others are answered must not hold them up.
_AT_ONCE_CHARACTERS = 256 * 1024
_MAX_LEVELS = 1000


class DataType(Enum):
    """The scalar types of a column."""

    boolean = "boolean"
    integer = "integer"
    long = "long"
    float = "float"
    double = "double"
    string = "string"
    binary = "binary"
    datetime = "datetime"

    @property
    def dtype(self) -> str:
        """The numpy dtype of a pandas column of this type, as text."""
        return _PANDAS_DTYPES[self.value]

    def __str__(self) -> str:
        return str(self.value)


_PANDAS_DTYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "object",
    "binary": "object",
    "datetime": "datetime64[ns]",
}


@dataclass(frozen=True, slots=True)
class Array:
    """A list whose items have one type; `spark_vector` marks a Spark ML vector (a list of doubles)."""

    items: "Type"
    spark_vector: bool = False

    def __str__(self) -> str:
        return f"Array({self.items})"


@dataclass(frozen=True, slots=True)
class Property:
    """One entry of an object."""

    name: str
    type: "Type"
    required: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {self.type} ({'required' if self.required else 'optional'})"


@dataclass(frozen=True)
class Object:
    """A mapping with known keys, kept sorted by name."""

    properties: tuple[Property, ...]

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.properties]
        if not names:
            raise InvalidParameterValue("An object type needs at least one property.")
        if len(set(names)) != len(names):
            raise InvalidParameterValue("An object type names a property twice.")
        object.__setattr__(self, "properties", tuple(sorted(self.properties, key=lambda entry: entry.name)))

    @cached_property
    def by_name(self) -> dict[str, Property]:
        """The properties, by name."""
        return {entry.name: entry for entry in self.properties}

    def __str__(self) -> str:
        return "{" + ", ".join(map(str, self.properties)) + "}"


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping from any text to values of one type."""

    values: "Type"

    def __str__(self) -> str:
        return f"Map(str -> {self.values})"


@dataclass(frozen=True, slots=True)
class AnyType:
    """Whatever JSON can say, unchecked."""

    def __str__(self) -> str:
        return "Any"


Type: TypeAlias = DataType | Array | Object | Map | AnyType

# Frames without column names give integer names, and upstream writes them as they are.
Name: TypeAlias = str | int


def scalars_of(kind: Type) -> Iterator[Type]:
    """The type itself, or those of the values in it that hold no others."""
    if isinstance(kind, Object):
        for entry in kind.properties:
            yield from scalars_of(entry.type)
    elif isinstance(kind, Array | Map):
        yield from scalars_of(kind.items if isinstance(kind, Array) else kind.values)
    else:
        yield kind


def has_lists(kind: Type) -> bool:
    """Whether a value of this type is a list, or holds one."""
    if isinstance(kind, Object):
        return any(has_lists(entry.type) for entry in kind.properties)
    return has_lists(kind.values) if isinstance(kind, Map) else isinstance(kind, Array)


def type_to_dict(kind: Type) -> dict[str, Any]:
    """A type as JSON values."""
    if isinstance(kind, DataType):
        return {"type": kind.value}
    if isinstance(kind, Array):
        return {"type": "sparkml_vector"} if kind.spark_vector else {"type": "array", "items": type_to_dict(kind.items)}
    if isinstance(kind, Object):
        properties = {entry.name: type_to_dict(entry.type) | {"required": entry.required} for entry in kind.properties}
        return {"type": "object", "properties": properties}
    if isinstance(kind, Map):
        return {"type": "map", "values": type_to_dict(kind.values)}
    return {"type": "any"}


def type_from_dict(entry: Any, *, depth: int = 1) -> Type:
    """The type that JSON values spell; `depth` says how many types hold it, itself included.

    Raises:
        InvalidParameterValue: a key is missing, the type is unknown, or it is nested too deep.
    """
    if depth > MAX_TYPE_DEPTH:
        raise InvalidParameterValue(f"A signature's type is nested more than {MAX_TYPE_DEPTH} levels deep.")
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise InvalidParameterValue("A signature's type needs a key 'type' that holds text.")
    name = entry["type"]
    if name == "array":
        return Array(type_from_dict(entry.get("items"), depth=depth + 1))
    if name == "object":
        properties = entry.get("properties")
        if not isinstance(properties, dict):
            raise InvalidParameterValue("A signature's object type needs 'properties'.")
        return Object(
            tuple(
                Property(str(key), type_from_dict(value, depth=depth + 1), bool(value.get("required", True)))
                for key, value in properties.items()
            )
        )
    if name == "map":
        return Map(type_from_dict(entry.get("values"), depth=depth + 1))
    if name == "any":
        return AnyType()
    if name == "sparkml_vector":
        return Array(DataType.double, spark_vector=True)
    try:
        return DataType(name)
    except ValueError:
        known = ", ".join(kind.value for kind in DataType)
        raise InvalidParameterValue(
            f"Unsupported type '{name[:40]}' in a signature, expected one of {known}, array, object, map, any."
        ) from None


_decode = msgspec.json.decode


def load_list(text: str, *, what: str) -> list[Any]:
    """The JSON list that `text` spells. Raises: InvalidParameterValue."""
    try:
        entries = _decode(text) if len(text) <= _AT_ONCE_CHARACTERS else _decode_in_pieces(text.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError):
        raise InvalidParameterValue(f"A signature's {what} is not valid JSON.") from None
    if not isinstance(entries, list):
        raise InvalidParameterValue(f"A signature's {what} must be a JSON list.")
    return entries


def _decode_in_pieces(text: bytes) -> Any:
    # What reads bodies is imported once there is such a text.
    from tiltyard.pyfunc.json_text.pieces import parse_in_pieces

    return parse_in_pieces(text, _decode, _MAX_LEVELS)


def compact_json(value: Any) -> str:
    # Upstream's spacing, so that a signature written by either side reads the same in a diff.
    import json

    return json.dumps(value)
