"""What a model takes and gives, as typed specs, and the JSON that says it.

A schema is a list of columns or a list of tensors, all named or all unnamed. This module needs neither
numpy nor pandas, so that a registry can read a signature without a data library.

Source: mlflow/types/schema.py at v3.17.2 for the JSON forms.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.data_types import DataType, Name, Type, compact_json, load_list, type_from_dict, type_to_dict


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
    def types(self) -> tuple[Type, ...]:
        """The types of the columns; none for a schema of tensors."""
        return tuple(spec.type for spec in self.columns)

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
        return compact_json(self.to_list())

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """The schema that `text` spells. Raises: InvalidParameterValue."""
        return cls(tuple(_spec_from_dict(entry) for entry in load_list(text, what="schema")))

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.inputs[:20]))
        more = f", … {len(self.inputs) - 20} more" if len(self.inputs) > 20 else ""
        return f"[{shown}{more}]"


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
