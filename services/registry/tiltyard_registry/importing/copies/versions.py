"""Versions of models: pinned and frozen when their files are in our store, else recorded as external."""

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import insert, select, update

from tiltyard.errors import ResourceConflict
from tiltyard.storage import Entry
from tiltyard.uri import LoggedModelUri, RunUri
from tiltyard.version_status import READY
from tiltyard_registry.importing.copies.entities import VERSIONS
from tiltyard_registry.importing.copies.rows import Sides
from tiltyard_registry.importing.locations import Locations, named_by
from tiltyard_registry.importing.source import MLflowDatabase
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.events import VersionImported, changed
from tiltyard_registry.store.artifacts import hashes, manifests, paths
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.models.version_rows import is_version
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Row, Session
from tiltyard_registry.tables.experiments import logged_models
from tiltyard_registry.tables.models import model_versions
from tiltyard_registry.tables.runs import runs

_version = model_versions.c


class FoundVersion(NamedTuple):
    """A version as it is there, and where its files are: in our words, as a path below our root, and one by one."""

    said: Row
    location: str
    prefix: str | None
    entries: Sequence[Entry] = ()


class Versions:
    """The versions of an MLflow server. `without_files` counts those that had to be recorded as external.

    `missing` names those among them whose place is below our root, and holds nothing.
    """

    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        self._store = locations.ours.store
        self.with_files = 0
        self.without_files = 0
        self.missing: list[str] = []

    async def found(self, source: MLflowDatabase, database: Database, name: str) -> list[FoundVersion]:
        """The versions of a model, their files hashed where that was not done on the way in."""
        table = source.table("model_versions")
        more = source.select(table, ("version", "storage_location", "status")).where(table.c.name == name)
        beside = {version: (location, status) for version, location, status in await source.all(more)}
        found = []
        async with database.read() as session:
            async for rows in VERSIONS.read(Sides(source, session), {name: name}):
                for row in rows:
                    said = dict(zip(VERSIONS.names[1:], row[1:], strict=True))
                    location, status = beside[said["version"]]
                    said["status"] = status or READY
                    found.append(await self._located(session, said, location))
        listed = [await self._listed(database, version) for version in found]
        return sorted(listed, key=lambda version: int(version.said["version"]))

    async def write(self, session: Session, who: Principal, model: Row, found: Sequence[FoundVersion]) -> None:
        """Writes the versions of a model, in the transaction that holds it."""
        of_model = select(model_versions).where(_version.registered_model_id == model["id"])
        here = {row["version"]: row for row in await session.all(of_model)}
        for version in found:
            row = here.get(version.said["version"])
            contents = await self._contents(session, version)
            self.with_files += not contents["external"]
            self.without_files += contents["external"]
            if contents["external"] and version.prefix is not None:
                self.missing.append(f"version {version.said['version']} of registered model '{model['name']}'")
            if row is None:
                await self._insert(session, who, model, version, contents)
                continue
            if change := changed(row, version.said | contents):
                await session.execute(update(model_versions).where(is_version(row)).values(**change[1]))
                outbox.record(session, who, VersionImported(*change, row["version"]), model=model)

    async def _insert(self, session: Session, who: Principal, model: Row, version: FoundVersion, contents: Row) -> None:
        values = {
            **version.said,
            **contents,
            "registered_model_id": model["id"],
            "uuid": str(uuid.uuid4()),
            "updated_by": who.name,
        }
        await session.execute(insert(model_versions).values(values))
        after = {name: value for name, value in (version.said | contents).items() if value is not None}
        outbox.record(session, who, VersionImported(None, after, version.said["version"]), model=model)

    async def _located(self, session: Session, said: Row, storage_location: str | None) -> FoundVersion:
        location = await self._location(session, str(said["source"]), storage_location)
        prefix = self._locations.ours.prefix_of(location) or None
        # Above the directory of one run or one model lie the files of many.
        one_model = prefix is not None and paths.scope_of(prefix) is not None
        return FoundVersion(said, location, prefix if one_model else None)

    async def _location(self, session: Session, source: str, storage_location: str | None) -> str:
        if storage_location:
            return self._locations.here(storage_location)
        uri, root = named_by(source), None
        if isinstance(uri, LoggedModelUri):
            owner = logged_models.c.model_id == uri.model_id
            root = await session.scalar(select(logged_models.c.artifact_uri).where(owner))
        elif uri is not None:
            root = await session.scalar(select(runs.c.artifact_uri).where(runs.c.run_id == uri.run_id))
        if root is None:
            return self._locations.here(source)
        return f"{str(root).rstrip('/')}/{uri.path}" if isinstance(uri, RunUri) else str(root)

    async def check(self, database: Database, found: Sequence[FoundVersion]) -> None:
        """Looks again at the files of versions that are written by now, and thereby pinned.

        Raises:
            ResourceConflict: one was changed between the look and the pin.
        """
        for version in found:
            if version.prefix is not None and version.entries:
                # Whoever was changing something there is done when the scope is free.
                async with database.scopes.alone(paths.scope_of(version.prefix) or version.prefix):
                    entries = [entry async for entry in self._store.list(version.prefix, recursive=True)]
                if set(entries) != set(version.entries):
                    raise ResourceConflict(
                        f"The files at '{version.prefix}' were changed during the import. Import again."
                    )

    async def _listed(self, database: Database, version: FoundVersion) -> FoundVersion:
        if version.prefix is None:
            return version
        return version._replace(entries=await hashes.hash_all(database, self._store, version.prefix))

    async def _contents(self, session: Session, version: FoundVersion) -> Row:
        uri = named_by(str(version.said["source"]))
        contents = {
            "model_id": uri.model_id if isinstance(uri, LoggedModelUri) else None,
            "storage_location": version.location,
            "pinned_prefix": None,
            "manifest_digest": None,
            "external": True,
        }
        if version.prefix is None or not version.entries:
            return contents
        manifest = await manifests.manifest_of(session, version.prefix, version.entries)
        await manifests.store_manifest(session, manifest)
        return contents | {
            "pinned_prefix": version.prefix,
            "manifest_digest": manifest.digest,
            "external": False,
        }
