"""One page of a search: what it adds to a statement, and how it reads what came back."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypedDict, TypeVar

from sqlalchemy import Column, ColumnElement, Select, String, and_, or_

from tiltyard_registry.rules.limits import page_size
from tiltyard_registry.search.compile import Dialect, bound, compile_filter, few_rows
from tiltyard_registry.search.datasets import Dataset
from tiltyard_registry.search.field import Scope
from tiltyard_registry.search.lead import MOST_LED
from tiltyard_registry.search.order import Item, order_terms
from tiltyard_registry.search.tokens import PageToken, query_digest


class Asked(TypedDict, total=False):
    """What whoever searches may ask for beside the filter."""

    order_by: Sequence[Item] | None
    max_results: int | None
    page_token: str | None


R = TypeVar("R", bound=Mapping[Any, Any])

FEW_ROWS = 1000
"""Of SQLite, up to how many rows that a term of a filter leaves are looked at, instead of all in their order."""
MAX_KEPT = 1000
ASK_AGAIN, ASK_AGAIN_AT_MOST = 16, 512
"""After how many times what was in vain is tried again, each time twice as many: a try costs as much as the rest."""


class _InVain(NamedTuple):
    left: int
    times: int


_SHORT: dict[object, _InVain] = {}
"""Searches to whose page no shorter way led, and how many more times it is not tried."""
_COMMON: dict[object, _InVain] = {}
"""Filters none of whose terms leaves few rows, and how many more times that is taken for granted."""


class Page:
    """A filter, an order and a place in it.

        page = Page(RUNS, filter=…, order_by=…, page_token=…, max_results=100, dialect=…, within=ids)
        rows, next_page_token = await page.read(select(runs).where(…), session.all)

    A page has as many rows as the scope says when `max_results` is None, and never more than `at_most`. `within` is
    what else narrows the statement and makes the query what it is: a token is good only for the same.
    Any JSON value will do.
    """

    def __init__(
        self,
        scope: Scope,
        *,
        dialect: Dialect,
        filter: str | None = None,
        order_by: Sequence[Item] | None = None,
        max_results: int | None = None,
        page_token: str | None = None,
        at_most: int | None = None,
        within: object = None,
        datasets: Sequence[Dataset] = (),
    ) -> None:
        """Checks everything.

        Raises:
            InvalidParameterValue: the filter, the order, the page size or the token is not right.
        """
        self._scope = scope
        asked = page_size(max_results, default=scope.default_page, maximum=scope.max_page)
        self._max_results = asked if at_most is None else min(asked, at_most)
        self._dialect = dialect
        self._filter = filter
        self._datasets = datasets
        self._clause = compile_filter(scope, filter, dialect=dialect, datasets=datasets)
        self._terms = order_terms(scope, order_by, dialect=dialect)
        self._query = query_digest(scope.name, filter, list(order_by or ()), list(datasets), within)
        self._keys = [(term.column, term.ascending) for term in self._terms if term.column is not None]
        # A page can start behind a row only where the whole order can be read off the row.
        self._by_key = len(self._keys) == len(self._terms)
        self._position = None
        if page_token:
            kinds = [str if isinstance(column.type, String) else int for column, _ in self._keys]
            self._position = PageToken.decode(page_token, query=self._query, columns=kinds if self._by_key else None)

    def of(self, statement: Select[Any]) -> Select[Any]:
        """`statement` filtered, ordered and cut to this page and one row more, which tells whether another follows.

        Where pages start behind a row, columns of the order that it does not select are added to it.
        """
        statement = self._narrowed(statement)
        if isinstance(self._position, tuple):
            statement = statement.where(behind(self._keys, self._position))
        if self._by_key:
            selected = statement.selected_columns
            lacking = (column for column, _ in self._keys if column.name not in selected)
            statement = statement.add_columns(*lacking)
        return self._cut(statement, *(term.clause for term in self._terms))

    async def read(
        self, statement: Select[Any], read_all: Callable[[Select[Any]], Awaitable[Sequence[R]]]
    ) -> tuple[list[R], str | None]:
        """`split` of what `read_all` finds by `of`, or by a statement that gives the same rows and reads fewer."""
        question = (self._query, self._max_results)
        lead = None
        if not await self._begins_with_few(read_all) and not _is_known(_SHORT, question):
            lead = self._lead_of(statement)
        rows = await read_all(lead) if lead is not None else ()
        if len(rows) <= self._max_results:
            if lead is not None:
                _keep(_SHORT, question)
            rows = await read_all(self.of(statement))
        else:
            _SHORT.pop(question, None)
        return self.split(rows)

    async def _begins_with_few(self, read_all: Callable[[Select[Any]], Awaitable[Sequence[R]]]) -> bool:
        """Whether a term of the filter leaves so few rows that only they are looked at; SQLite has to be told."""
        if self._dialect != "sqlite" or not self._filter:
            return False
        if _is_known(_COMMON, (self._scope.name, self._filter)):
            return False
        counting = few_rows(self._scope, self._filter, self._dialect, FEW_ROWS)
        if counting is None:
            return False
        (counts,) = await read_all(counting)
        place, count = min(counts.items(), key=itemgetter(1))
        if count > FEW_ROWS:
            _keep(_COMMON, (self._scope.name, self._filter))
            return False
        _COMMON.pop((self._scope.name, self._filter), None)
        self._clause = compile_filter(
            self._scope, self._filter, dialect=self._dialect, datasets=self._datasets, first=int(place)
        )
        return True

    def split(self, rows: Sequence[R]) -> tuple[list[R], str | None]:
        """The rows of the page, and the token of the next page if there is one."""
        page = list(rows[: self._max_results])
        if len(rows) <= self._max_results or not page:
            return page, None
        if self._by_key:
            last = tuple(page[-1][column.name] for column, _ in self._keys)
            return page, PageToken.encode(last, query=self._query)
        start = self._position if isinstance(self._position, int) else 0
        return page, PageToken.encode(start + len(page), query=self._query)

    def _lead_of(self, statement: Select[Any]) -> Select[Any] | None:
        """The page if it holds rows alone that have a number where the order begins, and another page follows.

        An index gives such rows in order, and those behind the page are never read. None where no index does.
        """
        lead = self._terms[0].lead
        before = self._position if isinstance(self._position, int) else 0
        if lead is None or (lead.within is not None and before + self._max_results > MOST_LED):
            return None
        statement = lead.to(self._scope.tables[0], self._narrowed(statement))
        return self._cut(statement, lead.clause, *(term.clause for term in self._terms[1:]))

    def _narrowed(self, statement: Select[Any]) -> Select[Any]:
        return statement if self._clause is None else statement.where(self._clause)

    def _cut(self, statement: Select[Any], *order: ColumnElement[Any]) -> Select[Any]:
        if isinstance(self._position, int):
            statement = statement.offset(self._position)
        return statement.order_by(*order).limit(self._max_results + 1)


def _is_known(memory: dict[object, _InVain], question: object) -> bool:
    """Whether that is still taken for granted; runs come, so that it is asked again now and then."""
    kept = memory.get(question)
    if kept is None or not kept.left:
        return False
    memory[question] = kept._replace(left=kept.left - 1)
    return True


def _keep(memory: dict[object, _InVain], question: object) -> None:
    before = memory.pop(question, None)
    times = ASK_AGAIN if before is None else min(2 * before.times, ASK_AGAIN_AT_MOST)
    memory[question] = _InVain(times, times)
    if len(memory) > MAX_KEPT:
        del memory[next(iter(memory))]


def behind(keys: Sequence[tuple[Column[Any], bool]], values: Sequence[str | int]) -> ColumnElement[bool]:
    """Whether a row stands behind the row with these values in an order of (column, ascending)."""
    steps: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for (column, ascending), value in zip(keys, values, strict=True):
        steps.append(and_(*equal, column > bound(value) if ascending else column < bound(value)))
        equal.append(column == bound(value))
    # Said once more as a plain bound, the first column lets an index start there.
    first, ascending = keys[0]
    start = first >= bound(values[0]) if ascending else first <= bound(values[0])
    return and_(start, or_(*steps))
