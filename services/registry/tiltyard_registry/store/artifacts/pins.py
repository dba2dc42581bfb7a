"""Files that versions are made of, which nobody may change."""

import json
from collections.abc import Collection, Sequence

from sqlalchemy import select

from tiltyard.errors import ResourceConflict
from tiltyard.storage import ArtifactStore, Entry
from tiltyard_registry.rules.access import SEE, Principal
from tiltyard_registry.store import access
from tiltyard_registry.store.artifacts.paths import directories_above, scope_of
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.engines import READ_TIMEOUT_S
from tiltyard_registry.store.sql.rowsets import pages
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.artifacts import files
from tiltyard_registry.tables.models import model_versions, registered_models

_PINNED = "SELECT 1 FROM model_versions WHERE pinned_prefix {} LIMIT 1"
_IN_SQLITE = _PINNED.format("IN (SELECT value FROM json_each(?))")
_IN_POSTGRESQL = _PINNED.format("= ANY($1::text[])")
_PIN = select(registered_models.c.name, model_versions.c.version).join_from(model_versions, registered_models)


async def remove_unpinned(database: Database, artifact_store: ArtifactStore, entries: Sequence[Entry]) -> list[Entry]:
    """Removes those of these files, at most 1,000, that no registered version pins, and gives the others."""
    by_scope: dict[str, list[Entry]] = {}
    for entry in entries:
        by_scope.setdefault(scope_of(entry.path) or entry.path, []).append(entry)
    kept: list[Entry] = []
    for scope, some in sorted(by_scope.items()):
        async with database.scopes.alone(scope):
            async with database.read() as session:
                free, pinned = await split_pinned(session, some)
            kept += pinned
            paths = [entry.path for entry in free]
            await artifact_store.delete_files(paths)
            # These go last: by them a collection that is cut off here knows the files that are left for its own.
            async with database.write() as session:
                await session.execute(files.delete().where(rowsets.among(session, files.c.path, paths)))
    return kept


async def split_pinned(session: Session, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The files that no registered version pins now, and those that one does."""
    paths = [entry.path for entry in entries]
    column, pins = model_versions.c.pinned_prefix, set[str]()
    for page in pages(sorted({*paths, *directories_above(paths)})):
        pins |= set((await session.execute(select(column).where(rowsets.among(session, column, page)))).scalars())
    free: list[Entry] = []
    kept: list[Entry] = []
    for entry in entries:
        (free if pins.isdisjoint({entry.path, *directories_above([entry.path])}) else kept).append(entry)
    return free, kept


async def is_pinned(database: Database, prefixes: Collection[str]) -> bool:
    """Whether a registered version pins any of `prefixes`, asked by one statement, for it is asked of each file.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    with unavailable_when_lost():
        if database.is_sqlite:
            asked = [json.dumps(sorted(prefixes))]
            return await database.sqlite(lambda found: bool(found.execute(_IN_SQLITE, asked).fetchone()), is_read=True)
        async with database.driver() as connection:
            return bool(await connection.fetchval(_IN_POSTGRESQL, list(prefixes), timeout=READ_TIMEOUT_S))


async def refuse_pinned(session: Session, who: Principal, path: str, prefixes: Collection[str]) -> None:
    """Passes if no registered version pins any of `prefixes`.

    Raises:
        ResourceConflict: one does; it is named to those who see it.
    """
    for page in pages(sorted(prefixes)):
        query = _PIN.where(rowsets.among(session, model_versions.c.pinned_prefix, page)).limit(1)
        if pin := await session.one(access.held(query, who, access.MODELS, SEE)):
            named = f"version {pin['version']} of registered model '{pin['name']}'"
            pinned_by = named if access.sees(who, pin) else "a registered version"
            raise ResourceConflict(f"Artifact '{path}' cannot be changed: {pinned_by} is made of it.")
