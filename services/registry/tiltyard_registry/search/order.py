"""Orders: `order_by` items, checked against the fields and compiled.

Absent values come last in both directions; NaN comes behind every number and before the absent. The tie-break of
the scope stands behind every order: it makes the order total, so that pages neither overlap nor leave gaps.

Source: mlflow/store/tracking/sqlalchemy_store.py, `_get_orderby_clauses`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Column, ColumnElement, case, func, literal_column, null, select

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.search.check import resolve
from tiltyard_registry.search.compile import MAX_KEPT_CHARS, Dialect
from tiltyard_registry.search.datasets import Dataset, on_datasets
from tiltyard_registry.search.field import Child, Field, Scope
from tiltyard_registry.search.grammar import Identifier, is_text, parse_order
from tiltyard_registry.search.lead import Lead, lead_of

MAX_ORDER_ITEMS = 20


class OrderBy(NamedTuple):
    """One item of an order of logged models: `field_name` is an attribute or `metrics.<key>`, unquoted."""

    field_name: str
    ascending: bool = True
    dataset_name: str | None = None
    dataset_digest: str | None = None


Item: TypeAlias = str | OrderBy


class Term(NamedTuple):
    """One term of ORDER BY.

    `column` is None unless it is a column without nulls, from which a page can start. `lead` is what an index can
    give in this order: the rows that have a number there, which come before all others.
    """

    clause: ColumnElement[Any]
    ascending: bool
    column: Column[Any] | None
    lead: Lead | None = None


def order_terms(scope: Scope, order_by: Sequence[Item] | None, *, dialect: Dialect) -> tuple[Term, ...]:
    """The whole ORDER BY: what the caller asked for, else the scope's default, then its tie-break.

    Raises:
        InvalidParameterValue: an item that is no order of this scope, or a field named twice.
    """
    items = tuple(order_by or ())
    if len(items) > MAX_ORDER_ITEMS:
        raise InvalidParameterValue(f"Invalid order_by: {len(items)} items, at most {MAX_ORDER_ITEMS} are allowed.")
    brief = sum(len(item if isinstance(item, str) else item.field_name) for item in items) <= MAX_KEPT_CHARS
    return (_compiled if brief else _compiled.__wrapped__)(scope, items, dialect)


@lru_cache(maxsize=256)
def _compiled(scope: Scope, items: tuple[Item, ...], dialect: Dialect) -> tuple[Term, ...]:
    terms: list[Term] = []
    seen: set[tuple[str, str]] = set()
    for item in items:
        identifier, ascending, dataset = _read(item)
        field = resolve(scope, identifier, to_sort=True)
        name = (field.entity, field.key or identifier.key)
        if identifier.function in {"MIN", "MAX"}:
            name = (field.entity, f"{identifier.function}({identifier.key})")
        if name in seen:
            shown = (item if isinstance(item, str) else item.field_name)[:80]
            raise InvalidParameterValue(f"`order_by` contains duplicate fields: '{shown}'.")
        seen.add(name)
        terms.append(_term(scope, field, identifier.key, ascending, dataset, dialect))
    for key, ascending in (*(() if items else scope.default_order), *scope.tie_break):
        if ("attribute", key) not in seen:
            seen.add(("attribute", key))
            field = resolve(scope, Identifier(None, key), to_sort=True)
            terms.append(_term(scope, field, key, ascending, None, dialect))
    return tuple(terms)


def _read(item: Item) -> tuple[Identifier, bool, Dataset | None]:
    if isinstance(item, str):
        identifier, ascending = parse_order(item)
        return identifier, ascending, None
    if item.dataset_digest and not item.dataset_name:
        raise InvalidParameterValue("`dataset_digest` can only be specified if `dataset_name` is also specified.")
    dataset = Dataset(item.dataset_name, item.dataset_digest) if item.dataset_name else None
    if not is_text(item.field_name):
        raise InvalidParameterValue("Invalid order by field name: it holds a character that is not text.")
    entity, dot, key = item.field_name.partition(".")
    if not dot:
        return Identifier(None, item.field_name.strip()), item.ascending, dataset
    if entity != "metrics":
        raise InvalidParameterValue(
            f"Invalid order by field name: {item.field_name[:80]}. Only attributes and metrics are orderable."
        )
    return Identifier(entity, key), item.ascending, dataset


def _term(scope: Scope, field: Field, key: str, ascending: bool, dataset: Dataset | None, dialect: Dialect) -> Term:
    if not isinstance(field.place, Child):
        column = field.place
        directed = column.asc() if ascending else column.desc()
        if isinstance(column, Column) and not column.nullable:
            return Term(directed, ascending, column)
        return Term(directed.nulls_last(), ascending, None)
    child = field.place
    value, lead = child.value, None
    nan: ColumnElement[Any] = literal_column("'NaN'::float8" if dialect == "postgresql" else "'NaN'")
    if child.is_summed_up:
        value = case((func.count() == 0, null()), (value.is_(None), nan), else_=value if ascending else -value)
        ascending = True
    elif child.is_nan is not None:
        lead = lead_of(child, key, ascending, dialect)
        # One look-up for all three ranks. NaN sorts behind numbers on PostgreSQL as a number, on SQLite as text;
        # a descending order ascends over the negated value, which keeps NaN there.
        value = case((child.is_nan, nan), else_=value if ascending else -value)
        ascending = True
    chosen = select(value).select_from(child.source).where(child.link)
    if child.key is not None:
        chosen = chosen.where(child.key == key)
    if dataset is not None:
        chosen = chosen.where(on_datasets([dataset]))
    if child.recency:
        chosen = chosen.order_by(*child.recency).limit(1)
    looked_up = chosen.correlate(*scope.tables).scalar_subquery()
    directed = looked_up.asc() if ascending else looked_up.desc()
    return Term(directed.nulls_last(), ascending, None, lead)
