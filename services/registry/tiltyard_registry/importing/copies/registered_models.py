"""Registered models with their versions, tags and aliases, each model in one transaction.

Each change writes its event, as everywhere in the registry, in the name of `IMPORTER`.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

from sqlalchemy import func, insert, select, update

from tiltyard.errors import TiltyardError
from tiltyard.names import parse_model_name
from tiltyard_registry.importing.copies.entities import OF_MODELS, VERSIONS, times
from tiltyard_registry.importing.copies.rows import Compared, Copied, Sides, compare, filler
from tiltyard_registry.importing.copies.versions import Versions
from tiltyard_registry.importing.source import CHUNK_ROWS, MLflowDatabase, Snapshot, Values
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.events import AliasMoved, ModelImported, changed
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.models.registered_models import get_registered_model
from tiltyard_registry.store.namespaces import schemas
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Row, Session
from tiltyard_registry.tables.models import registered_model_aliases, registered_models

IMPORTER = Principal("tiltyard import", is_admin=True)
NOUN = "registered models"
CHILDREN: tuple[Copied, ...] = (VERSIONS, *OF_MODELS)

COLUMNS = {
    "creation_timestamp": "creation_time",
    "last_updated_timestamp": "last_updated_time",
    "description": "description",
}
_NAMES = ("name", *COLUMNS)
_alias = registered_model_aliases.c


class Model(NamedTuple):
    """A model as it is there: its name, the highest number that a version had, and `_NAMES` of our table."""

    name: str
    last_version: int
    values: Values


class RegisteredModels:
    """The models of an MLflow server; `names` says what each is called here."""

    def __init__(self, names: Mapping[str, str], versions: Versions) -> None:
        self._names = names
        self._versions = versions

    async def pages(self, source: MLflowDatabase) -> AsyncIterator[list[Model]]:
        """Every model."""
        table, versions = source.table("registered_models"), source.table("model_versions")
        filled = filler(registered_models, tuple(COLUMNS))
        query = source.select(table, ("name", *COLUMNS.values()))
        numbers = select(versions.c.name, func.max(versions.c.version)).where(source.within(versions))
        names = sorted(self._names)
        for offset in range(0, len(names), CHUNK_ROWS):
            page = names[offset : offset + CHUNK_ROWS]
            found = await source.all(numbers.where(versions.c.name.in_(page)).group_by(versions.c.name))
            last: dict[str, int] = dict(found)
            rows = await source.all(query.where(table.c.name.in_(page)))
            yield [Model(name, last.get(name, 0), self._shown(name, *filled(rest))) for name, *rest in rows]

    def _shown(self, name: str, created: int, updated: int, description: str | None) -> Values:
        return (self._names[name], *times(created, updated), description)

    async def copy(self, source: MLflowDatabase, database: Database, done: Callable[[int], None]) -> None:
        """Writes the models and all that hangs on them. `done` is told how many."""
        async for page in self.pages(source):
            for model in page:
                await self._copy(source, database, model)
                done(1)

    async def compare(
        self, source: MLflowDatabase, ours: Snapshot, database: Database, compared: Mapping[str, Compared]
    ) -> list[str]:
        """Counts the models and all that hangs on them on both sides; gives those that no request finds."""
        unreachable = []
        columns = [registered_models.c[name] for name in _NAMES]
        async with database.read() as session:
            async for page in self.pages(source):
                compared[NOUN].there.add([model.values for model in page])
                among = rowsets.among(session, registered_models.c.name, [model.values[0] for model in page])
                compared[NOUN].here.add(await ours.all(select(*columns).where(among)))
                found = await session.all(select(registered_models.c.name, registered_models.c.id).where(among))
                ids = {row["name"]: row["id"] for row in found}
                owners = {model.name: ids[model.values[0]] for model in page if model.values[0] in ids}
                for child in CHILDREN:
                    await compare(child, Sides(source, session), ours, owners, compared[child.noun])
                for model in page:
                    try:
                        await get_registered_model(session, IMPORTER, model.values[0])
                    except TiltyardError:
                        unreachable.append(f"registered model '{model.values[0]}'")
        return unreachable

    async def _copy(self, source: MLflowDatabase, database: Database, model: Model) -> None:
        found = await self._versions.found(source, database, model.name)
        async with database.write() as session:
            row = await self._write_model(session, model)
            await self._versions.write(session, IMPORTER, row, found)
            before = await _aliases(session, row)
            for child in OF_MODELS:
                async for rows in child.read(Sides(source, session), {model.name: row["id"]}):
                    await child.write(session, rows)
            for alias, version in (await _aliases(session, row)).items():
                if before.get(alias) != version:
                    outbox.record(session, IMPORTER, AliasMoved(alias, before.get(alias), version), model=row)
        await self._versions.check(database, found)

    async def _write_model(self, session: Session, model: Model) -> Row:
        shown = model.values[0]
        parsed = parse_model_name(shown)
        schema_id = await schemas.ensure_schema(session, IMPORTER, parsed.catalog, parsed.schema)
        said = dict(zip(_NAMES, model.values, strict=True))
        row = await session.one(select(registered_models).where(registered_models.c.name == shown).with_for_update())
        if row is None:
            values = {**said, "uuid": str(uuid.uuid4()), "schema_id": schema_id, "last_version": model.last_version}
            stamp = {"owner": IMPORTER.name, "created_by": IMPORTER.name, "updated_by": IMPORTER.name}
            model_id = await session.scalar(
                insert(registered_models).values(**values, **stamp).returning(registered_models.c.id)
            )
            imported = ModelImported(None, {**said, "source_name": model.name})
            outbox.record(session, IMPORTER, imported, model={"id": model_id, "name": shown})
            return {"id": model_id, "name": shown, **values}
        if change := changed(row, {**said, "last_version": max(model.last_version, row["last_version"])}):
            await session.execute(
                update(registered_models).where(registered_models.c.id == row["id"]).values(**change[1])
            )
            outbox.record(session, IMPORTER, ModelImported(*change), model=row)
        return dict(row)


async def _aliases(session: Session, model: Row) -> dict[str, int]:
    query = select(_alias.alias, _alias.version).where(_alias.registered_model_id == model["id"])
    return {row["alias"]: row["version"] for row in await session.all(query.order_by(_alias.alias))}
