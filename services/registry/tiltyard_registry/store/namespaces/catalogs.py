"""Catalogs: the first part of a model's three-part name."""

from collections.abc import Mapping
from typing import cast

from sqlalchemy import RowMapping, func, select

from tiltyard.errors import InvalidParameterValue, ResourceConflict, ResourceDoesNotExist
from tiltyard.names import BUILT_IN_SCHEMAS, check_new_name, check_part
from tiltyard_registry.rules.access import SEE, Kind, Principal, Privilege
from tiltyard_registry.rules.events import CatalogDeleted, SchemaDeleted
from tiltyard_registry.store import access
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.namespaces.namespace_rows import (
    CATALOG,
    Change,
    NamespaceRow,
    change_row,
    insert_row,
    move_models,
)
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.models import registered_models
from tiltyard_registry.tables.namespaces import catalogs, schemas

_BUILT_IN = frozenset(catalog for catalog, _ in BUILT_IN_SCHEMAS)


async def create_catalog(
    session: Session,
    who: Principal,
    name: str,
    *,
    comment: str | None = None,
    properties: Mapping[str, str] | None = None,
) -> NamespaceRow:
    """The new, empty catalog.

    Raises:
        ResourceAlreadyExists: the name is taken.
        InvalidParameterValue: a name, comment or property that is not allowed.
    """
    check_new_name(check_part(name, parameter="name"), parameter="name")
    await access.require(session, who, Privilege.CREATE_CATALOG)
    return await _row(session, await insert_row(session, who, CATALOG, name, comment, properties))


async def get_catalog(session: Session, who: Principal, name: str) -> NamespaceRow:
    """One catalog.

    Raises:
        ResourceDoesNotExist: it is missing.
    """
    return cast(NamespaceRow, await find_catalog(session, who, SEE, name))


async def list_catalogs(session: Session, who: Principal, *, after: str = "", limit: int) -> list[NamespaceRow]:
    """At most `limit` catalogs by name, those behind the name `after`."""
    query = select(catalogs).where(catalogs.c.name > after, *access.visible(who, access.CATALOGS))
    return cast(list[NamespaceRow], await session.all(query.order_by(catalogs.c.name).limit(limit)))


async def update_catalog(session: Session, who: Principal, name: str, wanted: Change) -> NamespaceRow:
    """The catalog with what was given changed; a new name moves every model in it along.

    Raises:
        ResourceDoesNotExist: it is missing.
        ResourceAlreadyExists: the new name is taken.
        InvalidParameterValue: nothing to change was given, or the catalog is built in and may not be renamed.
    """
    wanted.check()
    row = await find_catalog(session, who, Privilege.MANAGE, name, lock=True)
    if await change_row(session, who, CATALOG, row, name, wanted, is_built_in=name in _BUILT_IN):
        inside = select(schemas.c.id, schemas.c.name).where(schemas.c.catalog_id == row["id"])
        for schema in await session.all(inside):
            await move_models(session, who, schema["id"], str(wanted.new_name), schema["name"])
    return await _row(session, row["id"])


async def delete_catalog(session: Session, who: Principal, name: str, *, force: bool = False) -> None:
    """Removes a catalog; with `force` its empty schemas go with it.

    Raises:
        ResourceDoesNotExist: it is missing.
        ResourceConflict: schemas are in it and `force` is not given, or models are.
        InvalidParameterValue: it is built in.
    """
    if name in _BUILT_IN:
        raise InvalidParameterValue(f"Catalog {name} is built in and cannot be deleted.")
    row = await find_catalog(session, who, Privilege.MANAGE, name, lock=True)
    inside = await session.all(select(schemas).where(schemas.c.catalog_id == row["id"]).with_for_update())
    models = await session.scalar(
        select(func.count()).select_from(registered_models.join(schemas)).where(schemas.c.catalog_id == row["id"])
    )
    if models or (inside and not force):
        raise ResourceConflict(
            f"Unable to delete a catalog that is not empty: {name} has {len(inside)} schemas and {models} models."
        )
    for schema in inside:
        outbox.record(session, who, SchemaDeleted.of(schema, full_name=f"{name}.{schema['name']}"))
    await session.execute(schemas.delete().where(schemas.c.catalog_id == row["id"]))
    await session.execute(catalogs.delete().where(catalogs.c.id == row["id"]))
    await access.forget(session, Kind.SCHEMA, [schema["id"] for schema in inside])
    await access.forget(session, Kind.CATALOG, [row["id"]])
    outbox.record(session, who, CatalogDeleted(name, name, row["comment"]))


async def find_catalog(
    session: Session, who: Principal, wanted: Privilege, name: str, *, lock: bool = False
) -> RowMapping:
    """The catalog's row, for somebody who wants to do something to it.

    With `lock` it stays as it is until the transaction ends.

    Raises:
        ResourceDoesNotExist: there is none that `who` may see.
        PermissionDenied: they may not do it.
        InvalidParameterValue: no catalog can have this name.
    """
    check_part(name, parameter="catalog_name")
    query = access.held(select(catalogs).where(catalogs.c.name == name), who, access.CATALOGS, wanted)
    row = await session.one(query.with_for_update(of=catalogs) if lock else query)
    missing = ResourceDoesNotExist(f"Catalog with name={name} not found")
    return access.admit(who, wanted, row, missing, f"catalog {name}")


async def _row(session: Session, id: int) -> NamespaceRow:
    return cast(NamespaceRow, await session.one(select(catalogs).where(catalogs.c.id == id)))
