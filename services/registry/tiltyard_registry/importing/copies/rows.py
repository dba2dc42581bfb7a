"""Rows that hang on an owner, copied as they are: params below a run, aliases below a model.

What is read from the MLflow server is put into the words of our tables at once, so that the same tuples are
written and, at the end, compared with what our database gives back.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Select, String, Table, func, select

from tiltyard_registry.importing.source import MLflowDatabase, Snapshot, Values
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session

Keys = Mapping[Any, Any]
"""What owners are called there, to what their rows are called here."""

_CHECKSUM_BYTES = 8


class Sides(NamedTuple):
    """The MLflow server's database, and a session of ours to look ids up in."""

    there: MLflowDatabase
    here: Session


@dataclass(slots=True)
class Tally:
    """How many rows there are, and a checksum over them in whatever order they come."""

    rows: int = 0
    checksum: int = 0

    def add(self, rows: Sequence[Values]) -> None:
        """Counts rows in."""
        encode = msgspec.msgpack.encode
        self.rows += len(rows)
        for row in rows:
            digest = blake2b(encode(row), digest_size=_CHECKSUM_BYTES).digest()
            self.checksum = (self.checksum + int.from_bytes(digest)) % (1 << 8 * _CHECKSUM_BYTES)


@dataclass(slots=True)
class Compared:
    """One noun on both sides."""

    noun: str
    there: Tally = field(default_factory=Tally)
    here: Tally = field(default_factory=Tally)

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same."""
        return self.there == self.here


@dataclass(frozen=True)
class Copied:
    """A table that is copied column by column.

    `columns` maps our names to theirs. `which` narrows their rows; `convert` says a row differently. Of `endless`
    tables an owner's rows are only added to, so that he has them all as soon as he has as many.
    """

    noun: str
    theirs: str
    their_owner: str
    ours: Table
    owner: str
    columns: Mapping[str, str]
    which: Callable[[MLflowDatabase, Any], ColumnElement[bool]] | None = None
    convert: Callable[[Values], Values] | None = None
    endless: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Our columns, the owner's first."""
        return (self.owner, *self.columns)

    async def read(self, sides: Sides, owners: Keys) -> AsyncIterator[list[Values]]:
        """The rows below these owners, as our table has them."""
        if not sides.there.has(self.theirs):
            return
        filled = filler(self.ours, tuple(self.columns))
        async for chunk in sides.there.stream(self.statement(sides.there, owners)):
            rows = [(owners[owner], *filled(values)) for owner, *values in chunk]
            yield [self.convert(row) for row in rows] if self.convert else rows

    def statement(self, source: MLflowDatabase, owners: Keys) -> Select[Any]:
        """What is read there: the owner and the columns."""
        table = source.table(self.theirs)
        statement = source.select(table, (self.their_owner, *self.columns.values()))
        statement = statement.where(table.c[self.their_owner].in_(list(owners)))
        return statement if self.which is None else statement.where(self.which(source, table))

    async def write(self, session: Session, rows: Sequence[Values]) -> None:
        """Writes rows; one that is here already takes the new values."""
        await write(session, self.ours, self.names, rows)

    async def unfinished(self, sides: Sides, owners: Keys) -> Keys:
        """All owners; of an endless table those who have another number of rows there than here."""
        if not self.endless or not sides.there.has(self.theirs):
            return owners
        table, ours = sides.there.table(self.theirs), self.ours.c[self.owner]
        their = table.c[self.their_owner]
        there = await sides.there.all(select(their, func.count()).where(their.in_(list(owners))).group_by(their))
        among = rowsets.among(sides.here, ours, list(owners.values()))
        here = await sides.here.all(select(ours, func.count().label("rows")).where(among).group_by(ours))
        have = {row[self.owner]: row["rows"] for row in here}
        return {key: owners[key] for key, rows in there if have.get(owners[key]) != rows}


def filler(ours: Table, names: Sequence[str]) -> Callable[[Sequence[Any]], Values]:
    """A function that makes values fit our columns: no null where none may be, no NUL character in a text."""
    empty = tuple(
        None if ours.c[name].nullable else "" if isinstance(ours.c[name].type, String) else 0 for name in names
    )

    def filled(values: Sequence[Any]) -> Values:
        return tuple(
            instead if value is None else value.replace("\x00", "\ufffd") if isinstance(value, str) else value
            for value, instead in zip(values, empty, strict=True)
        )

    return filled


async def copy(child: Copied, source: MLflowDatabase, database: Database, owners: Keys) -> None:
    """Writes what is below these owners there; what is here already takes the values from there."""
    async with database.read() as session:
        sides = Sides(source, session)
        async for rows in child.read(sides, await child.unfinished(sides, owners)):
            async with database.write() as writing:
                await child.write(writing, rows)


async def write(session: Session, table: Table, names: Sequence[str], rows: Sequence[Values]) -> None:
    """Writes rows whose keys differ."""
    if not rows:
        return
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    only_keys = {column.name for column in table.primary_key} >= set(names)
    await (rowsets.insert_missing if only_keys else rowsets.overwrite)(session, table, columns)


async def compare(child: Copied, sides: Sides, ours: Snapshot, owners: Keys, compared: Compared) -> None:
    """Counts what is below these owners on both sides."""
    async for rows in child.read(sides, owners):
        compared.there.add(rows)
    columns = [child.ours.c[name] for name in child.names]
    among = rowsets.among(sides.here, child.ours.c[child.owner], list(owners.values()))
    async for rows in ours.stream(select(*columns).where(among)):
        compared.here.add(rows)
