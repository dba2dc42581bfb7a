"""Ways to a page that leave most rows unread, for databases that cannot tell by themselves that they are shorter."""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Join, Select, and_, func, not_, select
from sqlalchemy.ext.compiler import compiles

from tiltyard_registry.search.compile import Dialect, bound
from tiltyard_registry.search.field import Child

MOST_LED = 1000
"""How many rows, with those before the page, SQLite is led to so; more are found sooner by a look at all."""
MOST_TRIED = 4000
"""Of SQLite, how many rows are tried before all are looked at: it does not know how many of them fit."""


class Lead(NamedTuple):
    """The rows that have a number, at most once each, in the order of an index.

    Joined by `on` they are ordered by `clause`; only those `within` are tried, if that is not None.
    """

    source: FromClause
    on: ColumnElement[bool]
    clause: ColumnElement[Any]
    within: ColumnElement[bool] | None = None

    def to(self, table: FromClause, statement: Select[Any]) -> Select[Any]:
        """`statement` over `table` with these rows joined to it: on SQLite they come first."""
        if self.within is None:
            return statement.join_from(table, self.source, self.on)
        return statement.select_from(_InOrder(self.source, table, self.on)).where(self.within)


def lead_of(child: Child, key: str, ascending: bool, dialect: Dialect) -> Lead | None:
    """The lead to rows in the order of the metric `key`, if there is an index of it."""
    if child.is_nan is None or child.key is None or child.recency:
        return None
    has_number = and_(child.link, child.key == key, not_(child.is_nan))
    clause = child.value.asc() if ascending else child.value.desc()
    if dialect != "sqlite" or child.row is None:
        return Lead(child.source, has_number, clause)
    # What equals the first row that is not tried is not tried either: of equals, all are needed or none.
    tried = child.source.alias("tried")
    value = tried.c.value
    beyond = select(value).where(tried.c.key == key).order_by(value.asc() if ascending else value.desc())
    edge = func.coalesce(
        beyond.limit(1).offset(MOST_TRIED).scalar_subquery(), bound(float("inf") if ascending else float("-inf"))
    )
    return Lead(child.source, has_number, clause, child.value < edge if ascending else child.value > edge)


class _InOrder(Join):
    """A join whose left side SQLite reads first."""

    inherit_cache = True


@compiles(_InOrder, "sqlite")
def _cross_join(join: _InOrder, compiler: Any, **_options: Any) -> str:
    # Source: sqlite.org/optoverview.html, "Manual Control Of Query Plans Using CROSS JOIN".
    left, right = (compiler.process(side, asfrom=True) for side in (join.left, join.right))
    return f"{left} CROSS JOIN {right} ON {compiler.process(join.onclause)}"
