"""What a searchable attribute is, and what a scope of them is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, FromClause, Table

from tiltyard_registry.search.trigrams import Trigrams


class Kind(Enum):
    """What a field's values are, and how a filter writes them."""

    TEXT = "a quoted string"
    NAME = "a quoted whole number, for it is a name and not a quantity"
    WHOLE = "a whole number"
    COUNT = "a whole number, bare or quoted"
    NUMBER = "a number"


class Child(NamedTuple):
    """Where a value hangs below the searched row.

    `link` ties a child row to its parent; `key` is the column of the name (None: the name is fixed by `link`);
    `is_nan` is the flag that stands for NaN; `recency` puts the newest of several points first. `is_summed_up`
    says that `value` is an aggregate over all points, null when each of them is NaN. `head` is the start of a text
    `value`, where there is an index of it. `row` is the column that holds the parent's id, where an index leads from a
    key and a value, or its `head`, to it.
    """

    source: FromClause
    link: ColumnElement[bool]
    value: ColumnElement[Any]
    key: ColumnElement[Any] | None = None
    is_nan: ColumnElement[bool] | None = None
    recency: tuple[ColumnElement[Any], ...] = ()
    is_summed_up: bool = False
    head: ColumnElement[str] | None = None
    row: Column[Any] | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One attribute: how it is written, what it holds, which operators it takes, where it is stored."""

    entity: str
    key: str | None  # None: whatever key the entity has
    kind: Kind
    operators: tuple[str, ...]  # none: it is there for sorting
    place: ColumnElement[Any] | Child
    aliases: tuple[str, ...] = ()
    orderable: bool = True
    # The wire shows null as empty text, and a filter sees what the wire shows.
    null_is_empty: bool = False
    # What the stored values start with, and callers may leave out.
    prefix: str = ""
    # What callers may put before a stored value.
    qualifier: str = ""
    # What MIN and MAX of it mean.
    functions: Mapping[str, Child] = field(default_factory=dict, compare=False)
    # Where there is an index of what a text is like.
    trigrams: Trigrams | None = None


class Sort(NamedTuple):
    """A key of an attribute, and its direction."""

    key: str
    ascending: bool


@dataclass(frozen=True, slots=True, eq=False)  # there is one of each
class Scope:
    """One noun that is searched."""

    name: str
    # What the searching statement selects from.
    tables: tuple[Table, ...]
    # Every spelling of an entity, and the one it collapses to.
    entities: Mapping[str, str]
    fields: tuple[Field, ...]
    # The order when the caller asks for none.
    default_order: tuple[Sort, ...]
    # Put behind every order, unless the key is in it already.
    tie_break: tuple[Sort, ...]
    # How many are found at once when nobody says, and the most that may be asked for.
    default_page: int
    max_page: int
    # The tag that marks a prompt: prompts live among the models, and are no models to a search.
    prompts: Child | None = None

    def find(self, entity: str, key: str) -> Field | None:
        """The field that `entity.key` names, or None."""
        named = (one for one in self.fields if one.entity == entity)
        return next((f for f in named if f.key is None or f.key == key or key in f.aliases), None)
