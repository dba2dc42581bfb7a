"""The import: what is in the way, what is written in which order, and whether both sides hold the same at the end."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from tiltyard.errors import BadRequest
from tiltyard_registry.importing import conflicts, files, nouns, registered_models
from tiltyard_registry.importing.files import Files
from tiltyard_registry.importing.locations import Locations, locations
from tiltyard_registry.importing.names import renamed
from tiltyard_registry.importing.owners import Owner
from tiltyard_registry.importing.registered_models import IMPORTER, RegisteredModels
from tiltyard_registry.importing.rows import Compared
from tiltyard_registry.importing.source import DEFAULT_WORKSPACE, MLflowDatabase, open_mlflow, open_ours
from tiltyard_registry.importing.versions import Versions
from tiltyard_registry.store import experiments
from tiltyard_registry.store.migrations import is_current
from tiltyard_registry.store.session import Database

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
    workspace: str = DEFAULT_WORKSPACE


@dataclass(slots=True)
class Report:
    """What came of an import, noun by noun. `renamed` are the models that could not keep their names."""

    compared: list[Compared] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    other_workspaces: list[str] = field(default_factory=list)
    refused_files: dict[str, str] = field(default_factory=dict)
    versions_with_files: int = 0
    versions_without_files: int = 0

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same of everything."""
        return all(compared.equal for compared in self.compared)


class Import:
    """One MLflow server moving in. `look` writes nothing; `run` writes, and compares at the end."""

    def __init__(
        self, source: MLflowDatabase, database: Database, where: Locations, names: Mapping[str, str], tell: Tell
    ) -> None:
        self._source = source
        self._database = database
        self._tell = tell
        self._owners: tuple[Owner, ...] = (
            nouns.experiments(where),
            nouns.runs(where),
            nouns.logged_models(where, names),
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
        self._compared(registered_models.NOUN).there.rows = sum(
            [len(page) async for page in self._models.pages(self._source)]
        )
        if self._files is not None:
            self._compared(files.NOUN).there.rows = sum([len(page) async for page in self._files.pages()])

    async def run(self, ours_url: str) -> None:
        """Copies everything, and compares both sides."""
        if not await _has_schema(self._database):
            raise BadRequest("The database's schema is not up to date: bring it there with `tiltyard migrate` first.")
        await self._check()
        await self._look_for_what_stays()
        for owner in self._owners:
            await owner.copy(self._source, self._database, self._counter(owner.noun))
        async with self._database.write() as session:
            await experiments.free_new_ids(session)
        if self._files is not None:
            await self._files.copy(self._database, IMPORTER, self._counter(files.NOUN))
            self.report.refused_files = self._files.refused
        await self._models.copy(self._source, self._database, self._counter(registered_models.NOUN))
        self.report.versions_with_files = self._versions.with_files
        self.report.versions_without_files = self._versions.without_files
        await self._compare(ours_url)

    async def _check(self) -> None:
        await conflicts.check(self._source, self._database, self._owners[0], self._models)

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
                await owner.compare(self._source, ours, self._database, compared)
            nouns_of_models = (registered_models.NOUN, *(child.noun for child in registered_models.CHILDREN))
            compared = {noun: self._compared(noun) for noun in nouns_of_models}
            await self._models.compare(self._source, ours, self._database, compared)
        if self._files is not None:
            await self._files.compare(self._database, self._compared(files.NOUN))

    def _compared(self, noun: str) -> Compared:
        self.report.compared.append(compared := Compared(noun))
        return compared

    def _counter(self, noun: str) -> Callable[[int], None]:
        total, told_at = 0, -math.inf

        def done(count: int) -> None:
            nonlocal total, told_at
            total += count
            if time.monotonic() > told_at + _TELL_EVERY_S:
                told_at = time.monotonic()
                self._tell(f"{noun}: {total}")

        return done


async def run(request: Request, tell: Tell, *, dry_run: bool = False) -> Report:
    """Imports, or with `dry_run` only looks.

    Raises:
        InvalidParameterValue: the source or a root cannot be read.
        BadRequest: our database has no schema, or an old one.
        ResourceConflict: rows here are in the way; nothing was written.
        TemporarilyUnavailable: our database does not answer.
    """
    where = locations(request.artifact_root, request.artifacts, read_only=dry_run)
    async with open_mlflow(request.source_url, workspace=request.workspace) as source:
        database = Database(request.database_url)
        try:
            rows = await source.all(source.select(source.table("registered_models"), ["name"]))
            moving = Import(source, database, where, renamed([row[0] for row in rows]), tell)
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
