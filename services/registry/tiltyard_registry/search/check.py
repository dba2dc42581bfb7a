"""Second pass: the tree is checked against the fields. Only a checked tree reaches SQL.

Spellings collapse to one (`attr`, `run` and a bare key are the attribute), operators are those of the field,
values have the field's type.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.search.field import Field, Kind, Scope
from tiltyard_registry.search.grammar import Comparison, Identifier, Number, Value
from tiltyard_registry.search.patterns import check_pattern
from tiltyard_registry.search.tree import And, Not, Or, Tree

CheckedValue: TypeAlias = str | int | float | tuple[str, ...] | tuple[int, ...] | None


class Clause(NamedTuple):
    """A comparison that is known to make sense. `key` is the name below the entity, as written."""

    field: Field
    key: str
    operator: str
    value: CheckedValue


def check(scope: Scope, tree: Tree[Comparison]) -> Tree[Clause]:
    """The same tree over checked clauses.

    Raises:
        InvalidParameterValue: an unknown entity or key, an operator the field does not take, a value of
            another type.
    """
    match tree:
        case And(terms):
            return And(tuple(check(scope, term) for term in terms))
        case Or(terms):
            return Or(tuple(check(scope, term) for term in terms))
        case Not(term):
            return Not(check(scope, term))
        case Comparison(left, operator, value):
            field = resolve(scope, left, to_sort=False)
            if operator not in field.operators:
                raise InvalidParameterValue(
                    f"Invalid comparator '{operator}' for {_shown(field, left.key)}: "
                    f"not one of {_listed(field.operators)}."
                )
            return Clause(field, left.key, operator, _value(field, left.key, operator, value))


def resolve(scope: Scope, identifier: Identifier, *, to_sort: bool) -> Field:
    """The field that the identifier names, among those that can be filtered or, `to_sort`, ordered by.

    Raises:
        InvalidParameterValue: the scope has no such entity or key.
    """
    entity = "attribute"
    if identifier.entity is not None:
        known = scope.entities.get(identifier.entity)
        if known is None:
            raise InvalidParameterValue(
                f"Invalid entity type '{identifier.entity[:80]}'. Valid values are {sorted(scope.entities)}."
            )
        entity = known
    field = scope.find(entity, identifier.key)
    if field is None or not (field.orderable if to_sort else field.operators):
        keys = sorted(
            word
            for f in scope.fields
            if f.entity == entity and f.key is not None and (f.orderable if to_sort else f.operators)
            for word in (f.key, *f.aliases)
        )
        if not keys:
            raise InvalidParameterValue(f"Invalid order_by entity: {entity}.")
        raise InvalidParameterValue(
            f"Invalid {entity} key '{identifier.key[:80]}' specified. Valid keys are '{_listed(keys)}'"
        )
    if identifier.function is None:
        return field
    if identifier.function not in field.functions:
        raise InvalidParameterValue(
            f"Invalid function {identifier.function} of {_shown(field, identifier.key)} in a search of {scope.name}: "
            "MIN, MAX and LATEST are functions of a run's metrics."
        )
    return replace(field, place=field.functions[identifier.function])


# Params and tags hold texts; a number that a filter writes without quotes is the text it is written as.
_NUMBER_AS_TEXT = frozenset({"=", "!="})
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
MAX_WHOLE = 2**63 - 1


def _value(field: Field, key: str, operator: str, value: Value) -> CheckedValue:
    if value is None:
        return None
    if field.kind is Kind.TEXT:
        return _text(field, key, operator, value)
    if field.kind is Kind.NAME:
        if isinstance(value, tuple):
            return tuple(_name(key, item) for item in value)
        if isinstance(value, str):
            return _name(key, value)
        raise InvalidParameterValue(
            f"Expected a quoted string value for attributes. Got value {value.text[:80]} for {key}."
        )
    return _number(field, key, value)


def _text(field: Field, key: str, operator: str, value: Value) -> str | tuple[str, ...]:
    if isinstance(value, tuple):
        return tuple(_stored(field, item) for item in value)
    if isinstance(value, str):
        if operator in {"LIKE", "ILIKE"}:
            return check_pattern(value)
        return _stored(field, value)
    if isinstance(value, Number) and field.key is None and operator in _NUMBER_AS_TEXT:
        return value.text
    shown = value.text[:80] if isinstance(value, Number) else value
    raise InvalidParameterValue(
        f"Expected a quoted string value for {_shown(field, key)} (e.g. 'my-value'). Got value {shown}"
    )


def _stored(field: Field, value: str) -> str:
    """`value` as the column spells it."""
    value = value.removeprefix(field.qualifier)
    return value if value.startswith(field.prefix) else field.prefix + value


def _name(key: str, value: str) -> int:
    if not _WHOLE.fullmatch(value):
        kind = key.removesuffix("_id")
        raise InvalidParameterValue(
            f"Invalid {kind} ID '{value[:80]}'. {kind.capitalize()} ID must be a valid integer."
        )
    return int(value)


def _number(field: Field, key: str, value: Value) -> int | float:
    text = value.text if isinstance(value, Number) else value
    quoted = not isinstance(value, Number)
    if not isinstance(text, str) or (quoted and field.kind is not Kind.COUNT):
        what = "metric" if field.entity == "metric" else f"numeric attribute: {key[:80]}"
        raise InvalidParameterValue(f"Expected numeric value type for {what}. Found {str(text)[:80]!r}")
    if field.entity == "metric":
        return float(text)
    if _WHOLE.fullmatch(text):
        whole = int(text)
        # Beyond what a column of whole numbers holds, only the size matters.
        return whole if abs(whole) <= MAX_WHOLE else float(whole)
    if field.kind is not Kind.NUMBER:
        raise InvalidParameterValue(
            f"Invalid value for numeric attribute '{key[:80]}': '{text[:80]}'. Expected {field.kind.value}."
        )
    return float(text)


def _shown(field: Field, key: str) -> str:
    return f"{field.entity} '{key[:80]}'"


def _listed(words: Sequence[str]) -> str:
    return "{" + ", ".join(f"'{word}'" for word in words) + "}"
