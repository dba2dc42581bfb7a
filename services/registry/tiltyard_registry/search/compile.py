"""Third pass: a checked tree becomes one SQLAlchemy clause over the tables.

What hangs below a row is asked with a correlated EXISTS. Every clause is true or false and never unknown, so
that NOT is the exact complement: `NOT tags.k = 'v'` holds for rows without the tag, `tags.k != 'v'` does not.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Literal, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    GenerativeSelect,
    Select,
    String,
    and_,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    type_coerce,
)

from tiltyard_registry.rules.prompts import PROMPT_TAG
from tiltyard_registry.search.check import MAX_WHOLE, CheckedValue, Clause, check
from tiltyard_registry.search.datasets import Dataset, on_datasets
from tiltyard_registry.search.field import Child, Scope
from tiltyard_registry.search.grammar import parse
from tiltyard_registry.search.patterns import is_like
from tiltyard_registry.search.tree import And, Not, Or, Tree, conjuncts, leaves
from tiltyard_registry.tables.columns import VALUE_HEAD_CHARS
from tiltyard_registry.tables.experiments import logged_model_metrics

MAX_JOINED = 8
MAX_KEPT_CHARS = 1000
"""Of longer filters, made by programs for one use, the clauses are not kept."""

Dialect: TypeAlias = Literal["sqlite", "postgresql"]


def compile_filter(
    scope: Scope,
    text: str | None,
    *,
    dialect: Dialect,
    datasets: Sequence[Dataset] = (),
    first: int | None = None,
) -> ColumnElement[bool] | None:
    """The clause that `text` means for a statement over `scope.tables`, or None when nothing is restricted.

    `first` is the place of a term, of those that `few_rows` counts, that says by itself which rows to look at.

    Prompts live among the registered models; a filter that does not name their tag leaves them out.
    `datasets` is for logged models only.

    Raises:
        InvalidParameterValue: the filter is not one of this scope's.

    Source: mlflow/store/model_registry/sqlalchemy_store.py, `_update_query_to_exclude_prompts`.
    """
    # Programs ask the same again and again; a clause never changes, so one serves them all.
    known = _compiled if len(text or "") <= MAX_KEPT_CHARS else _compiled.__wrapped__
    return known(scope, text, dialect, tuple(datasets), first)


@lru_cache(maxsize=256)
def _compiled(
    scope: Scope, text: str | None, dialect: Dialect, datasets: tuple[Dataset, ...], first: int | None
) -> ColumnElement[bool] | None:
    tree = check(scope, parse(text)) if text else None
    # PostgreSQL plans every EXISTS as one more table to join, in time that explodes with their number. OFFSET
    # keeps it from that: each is then looked up row by row.
    fenced = dialect == "postgresql" and len(leaves(tree)) > MAX_JOINED
    leading = None if tree is None or first is None else conjuncts(tree)[first]
    clauses = [_Compiler(scope, dialect, datasets, fenced, leading).clause(tree)] if tree is not None else []
    if scope.prompts is not None and not any(_is_prompt_tag(clause) for clause in leaves(tree)):
        clauses.append(not_(_exists(scope, scope.prompts)))
    if datasets and not any(clause.field.entity == "metric" for clause in leaves(tree)):
        link = logged_model_metrics.c.model_id == scope.tables[0].c.model_id
        clauses.append(_exists(scope, Child(logged_model_metrics, link, literal_column("1")), on_datasets(datasets)))
    return and_(*clauses) if clauses else None


@lru_cache(maxsize=256)
def few_rows(scope: Scope, text: str, dialect: Dialect, most: int) -> Select[Any] | None:
    """How many rows each term of a filter leaves, each by its place, and no more than `most` and one are counted.

    Only terms are counted that an index answers; None if there is none.
    """
    counts = []
    for place, term in enumerate(conjuncts(check(scope, parse(text)))):
        if isinstance(term, Clause) and (rows := _Compiler(scope, dialect).indexed(term)) is not None:
            counts.append(select(func.count()).select_from(rows.limit(most + 1).subquery()).label(str(place)))
    return select(*counts) if counts else None


_LIKE = {"LIKE", "ILIKE"}
_COMPARATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}


class _Compiler:
    def __init__(
        self,
        scope: Scope,
        dialect: Dialect,
        datasets: Sequence[Dataset] = (),
        fenced: bool = False,
        leading: Tree[Clause] | None = None,
    ) -> None:
        self._scope = scope
        self._dialect = dialect
        self._datasets = datasets
        self._fenced = fenced
        self._leading = leading

    def clause(self, tree: Tree[Clause]) -> ColumnElement[bool]:
        match tree:
            case And(terms):
                return and_(*(self.clause(term) for term in terms))
            case Or(terms):
                return or_(*(self.clause(term) for term in terms))
            case Not(term):
                return not_(self.clause(term))
            case Clause(field, _, operator, value):
                if isinstance(field.place, Child):
                    return self._below(tree, field.place)
                compared = self._attribute(field.place, operator, value, field.null_is_empty)
                return and_(*self._by_trigrams(tree), compared)

    def _by_trigrams(self, clause: Clause) -> Iterator[ColumnElement[bool]]:
        """What an index of trigrams says of the rows that a clause is about, which is not yet all."""
        trigrams, pattern = clause.field.trigrams, str(clause.value)
        if trigrams is None or clause.operator not in _LIKE:
            return
        if self._dialect == "postgresql":
            yield from trigrams.held(pattern)
        elif clause is self._leading:
            rows = trigrams.candidates(pattern, exact=clause.operator == "LIKE")
            if rows is not None:
                yield trigrams.id.in_(rows)

    def _attribute(
        self, column: ColumnElement[Any], operator: str, value: CheckedValue, null_is_empty: bool
    ) -> ColumnElement[bool]:
        if null_is_empty and (operator not in {"=", "IN"} or value == "" or "" in _listed(value)):
            # Only where null would count, for the bare column has an index.
            return self._compare(func.coalesce(column, ""), operator, value)
        compared = self._compare(column, operator, value)
        return and_(column.is_not(None), compared) if getattr(column, "nullable", False) else compared

    def _below(self, clause: Clause, child: Child) -> ColumnElement[bool]:
        prompts = self._scope.prompts if _is_prompt_tag(clause) else None
        if prompts is not None and (clause.operator, str(clause.value).lower()) in {("!=", "true"), ("=", "false")}:
            # Models that are no prompts lack the tag, and must match all the same.
            return not_(_exists(self._scope, prompts))
        conditions = []
        if child.key is not None:
            conditions.append(child.key == clause.key)
        if clause.field.entity == "metric" and self._datasets:
            conditions.append(on_datasets(self._datasets))
        if child.is_summed_up:
            return self._summed_up(clause, child, conditions)
        if clause.operator == "IS NULL":
            return not_(_exists(self._scope, child, *conditions, fenced=self._fenced))
        if clause.operator != "IS NOT NULL":
            value = child.value
            if child.head is not None and clause.operator in {"=", "IN"} and _is_short(clause.value):
                # Said of the start alone, for said of both it would be taken for twice as rare as it is.
                value = child.head
            compared = self._compare(value, clause.operator, clause.value)
            if child.is_nan is not None:
                # NaN is stored as a flag beside a zero. It differs from every number, and is like none.
                different = clause.operator == "!="
                compared = or_(compared, child.is_nan) if different else and_(compared, not_(child.is_nan))
            conditions.append(compared)
        if clause is self._leading and child.row is not None:
            return self._scope.tables[0].c.id.in_(select(child.row).where(*conditions))
        return _exists(self._scope, child, *conditions, fenced=self._fenced)

    def indexed(self, clause: Clause) -> GenerativeSelect | None:
        """The rows that a clause is about, read off an index alone; None where there is none for it."""
        child, trigrams = clause.field.place, clause.field.trigrams
        if trigrams is not None and clause.operator in _LIKE:
            return trigrams.candidates(str(clause.value), exact=clause.operator == "LIKE")
        if not isinstance(child, Child) or child.row is None or child.key is None:
            return None
        value = child.value if child.head is None else child.head
        if child.head is not None and not (clause.operator in {"=", "IN"} and _is_short(clause.value)):
            return None
        if child.head is None and clause.operator not in {"=", "<", "<=", ">", ">="}:
            return None
        return select(child.row).where(child.key == clause.key, self._compare(value, clause.operator, clause.value))

    def _summed_up(
        self, clause: Clause, child: Child, conditions: Sequence[ColumnElement[bool]]
    ) -> ColumnElement[bool]:
        """A clause about MIN or MAX of a metric: points that are NaN do not count while there are others."""
        if clause.operator in {"IS NULL", "IS NOT NULL"}:
            logged = _exists(self._scope, child, *conditions)
            return not_(logged) if clause.operator == "IS NULL" else logged
        whole = select(child.value).select_from(child.source).where(child.link, *conditions)
        value = whole.correlate(*self._scope.tables).scalar_subquery()
        compared = func.coalesce(self._compare(value, clause.operator, clause.value), false())
        if clause.operator != "!=":
            return compared
        # As one NaN does, a history of nothing else differs from every number.
        return or_(compared, and_(value.is_(None), _exists(self._scope, child, *conditions)))

    def _compare(self, column: ColumnElement[Any], operator: str, value: CheckedValue) -> ColumnElement[bool]:
        if operator in {"IN", "NOT IN"}:
            listed = _among(column, _listed(value))
            return listed if operator == "IN" else not_(listed)
        if operator in _LIKE:
            return is_like(column, str(value), exact=operator == "LIKE", is_sqlite=self._dialect == "sqlite")
        compared: ColumnElement[bool] = _COMPARATORS[operator](column, bound(value))
        return compared


def _exists(scope: Scope, child: Child, *conditions: ColumnElement[bool], fenced: bool = False) -> ColumnElement[bool]:
    rows: Select[Any] = select(literal_column("1")).select_from(child.source).where(child.link, *conditions)
    return (rows.offset(literal_column("0")) if fenced else rows).correlate(*scope.tables).exists()


def _is_prompt_tag(clause: Clause) -> bool:
    return clause.field.entity == "tag" and clause.key == PROMPT_TAG


def _is_short(value: CheckedValue) -> bool:
    """Whether a text equals `value`, or one of them, just when its start does."""
    texts = value if isinstance(value, tuple) else (value,)
    return all(len(str(text)) < VALUE_HEAD_CHARS for text in texts)


def _listed(value: CheckedValue) -> tuple[str, ...] | tuple[int, ...]:
    return value if isinstance(value, tuple) else ()


def _among(column: ColumnElement[Any], values: tuple[str, ...] | tuple[int, ...]) -> ColumnElement[bool]:
    if all(isinstance(value, str) for value in values):
        return type_coerce(column, String).in_(values)
    # A number that the column cannot hold is in no row.
    held = [value for value in values if isinstance(value, int) and abs(value) <= MAX_WHOLE]
    return type_coerce(column, BigInteger).in_(held) if held else false()


def bound(value: CheckedValue) -> ColumnElement[Any]:
    """`value` as a parameter that either driver takes, whatever column it is compared with."""
    # The type is the value's, not the column's: a driver refuses 1.5 or 2**40 for an integer column.
    if isinstance(value, str):
        return literal(value, String)
    if isinstance(value, int) and abs(value) <= MAX_WHOLE:
        return literal(value, BigInteger)
    return literal(float(value) if isinstance(value, int | float) else value, Double)
