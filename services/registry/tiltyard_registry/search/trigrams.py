"""Rows whose text is like a pattern, found by the trigrams of its parts, and not by a look at every text.

PostgreSQL has an index of them for each row at once. SQLite has a table of them that is brought up to date in the
background, for to keep it up would cost each new row more than the row; what is newer than it is looked at.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, CompoundSelect, TableClause, func, literal_column, select, union_all

from tiltyard_registry.search.patterns import PART_CHARS, is_like, parts

_MOST = 16
"""About how many parts, or trigrams of them, are asked for: more leave hardly fewer rows."""


class Trigrams(NamedTuple):
    """Where the trigrams of a text column are.

    `table` is SQLite's: by the row's id it holds the trigrams of `text` for every row up to the id `upto.upto`, but for
    those in `stale.run`. PostgreSQL has an index of what `function` makes of the text.
    """

    id: Column[int]
    text: Column[str]
    function: str
    table: TableClause
    upto: TableClause
    stale: TableClause

    def held(self, pattern: str) -> Sequence[ColumnElement[bool]]:
        """What PostgreSQL finds by its index of whatever is like the pattern."""
        of = getattr(func, self.function)
        return [of(self.text).bool_op("@>")(of(part)) for part in parts(pattern)[:_MOST]]

    def candidates(self, pattern: str, *, exact: bool) -> CompoundSelect[Any] | None:
        """The ids of SQLite's rows that may be like the pattern, with all that are; None where no index tells."""
        wanted = [part[at : at + PART_CHARS] for part in parts(pattern) for at in range(len(part) - PART_CHARS + 1)]
        if not wanted or not is_supported():
            return None
        some = dict.fromkeys([*wanted[:: -(-len(wanted) // _MOST)], wanted[-1]])
        match = " AND ".join('"{}"'.format(one.replace('"', '""')) for one in some)
        matching = literal_column(self.table.name).op("MATCH", is_comparison=True)(match)
        newer, upto = self.text.table.alias("newer"), select(self.upto.c.upto).scalar_subquery()
        fits = is_like(newer.c[self.text.name], pattern, exact=exact, is_sqlite=True)
        return union_all(
            select(self.table.c.rowid).where(matching),
            select(self.stale.c.run),
            select(newer.c[self.id.name]).where(newer.c[self.id.name] > upto, fits),
        )


@cache
def is_supported() -> bool:
    """Whether this SQLite was built with what an index of trigrams takes."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE texts USING fts5(text, tokenize='trigram')")
        except sqlite3.OperationalError:
            return False
    return True
