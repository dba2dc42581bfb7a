"""Rows to wire Structs, and the params and tags of requests to entries: between the two shapes of a noun."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from tiltyard.errors import InternalError
from tiltyard.wire.mlflow.model_versions import ModelVersion
from tiltyard.wire.tags import Tag
from tiltyard_registry.rules.entries import Entry

T = TypeVar("T")

# Integers inside, texts on the wire wherever the Struct says so.
_NUMBERED = frozenset({"version", "from_version", "to_version", "experiment_id"})
# Source: upstream sends these of a model version as empty text where nothing was given, and never leaves them out.
_EMPTY_WHERE_NULL = frozenset({"description", "run_id", "run_link"})


def reply(row: Mapping[str, Any], kind: type[T]) -> T:
    """`row` as a `kind`; version numbers and ids become texts where the wire wants texts.

    Raises:
        InternalError: the row lacks a field or has one of a wrong type, which is a fault of ours.
    """
    try:
        return msgspec.convert(_picker(cast(Any, kind))(row), kind)
    except msgspec.ValidationError as error:
        raise InternalError(f"A row does not fit {kind.__name__}.") from error


def replies(rows: Iterable[Mapping[str, Any]], kind: type[T]) -> list[T]:
    """Each row as a `kind`."""
    return [reply(row, kind) for row in rows]


def entries(tags: Iterable[Tag]) -> list[Entry]:
    """Params or tags of a request as the rules take them."""
    return [Entry(tag.key, tag.value) for tag in tags]


Picker = Callable[[Any], Any]


@cache
def _picker(kind: Any) -> Picker:
    return _picker_of(msgspec.inspect.type_info(kind)) or (lambda value: value)


def _picker_of(info: msgspec.inspect.Type) -> Picker | None:
    """What makes builtins of a value for the type `info`; None where the value is right as it is."""
    match info:
        case msgspec.inspect.StructType():
            return _struct_picker(info)
        case msgspec.inspect.ListType():
            item = _picker_of(info.item_type)
            return (lambda values: [item(value) for value in values]) if item else None
        case msgspec.inspect.UnionType():
            return next((picker for picker in map(_picker_of, info.types) if picker), None)
        case _:
            return None


def _struct_picker(info: msgspec.inspect.StructType) -> Picker:
    # The Struct's own names: a row's keys are texts of a kind that the decoder does not take.
    fields = [(field.encode_name, _field_picker(field)) for field in info.fields]
    never_null = _EMPTY_WHERE_NULL if info.cls is ModelVersion else ()

    def pick(row: Any) -> Any:
        if not isinstance(row, Mapping):
            return row
        picked = {
            name: picker(value) if picker is not None and value is not None else value
            for name, picker in fields
            if (value := row.get(name, msgspec.UNSET)) is not msgspec.UNSET
        }
        for name in never_null:
            picked[name] = picked.get(name) or ""
        return picked

    return pick


def _field_picker(field: msgspec.inspect.Field) -> Picker | None:
    if field.name in _NUMBERED:
        types = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,)
        if any(isinstance(one, msgspec.inspect.StrType) for one in types):
            return str
    return _picker_of(field.type)
