"""Rows to wire Structs: the one converter between the two shapes of a noun."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from tiltyard.errors import InternalError

T = TypeVar("T")

# Integers inside, texts on the wire wherever the Struct says so.
_NUMBERED = frozenset({"version", "from_version", "to_version", "experiment_id"})


def reply(row: Mapping[str, Any], kind: type[T]) -> T:
    """`row` as a `kind`; version numbers and ids become texts where the wire wants texts.

    Raises:
        InternalError: the row lacks a field or has one of a wrong type, which is a fault of ours.
    """
    try:
        return msgspec.convert(_worded(row, _plan(kind)), kind)
    except msgspec.ValidationError as error:
        raise InternalError(f"A row does not fit {kind.__name__}.") from error


def replies(rows: Iterable[Mapping[str, Any]], kind: type[T]) -> list[T]:
    """Each row as a `kind`."""
    return [reply(row, kind) for row in rows]


class _Plan(dict[str, "_Plan | None"]):
    """Fields of a Struct to look at: None turns an integer into text, a plan goes further down."""


@cache
def _plan(kind: Any) -> _Plan:
    info = msgspec.inspect.type_info(kind)
    return _plan_of(info) or _Plan()


def _plan_of(info: msgspec.inspect.Type) -> _Plan | None:
    if isinstance(info, msgspec.inspect.ListType):
        return _plan_of(info.item_type)
    if isinstance(info, msgspec.inspect.UnionType):
        return next((plan for plan in map(_plan_of, info.types) if plan), None)
    if not isinstance(info, msgspec.inspect.StructType):
        return None
    plan = _Plan()
    for field in info.fields:
        if field.name in _NUMBERED:
            if _is_text(field.type):
                plan[field.encode_name] = None
        elif deeper := _plan_of(field.type):
            plan[field.encode_name] = deeper
    return plan or None


def _is_text(info: msgspec.inspect.Type) -> bool:
    if isinstance(info, msgspec.inspect.UnionType):
        return any(isinstance(one, msgspec.inspect.StrType) for one in info.types)
    return isinstance(info, msgspec.inspect.StrType)


def _worded(value: Any, plan: _Plan | None) -> Any:
    if plan is None:
        return str(value) if isinstance(value, int) else value
    if isinstance(value, list):
        return [_worded(item, plan) for item in value]
    if not isinstance(value, Mapping):
        return value
    worded = dict(value)
    for name, deeper in plan.items():
        if worded.get(name) is not None:
            worded[name] = _worded(worded[name], deeper)
    return worded
