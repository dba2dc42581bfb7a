"""Sets of rows as one statement: insert what is missing, overwrite, keep the newer, and 'is one of these'.

PostgreSQL takes each column as one array and unnests them, so a thousand rows are one statement with a fixed
text. SQLite takes the rows one after the other within one call of its driver, which is what it is fast at.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

from sqlalchemy import ColumnElement, Insert, Table, any_, bindparam, column, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from tiltyard_registry.store.sql.session import Session

T = TypeVar("T")
_PAGE = 1000

Columns = Mapping[str, Any]
"""A value for every row, or a list with one value per row, by column name. At least one is a list."""


async def insert_missing(session: Session, table: Table, columns: Columns) -> None:
    """Inserts the rows whose key is not there yet; the others stay as they are."""
    await _run(session, table, columns, "missing", ())


async def overwrite(session: Session, table: Table, columns: Columns) -> None:
    """Inserts the rows; where the key is there, the other columns take the new values. Keys must differ."""
    await _run(session, table, columns, "overwrite", ())


async def keep_newer(session: Session, table: Table, columns: Columns, by: tuple[str, ...]) -> None:
    """As `overwrite`, but only where the new row's `by` columns, as a tuple, are greater than the old ones'."""
    await _run(session, table, columns, "overwrite", by)


def among(session: Session, member: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """`member` is one of `values`, however many they are: always one parameter."""
    if len(values) == 1:
        # The one spelling for which an index that begins with `member` gives an order.
        return cast(ColumnElement[bool], member == values[0])
    if session.is_sqlite:
        return member.in_(select(func.json_each(json.dumps(list(values))).table_valued("value").c.value))
    return member == any_(literal(list(values), ARRAY(member.type)))


async def _run(session: Session, table: Table, columns: Columns, mode: str, by: tuple[str, ...]) -> None:
    lists = tuple(name for name, values in columns.items() if isinstance(values, list))
    if not columns[lists[0]]:
        return
    statement = _statement(table, tuple(columns), lists, mode, by, session.is_sqlite)
    if not session.is_sqlite:
        await session.execute(statement, columns)
        return
    shared = {name: value for name, value in columns.items() if name not in lists}
    rows = [
        {**shared, **dict(zip(lists, values, strict=True))}
        for values in zip(*(columns[name] for name in lists), strict=True)
    ]
    await session.execute(statement, rows)


@lru_cache(maxsize=128)
def _statement(
    table: Table, names: tuple[str, ...], lists: tuple[str, ...], mode: str, by: tuple[str, ...], is_sqlite: bool
) -> Insert:
    if is_sqlite:
        insert = sqlite_insert(table).values({name: bindparam(name) for name in names})
        return _on_conflict(insert, table, names, mode, by)
    arrays = (bindparam(name, type_=ARRAY(table.c[name].type)) for name in lists)
    rows = func.unnest(*arrays).table_valued(*(column(name, table.c[name].type) for name in lists)).render_derived()
    chosen = [rows.c[name] if name in lists else bindparam(name, type_=table.c[name].type) for name in names]
    return _on_conflict(postgresql_insert(table).from_select(list(names), select(*chosen)), table, names, mode, by)


def _on_conflict(insert: Any, table: Table, names: tuple[str, ...], mode: str, by: tuple[str, ...]) -> Insert:
    keys = [key.name for key in table.primary_key]
    if mode == "missing":
        return cast(Insert, insert.on_conflict_do_nothing(index_elements=keys))
    newer = None
    if by:
        newer = tuple_(*(insert.excluded[name] for name in by)) > tuple_(*(table.c[name] for name in by))
    values = {name: insert.excluded[name] for name in names if name not in keys}
    return cast(Insert, insert.on_conflict_do_update(index_elements=keys, set_=values, where=newer))


def pages(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, so many at a time as one statement takes."""
    for offset in range(0, len(items), _PAGE):
        yield items[offset : offset + _PAGE]
