"""What a model takes and gives, as typed specs, and the JSON that says it.

A schema is a list of columns or a list of tensors, all named or all unnamed. This module needs neither
numpy nor pandas, so that a registry can read a signature without a data library.

Source: mlflow/types/schema.py at v3.17.2 for the JSON forms.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class ColSpec:
    """One column: its type, its name (None if the schema is unnamed), and whether it must be there."""

    type: Type
    name: "Name | None" = None
    required: bool = True

    def __str__(self) -> str:
        kind = "required" if self.required else "optional"
        return f"{self.type} ({kind})" if self.name is None else f"{self.name!r}: {self.type} ({kind})"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor: numpy dtype name, shape (-1 is any length), and name (None if unnamed)."""

    dtype: str
    shape: tuple[int, ...]
    name: "Name | None" = None
    required: bool = field(default=True, init=False)

    def __str__(self) -> str:
        tensor = f"Tensor('{self.dtype}', {self.shape})"
        return tensor if self.name is None else f"{self.name!r}: {tensor}"


@dataclass(frozen=True)
class Schema:
    """The columns, or the tensors, of a model's input or output.

    Raises:
        InvalidParameterValue: empty, columns and tensors mixed, named and unnamed mixed, a name used twice,
            several unnamed tensors, or an unnamed optional column.
    """

    inputs: tuple[ColSpec | TensorSpec, ...]

    def __post_init__(self) -> None:
        specs = self.inputs
        if not specs:
            raise InvalidParameterValue("A schema needs at least one column or tensor.")
        named = [spec.name for spec in specs if spec.name is not None]
        if len(named) not in (0, len(specs)):
            raise InvalidParameterValue("A schema has either names for all its inputs or for none.")
        if len(set(named)) != len(named):
            raise InvalidParameterValue("A schema names an input twice.")
        tensors = sum(isinstance(spec, TensorSpec) for spec in specs)
        if tensors not in (0, len(specs)):
            raise InvalidParameterValue("A schema holds either columns or tensors, not both.")
        if tensors > 1 and not named:
            raise InvalidParameterValue("Several tensors in one schema need names.")
        if not named and any(not spec.required for spec in specs):
            raise InvalidParameterValue("An optional column needs a name.")

    def __iter__(self) -> Iterator[ColSpec | TensorSpec]:
        return iter(self.inputs)

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def is_named(self) -> bool:
        """Whether the inputs have names."""
        return self.inputs[0].name is not None

    @cached_property
    def columns(self) -> tuple[ColSpec, ...]:
        """The columns; empty for a schema of tensors."""
        return tuple(spec for spec in self.inputs if isinstance(spec, ColSpec))

    @cached_property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The tensors; empty for a schema of columns."""
        return tuple(spec for spec in self.inputs if isinstance(spec, TensorSpec))

    @cached_property
    def names(self) -> list[Name]:
        """The names, or 0, 1, … when there are none."""
        return [i if spec.name is None else spec.name for i, spec in enumerate(self.inputs)]

    @cached_property
    def name_tuple(self) -> tuple[Name, ...]:
        """`names`, always the same object: cheap to compare as part of a key."""
        return tuple(self.names)

    @cached_property
    def names_by_text(self) -> dict[str, int] | None:
        """The integer names, by their text, if all names are integers: of models fitted on bare arrays."""
        names = {str(spec.name): spec.name for spec in self.inputs if isinstance(spec.name, int)}
        return names if len(names) == len(self.inputs) else None

    def own_names(self, names: Sequence[Any]) -> Sequence[Any]:
        """What a caller calls inputs, in the names of the schema: most formats know integer names as texts only."""
        if self.names_by_text is None or not all(isinstance(name, str) for name in names):
            return names
        return [self.names_by_text.get(name, name) for name in names]

    @cached_property
    def required_names(self) -> list[Name]:
        """The names of the inputs that must be there."""
        return [name for name, spec in zip(self.names, self.inputs, strict=True) if spec.required]

    @cached_property
    def scalar_dtypes(self) -> list[str] | None:
        """The pandas dtypes of the columns; None when a column is not scalar, or for tensors."""
        kinds = [spec.type for spec in self.columns if isinstance(spec.type, DataType)]
        return [kind.dtype for kind in kinds] if len(kinds) == len(self.inputs) else None

    @cached_property
    def matrix_dtype(self) -> str | None:
        """The one float dtype that all columns share, else None."""
        dtypes = set(self.scalar_dtypes or ())
        return dtypes.pop() if len(dtypes) == 1 and dtypes <= {"float32", "float64"} else None

    def to_list(self) -> list[dict[str, Any]]:
        """The schema as JSON values."""
        return [_spec_to_dict(spec) for spec in self.inputs]

    def to_json(self) -> str:
        """The schema as upstream writes it into MLmodel."""
        return _dumps(self.to_list())

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """The schema that `text` spells. Raises: InvalidParameterValue."""
        return cls(tuple(_spec_from_dict(entry) for entry in load_list(text, what="schema")))

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.inputs[:20]))
        more = f", … {len(self.inputs) - 20} more" if len(self.inputs) > 20 else ""
        return f"[{shown}{more}]"


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


def _spec_to_dict(spec: ColSpec | TensorSpec) -> dict[str, Any]:
    name = {} if spec.name is None else {"name": spec.name}
    if isinstance(spec, TensorSpec):
        return name | {"type": "tensor", "tensor-spec": {"dtype": spec.dtype, "shape": list(spec.shape)}}
    return type_to_dict(spec.type) | name | {"required": spec.required}


def _spec_from_dict(entry: Any) -> ColSpec | TensorSpec:
    name = entry.get("name") if isinstance(entry, dict) else None
    if name is not None and type(name) not in (str, int):
        raise InvalidParameterValue("A column's 'name' in a signature must be text or an integer.")
    if isinstance(entry, dict) and entry.get("type") == "tensor":
        tensor = entry.get("tensor-spec")
        if not isinstance(tensor, dict) or not isinstance(tensor.get("dtype"), str):
            raise InvalidParameterValue("A tensor in a signature needs 'tensor-spec' with 'dtype' and 'shape'.")
        shape = tensor.get("shape")
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            raise InvalidParameterValue("A tensor's 'shape' in a signature must be a list of integers.")
        return TensorSpec(tensor["dtype"], tuple(shape), name)
    kind = type_from_dict(entry)
    return ColSpec(kind, name, bool(entry.get("required", True)))


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
    from tiltyard.pyfunc.json_pieces import parse_in_pieces

    return parse_in_pieces(text, _decode, _MAX_LEVELS)


def _dumps(value: Any) -> str:
    # Upstream's spacing, so that a signature written by either side reads the same in a diff.
    import json

    return json.dumps(value)
