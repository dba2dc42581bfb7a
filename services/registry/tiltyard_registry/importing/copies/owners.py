"""Rows that others hang on, page by page: experiments, runs and logged models."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table, bindparam, func, select, update

from tiltyard.errors import TiltyardError
from tiltyard_registry.importing.copies.rows import Compared, Copied, Keys, Sides, compare, copy, filler, write
from tiltyard_registry.importing.source import MLflowDatabase, Snapshot, Values
from tiltyard_registry.rules.access import SYSTEM, Principal
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session

PAGE_OWNERS = 250

Door = Callable[[Session, Principal, str], Awaitable[object]]
"""Finds a row by its id, or raises."""


@dataclass(frozen=True)
class Owner:
    """A table whose rows have an id that is kept, and what hangs on them.

    `columns` maps our names to theirs, the id first. Children name their owner by our column `id`. `place` is the
    column that says where its files are. `door` finds one as a request does: of every row when `each`, else of one
    of a page.
    """

    noun: str
    theirs: str
    ours: Table
    id: str
    columns: Mapping[str, str]
    convert: Callable[[Values], Values]
    children: tuple[Copied, ...]
    place: str
    door: Door
    each: bool = False
    renumbered: Mapping[Any, Any] = field(default_factory=dict)
    """Ids there, by ids here, where they differ."""

    @property
    def key(self) -> str:
        """Our column with the id that is kept."""
        return next(iter(self.columns))

    async def pages(self, source: MLflowDatabase) -> AsyncIterator[list[Values]]:
        """Every row, as our table has it, by id."""
        if not source.has(self.theirs):
            return
        table, filled = source.table(self.theirs), filler(self.ours, tuple(self.columns))
        key = table.c[self.columns[self.key]]
        query = source.select(table, tuple(self.columns.values())).order_by(key).limit(PAGE_OWNERS)
        rows = await source.all(query)
        while rows:
            yield [self.convert(filled(row)) for row in rows]
            rows = await source.all(query.where(key > rows[-1][0]))

    async def count(self, source: MLflowDatabase) -> int:
        """How many there are."""
        if not source.has(self.theirs):
            return 0
        table = source.table(self.theirs)
        statement = select(func.count()).select_from(table).where(source.within(table))
        return int(await source.scalar(statement))

    async def copy(self, source: MLflowDatabase, database: Database, done: Callable[[int], None]) -> None:
        """Writes the rows and all that hangs on them. `done` is told how many, page by page."""
        async for rows in self.pages(source):
            async with database.write() as session:
                await self._write(session, rows)
            async with database.read() as session:
                owners = await self._keys(session, rows)
            for child in self.children:
                await copy(child, source, database, owners)
            done(len(rows))

    async def compare(
        self, source: MLflowDatabase, ours: Snapshot, database: Database, compared: Mapping[str, Compared]
    ) -> list[str]:
        """Counts the rows and all that hangs on them on both sides; gives those that no request finds."""
        columns = [self.ours.c[name] for name in self.columns]
        unreachable = []
        async with database.read() as session:
            async for rows in self.pages(source):
                compared[self.noun].there.add(rows)
                among = rowsets.among(session, self.ours.c[self.key], [row[0] for row in rows])
                compared[self.noun].here.add(await ours.all(select(*columns).where(among)))
                owners = await self._keys(session, rows)
                for child in self.children:
                    await compare(child, Sides(source, session), ours, owners, compared[child.noun])
                for row in rows if self.each else rows[:1]:
                    try:
                        await self.door(session, SYSTEM, str(row[0]))
                    except TiltyardError:
                        unreachable.append(f"{self.noun}: {row[0]}")
        return unreachable

    async def _write(self, session: Session, rows: Sequence[Values]) -> None:
        names = tuple(self.columns)
        here = select(*(self.ours.c[name] for name in names)).where(
            rowsets.among(session, self.ours.c[self.key], [row[0] for row in rows])
        )
        known = {row[self.key]: tuple(row.values()) for row in await session.all(here)}
        await write(session, self.ours, names, [row for row in rows if row[0] not in known])
        changed = [row for row in rows if row[0] in known and known[row[0]] != row]
        if changed:
            statement = (
                update(self.ours)
                .where(self.ours.c[self.key] == bindparam("its_key"))
                .values({name: bindparam(f"new_{name}") for name in names[1:]})
            )
            parameters: list[dict[str, Any]] = [
                {"its_key": row[0], **{f"new_{name}": value for name, value in zip(names[1:], row[1:], strict=True)}}
                for row in changed
            ]
            await session.execute(statement, parameters)

    async def _keys(self, session: Session, rows: Sequence[Values]) -> Keys:
        kept = [row[0] for row in rows]
        if self.id == self.key:
            return {self.renumbered.get(key, key): key for key in kept}
        query = select(self.ours.c[self.key], self.ours.c[self.id])
        found = await session.all(query.where(rowsets.among(session, self.ours.c[self.key], kept)))
        return {row[self.key]: row[self.id] for row in found}
