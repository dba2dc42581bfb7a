"""Purging: the files of one thing, then its rows, in transactions that are over in milliseconds."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, tuple_

from tiltyard.storage import Entry
from tiltyard_registry.gc.entities import EXPERIMENTS, LOGGED_MODELS, RUNS, Entity, mark
from tiltyard_registry.gc.layout import of_experiment
from tiltyard_registry.gc.report import Amount, Report
from tiltyard_registry.rules.access import Kind
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.artifacts.listings import in_pages
from tiltyard_registry.store.artifacts.paths import directories_above
from tiltyard_registry.store.artifacts.pins import remove_unpinned, split_pinned
from tiltyard_registry.store.principals.grants import forget_grants
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Found
from tiltyard_registry.tables.experiments import experiments
from tiltyard_registry.tables.runs import datasets

BATCH = 50
FILES_AT_ONCE = 100
POINTS_AT_ONCE = 5_000
DATASETS_AT_ONCE = 50


class Purge:
    """One collection's removals, counted in `report`. With a dry report nothing is changed."""

    def __init__(self, database: Database, artifacts: ArtifactRoot, report: Report) -> None:
        self._database = database
        self._artifacts = artifacts
        self._report = report
        self._counted: set[tuple[str, Any]] = set()
        self._trees: set[str] = set()

    async def runs(self, where: ColumnElement[bool]) -> None:
        """Runs that meet the condition, and those begun before."""
        async for run in self._each(RUNS, where):
            await self._files_of(run["uri"], run["name"], f"{run['name']}/artifacts")
            self._report.runs += 1

    async def logged_models(self, where: ColumnElement[bool]) -> None:
        """Logged models that meet the condition, and those begun before."""
        async for model in self._each(LOGGED_MODELS, where):
            await self._files_of(model["uri"], model["name"], f"{model['name']}/artifacts")
            self._report.logged_models += 1

    async def experiments(self, where: ColumnElement[bool]) -> None:
        """Experiments that meet the condition, and those begun before, with all that is in them."""
        async for experiment in self._each(EXPERIMENTS, where):
            number = experiment["key"]
            await self.runs(RUNS.table.c.experiment_id == number)
            await self.logged_models(LOGGED_MODELS.table.c.experiment_id == number)
            if await self._is_alone(experiment):
                await self._leftovers(number, self._artifacts.prefix_of(experiment["uri"]) or "")
            await self._datasets(number)
            if not self._report.dry_run:
                async with self._database.write() as session:
                    await forget_grants(session, Kind.EXPERIMENT, [number])
            self._report.experiments += 1

    async def tree(self, prefix: str, counted: Amount) -> None:
        """Removes what lies below `prefix`, which the registry chose, and is not pinned; of the root nothing."""
        async for page in in_pages(self._files_below(prefix), FILES_AT_ONCE):
            await self._remove(page, counted)
        self._trees.add(prefix)

    async def _leftovers(self, number: int, home: str) -> None:
        """Removes what is left of an experiment in its home, and leaves alone what never was of it."""
        async for page in in_pages(self._files_below(home), FILES_AT_ONCE):
            async with self._database.read() as session:
                own = await of_experiment(session, number, home, page)
            await self._remove(own, self._report.purged)
            stay = {entry.path for entry in own}
            for entry in page:
                if entry.path not in stay:
                    self._report.foreign.add(entry.size_bytes)

    async def _files_below(self, prefix: str) -> AsyncIterator[Entry]:
        if prefix:
            async for entry in self._artifacts.store.list(prefix, recursive=True):
                # What stayed of a run, or would go with it, is counted there and not with its experiment.
                if self._trees.isdisjoint(directories_above([entry.path])):
                    yield entry

    async def _remove(self, page: list[Entry], counted: Amount) -> None:
        if self._report.dry_run:
            async with self._database.read() as session:
                _, kept = await split_pinned(session, page)
        else:
            kept = await remove_unpinned(self._database, self._artifacts.store, page)
        stay = {entry.path for entry in kept}
        for entry in page:
            (self._report.pinned if entry.path in stay else counted).add(entry.size_bytes)

    async def _each(self, noun: Entity, where: ColumnElement[bool]) -> AsyncIterator[Found]:
        """Each row once. When the caller asks for the next, the rows of the last are removed."""
        if self._report.dry_run:
            async for row in self._pages(noun, or_(where, noun.is_purging)):
                yield row
            return
        while True:
            async with self._database.write() as session:
                await mark(session, noun, where, BATCH)
                begun = await session.all(_rows(noun, noun.is_purging))
            if not begun:
                return
            for row in begun:
                yield row
                await self._points(noun, row["key"])
            keys = [row["key"] for row in begun]
            async with self._database.write() as session:
                await session.execute(delete(noun.table).where(rowsets.among(session, noun.key, keys), noun.is_purging))

    async def _pages(self, noun: Entity, where: ColumnElement[bool]) -> AsyncIterator[Found]:
        last: Any = None
        while True:
            after = _rows(noun, where) if last is None else _rows(noun, where).where(noun.key > last)
            async with self._database.read() as session:
                page = await session.all(after)
            for row in page:
                if (noun.title, row["key"]) not in self._counted:
                    self._counted.add((noun.title, row["key"]))
                    yield row
            if len(page) < BATCH:
                return
            last = page[-1]["key"]

    async def _files_of(self, uri: str, name: str, end: str) -> None:
        prefix = self._artifacts.prefix_of(uri)
        # Who keeps its files under another's name has not got them from us, so they are not ours to remove.
        if prefix is None or not f"/{prefix}".endswith(f"/{end}"):
            self._report.elsewhere += 1
            return
        await self.tree(prefix[: len(prefix) - len(end)] + name, self._report.purged)

    async def _points(self, noun: Entity, key: Any) -> None:
        """Removes the points of one row, some at a time, so that the removal of the row itself is short."""
        if not noun.points:
            return
        owner, *order = noun.points
        bounds = select(*order).where(owner == key).order_by(*order).offset(POINTS_AT_ONCE).limit(1)
        while True:
            async with self._database.write() as session:
                bound = (await session.execute(bounds)).first()
                some = delete(owner.table).where(owner == key)
                await session.execute(some if bound is None else some.where(tuple_(*order) <= tuple(bound)))
                if bound is None:
                    return

    async def _is_alone(self, experiment: Found) -> bool:
        """Whether no other experiment keeps anything where this one does."""
        prefix = self._artifacts.prefix_of(experiment["uri"])
        async with self._database.read() as session:
            others = await session.all(
                select(experiments.c.artifact_location).where(experiments.c.experiment_id != experiment["key"])
            )
        places = (self._artifacts.prefix_of(row["artifact_location"]) for row in others)
        return bool(prefix) and not any(_meet(str(prefix), place) for place in places if place is not None)

    async def _datasets(self, number: int) -> None:
        some = select(datasets.c.id).where(datasets.c.experiment_id == number).limit(DATASETS_AT_ONCE)
        gone = 0 if self._report.dry_run else DATASETS_AT_ONCE
        while gone == DATASETS_AT_ONCE:
            async with self._database.write() as session:
                statement = delete(datasets).where(datasets.c.id.in_(some)).returning(datasets.c.id)
                gone = len((await session.execute(statement)).all())


def _rows(noun: Entity, where: ColumnElement[bool]) -> Any:
    columns = noun.key.label("key"), noun.name.label("name"), noun.uri.label("uri")
    return select(*columns).where(where).order_by(noun.key).limit(BATCH)


def _meet(one: str, other: str) -> bool:
    """Whether one directory is the other, or lies below it; the root, which is empty, is above all."""
    first, second = (f"{path}/" if path else "" for path in (one, other))
    return first.startswith(second) or second.startswith(first)
