"""Schemas: the middle of a model's three-part name."""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import RowMapping, func, select

from tiltyard.errors import InvalidParameterValue, ResourceConflict, ResourceDoesNotExist
from tiltyard.names import BUILT_IN_SCHEMAS, check_new_name, check_part
from tiltyard_registry.rules.access import SEE, Kind, Principal, Privilege
from tiltyard_registry.rules.events import SchemaDeleted
from tiltyard_registry.store import access
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.namespaces import catalogs
from tiltyard_registry.store.namespaces.namespace_rows import (
    SCHEMA,
    Change,
    NamespaceRow,
    change_row,
    insert_row,
    move_models,
)
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.models import registered_models
from tiltyard_registry.tables.namespaces import catalogs as catalog_table
from tiltyard_registry.tables.namespaces import schemas

_SCHEMAS = select(schemas, catalog_table.c.name.label("catalog_name")).join_from(schemas, catalog_table)


class SchemaRow(NamespaceRow):
    """A schema with the name of its catalog."""

    catalog_id: int
    catalog_name: str
    full_name: str


async def create_schema(
    session: Session,
    who: Principal,
    catalog_name: str,
    name: str,
    *,
    comment: str | None = None,
    properties: Mapping[str, str] | None = None,
) -> SchemaRow:
    """The new schema, in a catalog that exists.

    Raises:
        ResourceDoesNotExist: the catalog is missing.
        ResourceAlreadyExists: the schema is there.
    """
    check_new_name(check_part(name, parameter="name"), parameter="name")
    catalog = await catalogs.find_catalog(session, who, Privilege.CREATE_SCHEMA, catalog_name, lock=True)
    full = f"{catalog['name']}.{name}"
    id = await insert_row(session, who, SCHEMA, full, comment, properties, catalog_id=catalog["id"])
    return await _row(session, id)


async def get_schema(session: Session, who: Principal, catalog_name: str, name: str) -> SchemaRow:
    """One schema.

    Raises:
        ResourceDoesNotExist: it is missing.
    """
    return _shown(await find_schema(session, who, SEE, catalog_name, name))


async def list_schemas(
    session: Session, who: Principal, catalog_name: str, *, after: str = "", limit: int
) -> list[SchemaRow]:
    """At most `limit` schemas of a catalog by name, those behind the name `after`.

    Raises:
        ResourceDoesNotExist: the catalog is missing.
    """
    await catalogs.find_catalog(session, who, SEE, catalog_name)
    behind = (catalog_table.c.name == catalog_name, schemas.c.name > after)
    query = _SCHEMAS.where(*behind, *access.visible(who, access.SCHEMAS)).order_by(schemas.c.name).limit(limit)
    return [_shown(row) for row in await session.all(query)]


async def update_schema(session: Session, who: Principal, catalog_name: str, name: str, wanted: Change) -> SchemaRow:
    """The schema with what was given changed; a new name moves every model in it along.

    Raises:
        ResourceDoesNotExist: it is missing.
        ResourceAlreadyExists: the new name is taken.
        InvalidParameterValue: nothing to change was given, or the schema is built in and may not be renamed.
    """
    wanted.check()
    row = await find_schema(session, who, Privilege.MANAGE, catalog_name, name, lock=True)
    is_built_in = (catalog_name, name) in BUILT_IN_SCHEMAS
    if await change_row(session, who, SCHEMA, row, f"{catalog_name}.{name}", wanted, is_built_in=is_built_in):
        await move_models(session, who, row["id"], catalog_name, str(wanted.new_name))
    return await _row(session, row["id"])


async def delete_schema(session: Session, who: Principal, catalog_name: str, name: str) -> None:
    """Removes an empty schema.

    Raises:
        ResourceDoesNotExist: it is missing.
        ResourceConflict: models are in it.
        InvalidParameterValue: it is built in.
    """
    if (catalog_name, name) in BUILT_IN_SCHEMAS:
        raise InvalidParameterValue(f"Schema {catalog_name}.{name} is built in and cannot be deleted.")
    row = await find_schema(session, who, Privilege.MANAGE, catalog_name, name, lock=True)
    models = await session.scalar(
        select(func.count()).select_from(registered_models).where(registered_models.c.schema_id == row["id"])
    )
    if models:
        raise ResourceConflict(f"Unable to delete a schema with existing models: {catalog_name}.{name} has {models}.")
    await session.execute(schemas.delete().where(schemas.c.id == row["id"]))
    await access.forget(session, Kind.SCHEMA, [row["id"]])
    outbox.record(session, who, SchemaDeleted(f"{catalog_name}.{name}", name, row["comment"]))


async def ensure_schema(session: Session, who: Principal, catalog_name: str, name: str) -> int:
    """The id of the schema, for a new model in it; created together with its catalog when missing.

    It stays until the commit.

    Raises:
        PermissionDenied: `who` may not create a model there, nor what is missing. What they do not see counts as
            missing.
    """
    query = access.held(_named(catalog_name, name), who, access.SCHEMAS, Privilege.CREATE_MODEL)
    query = query.with_for_update(read=True, of=schemas)
    row = await session.one(query)
    if row is None:
        await session.lock("namespaces")
        row = await session.one(query)
    full = f"schema {catalog_name}.{name}"
    if row is None or not access.sees(who, row):
        try:
            await catalogs.find_catalog(session, who, Privilege.CREATE_SCHEMA, catalog_name)
        except ResourceDoesNotExist:
            await catalogs.create_catalog(session, who, catalog_name)
        if row is None:
            return int((await create_schema(session, who, catalog_name, name))["id"])
    missing = access.denied(who, Privilege.CREATE_MODEL, full)
    return int(access.admit(who, Privilege.CREATE_MODEL, row, missing, full)["id"])


async def find_schema(
    session: Session, who: Principal, wanted: Privilege, catalog_name: str, name: str, *, lock: bool = False
) -> RowMapping:
    """The schema's row, for somebody who wants to do something to it.

    With `lock` it stays as it is until the transaction ends.

    Raises:
        ResourceDoesNotExist: there is none that `who` may see.
        PermissionDenied: they may not do it.
        InvalidParameterValue: no schema can have this name.
    """
    check_part(catalog_name, parameter="catalog_name")
    found = _named(catalog_name, check_part(name, parameter="schema_name"))
    query = access.held(found, who, access.SCHEMAS, wanted)
    row = await session.one(query.with_for_update(of=schemas) if lock else query)
    missing = ResourceDoesNotExist(f"Schema with name={catalog_name}.{name} not found")
    return access.admit(who, wanted, row, missing, f"schema {catalog_name}.{name}")


def _named(catalog_name: str, name: str) -> Any:
    return _SCHEMAS.where(catalog_table.c.name == catalog_name, schemas.c.name == name)


async def _row(session: Session, id: int) -> SchemaRow:
    return _shown(*await session.all(_SCHEMAS.where(schemas.c.id == id)))


def _shown(row: RowMapping) -> SchemaRow:
    return cast(SchemaRow, {**row, "full_name": f"{row['catalog_name']}.{row['name']}"})
