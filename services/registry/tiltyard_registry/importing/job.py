"""The import: what is in the way, what is written in which order, and whether both sides hold the same at the end."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from tiltyard.errors import BadRequest
from tiltyard_registry.importing import conflicts
from tiltyard_registry.importing.copies import entities, files, registered_models
from tiltyard_registry.importing.copies.files import Files
from tiltyard_registry.importing.copies.owners import Owner
from tiltyard_registry.importing.copies.registered_models import IMPORTER, RegisteredModels
from tiltyard_registry.importing.copies.rows import Compared
from tiltyard_registry.importing.copies.versions import Versions
from tiltyard_registry.importing.default_experiment import NewDefault, new_default
from tiltyard_registry.importing.fitting import Fitted, check_fit
from tiltyard_registry.importing.locations import Locations, locations
from tiltyard_registry.importing.names import renamed
from tiltyard_registry.importing.places import elsewhere, missing_logged_models, old_roots, runs_say_of_files
from tiltyard_registry.importing.report import Report
from tiltyard_registry.importing.source import DEFAULT_WORKSPACE, MLflowDatabase, open_mlflow, open_ours
from tiltyard_registry.store.experiments import experiments
from tiltyard_registry.store.migrations import is_current
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.models import registered_models as our_models

Tell = Callable[[str], None]
"""What is told as the import goes on, a line at a time."""

_TELL_EVERY_S = 1.0

# Tables with rows that have no place here, and what they hold.
_LEFT_OUT = {
    "trace_info": "traces",
    "assessments": "assessments",
    "evaluation_datasets": "evaluation datasets",
    "scorers": "scorers",
    "webhooks": "webhooks",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What to import, and into which registry."""

    source_url: str
    database_url: str
    artifact_root: str
    artifacts: str | None = None
    old_roots: tuple[str, ...] = ()
    workspace: str = DEFAULT_WORKSPACE
    default_as: str | None = None
    """What their experiment 0 is called here, when it shall not become ours."""


class Import:
    """One MLflow server moving in. `look` writes nothing; `run` writes, and compares at the end."""

    def __init__(
        self,
        source: MLflowDatabase,
        database: Database,
        where: Locations,
        names: Mapping[str, str],
        default: NewDefault | None,
        tell: Tell,
    ) -> None:
        self._source = source
        self._database = database
        self._where = where
        self._tell = tell
        self._owners: tuple[Owner, ...] = (
            entities.experiments(where, default),
            entities.runs(where, default),
            entities.logged_models(where, names, default),
        )
        self._files = Files(where.theirs.store, where.ours.store) if where.theirs else None
        self._versions = Versions(where)
        self._models = RegisteredModels(names, self._versions)
        self.report = Report(renamed={there: here for there, here in names.items() if there != here})

    async def look(self) -> None:
        """Counts what `run` would copy, once it is known that nothing is in the way."""
        if await _has_schema(self._database):
            await self._check()
        await self._look_for_what_stays()
        for owner in self._owners:
            self._compared(owner.noun).there.rows = await owner.count(self._source)
        await self._look_for_places()
        self._compared(registered_models.NOUN).there.rows = sum(
            [len(page) async for page in self._models.pages(self._source)]
        )
        if self._files is not None:
            self._compared(files.NOUN).there.rows = sum([len(page) async for page in self._files.pages()])
            self._say_of_files(self._files)

    async def run(self, ours_url: str) -> None:
        """Copies everything, and compares both sides."""
        if not await _has_schema(self._database):
            raise BadRequest("The database's schema is not up to date: bring it there with `tiltyard migrate` first.")
        await self._check()
        await self._look_for_what_stays()
        for owner in self._owners:
            with self._counted(owner.noun) as done:
                await owner.copy(self._source, self._database, done)
        async with self._database.write() as session:
            await experiments.free_new_ids(session)
        if self._files is not None:
            with self._counted(files.NOUN) as done:
                await self._files.copy(self._database, IMPORTER, done)
        with self._counted(registered_models.NOUN) as done:
            await self._models.copy(self._source, self._database, done)
        self.report.versions_with_files = self._versions.with_files
        self.report.versions_without_files = self._versions.without_files
        await self._compare(ours_url)
        await self._look_for_places()
        if self._files is not None:
            self._say_of_files(self._files)
            self.report.missing_models += self._versions.missing
            self.report.missing_models += await missing_logged_models(self._source, self._owners[2], self._where)

    async def _check(self) -> None:
        tables = entities.fitted(self._owners, registered_models.CHILDREN)
        tables.append(Fitted("registered_models", our_models, registered_models.COLUMNS))
        await check_fit(self._source, tables)
        await conflicts.check(self._source, self._database, self._owners[0], self._models)

    async def _look_for_places(self) -> None:
        """Which rows lead to files that this registry does not keep."""
        self.report.elsewhere = [await elsewhere(self._source, owner, self._where) for owner in self._owners]
        self.report.rehomed = len(self._where.rehomed)
        self.report.says_of_files = await runs_say_of_files(self._source)
        self.report.old_roots = await old_roots(self.report.elsewhere, self._where)

    def _say_of_files(self, found: Files) -> None:
        self.report.refused_files = {**self._where.left_out, **found.refused}
        self.report.failed_files = found.failed
        rows = {compared.noun: compared.there.rows for compared in self.report.compared}
        owned = any(rows.get(owner.noun) for owner in self._owners[1:])
        self.report.no_files = owned and not rows.get(files.NOUN) and not self.report.refused_files

    async def _look_for_what_stays(self) -> None:
        self.report.other_workspaces = await self._source.other_workspaces()
        for name, noun in _LEFT_OUT.items():
            if self._source.has(name):
                count = select(func.count()).select_from(self._source.table(name))
                self.report.left_out[noun] = await self._source.scalar(count)

    async def _compare(self, ours_url: str) -> None:
        self._tell("comparing both sides")
        async with open_ours(ours_url) as ours:
            for owner in self._owners:
                compared = {noun: self._compared(noun) for noun in (owner.noun, *(c.noun for c in owner.children))}
                self.report.unreachable += await owner.compare(self._source, ours, self._database, compared)
            nouns_of_models = (registered_models.NOUN, *(child.noun for child in registered_models.CHILDREN))
            compared = {noun: self._compared(noun) for noun in nouns_of_models}
            self.report.unreachable += await self._models.compare(self._source, ours, self._database, compared)
        if self._files is not None:
            await self._files.compare(self._database, self._compared(files.NOUN))

    def _compared(self, noun: str) -> Compared:
        self.report.compared.append(compared := Compared(noun))
        return compared

    @contextmanager
    def _counted(self, noun: str) -> Iterator[Callable[[int], None]]:
        """Tells how many there are by now, once in a while and at the end."""
        total, told, told_at = 0, -1, -math.inf

        def tell() -> None:
            nonlocal told, told_at
            told, told_at = total, time.monotonic()
            self._tell(f"{noun}: {total}")

        def done(count: int) -> None:
            nonlocal total
            total += count
            if time.monotonic() > told_at + _TELL_EVERY_S:
                tell()

        yield done
        if told not in (-1, total):
            tell()


async def run(request: Request, tell: Tell, *, dry_run: bool = False) -> Report:
    """Imports, or with `dry_run` only looks.

    Raises:
        InvalidParameterValue: the source or a root cannot be read, or a value does not fit; nothing was written.
        BadRequest: our database has no schema, or an old one.
        ResourceConflict: rows here are in the way; nothing was written.
        TemporarilyUnavailable: our database does not answer.
    """
    where = locations(request.artifact_root, request.artifacts, old_roots=request.old_roots, read_only=dry_run)
    async with open_mlflow(request.source_url, workspace=request.workspace) as source:
        database = Database(request.database_url)
        try:
            rows = await source.all(source.select(source.table("registered_models"), ["name"]))
            default = None
            if request.default_as is not None:
                here = database if await _has_schema(database) else None
                default = await new_default(source, here, request.default_as)
            moving = Import(source, database, where, renamed([row[0] for row in rows]), default, tell)
            await (moving.look() if dry_run else moving.run(request.database_url))
        finally:
            await database.close()
    return moving.report


async def _has_schema(database: Database) -> bool:
    """Whether our database is there with its tables. A SQLite file that is missing is not made."""
    if database.is_sqlite and not await asyncio.to_thread(Path(database.url.database or "").is_file):
        return False
    async with database.read() as session:
        return await is_current(session)
