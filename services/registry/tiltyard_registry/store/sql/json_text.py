"""JSON as text: of rows, which PostgreSQL writes by SQL made of the columns that the wire's fields are read from, and
of long lists, part by part.

The texts say what the wire's Structs say, field by field and in their order; only the spelling of a float may
differ (`1e+16` and `1e16`), never its value or its kind.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Column, Double, Integer, String

from tiltyard_registry.store.sql.session import Session

Fields: TypeAlias = Mapping[str, Column[Any]]
"""The column that each field of an object shows, by the field's name."""

# Whole numbers inside, texts on the wire.
_NAMES = frozenset({"experiment_id"})


class EncodedJson(NamedTuple):
    """Some items of a list, with commas between, and how to read the part behind it, if there is one.

    What is read is sent before more is read. The part after the last that the caller asked for is theirs to ask for:
    the last one has the token.
    """

    text: bytes
    following: "Callable[[Session], Awaitable[EncodedJson]] | None" = None
    next_page_token: str | None = None


def object_sql(fields: Fields) -> str:
    """An expression for one object; a field that is null is left out. The first field is never null."""
    pieces: list[str] = []
    for name, column in fields.items():
        label = f'{"," if pieces else "{"}"{name}":'
        value = _value_sql(column, quoted=name in _NAMES)
        # What is null makes its label null, and `concat` passes over it.
        pieces.append(f"'{label}' || {value}" if column.nullable else f"'{label}', {value}")
    return f"concat({', '.join(pieces)}, '}}')"


def nested_sql(fields: Mapping[str, str]) -> str:
    """An expression for one object, each field of which is an expression for JSON text."""
    pieces = (f"'{',' if at else '{'}\"{name}\":', {value}" for at, (name, value) in enumerate(fields.items()))
    return f"concat({', '.join(pieces)}, '}}')"


def list_sql(item: str, rows: str, order_by: str) -> str:
    """An expression for a list: the expression `item` for each of `rows`, which is what stands behind FROM."""
    listed = f"concat('[', string_agg({item}, ',' ORDER BY {order_by}), ']')"
    return f"({select_sql(listed, rows)})"


def select_sql(expression: str, rows: str) -> str:
    """The query for an expression over `rows`, which is what stands behind FROM."""
    return " ".join(("SELECT", expression, "FROM", rows))


def _value_sql(column: Column[Any], *, quoted: bool) -> str:
    match column.type:
        case Double():
            return _number_sql(f"{column}", f"{column.table.name}.is_nan")
        case String():
            return f"to_json({column})"
        case Integer():
            return f"'\"' || {column} || '\"'" if quoted else f"{column}"
    raise TypeError(f"no JSON text for a {column.type}")


def _number_sql(value: str, is_nan: str) -> str:
    # A whole number keeps its point, and a zero its sign: readers take 1 for another kind of value than 1.0.
    return (
        f"CASE WHEN {is_nan} THEN '\"NaN\"' WHEN {value} <> trunc({value}) THEN {value}::text "
        f"WHEN abs({value}) < 1e15 THEN {value} || '.0' "
        f"WHEN abs({value}) = 'Infinity' THEN '\"' || {value} || '\"' ELSE {value}::text END"
    )
