"""Catalogs: the first part of a model's three-part name."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping, func, insert, select, update

from tiltyard.errors import InvalidParameterValue, ResourceConflict, ResourceDoesNotExist
from tiltyard.names import BUILT_IN_SCHEMAS, check_new_name, check_part
from tiltyard_registry.rules import limits
from tiltyard_registry.rules.access import SEE, Kind, Principal, Privilege
from tiltyard_registry.rules.properties import check_properties, with_properties
from tiltyard_registry.store import access
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.namespaces.renamed_models import move_models
from tiltyard_registry.store.sql.session import Row, Session, already_exists, now_ms
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
) -> Row:
    """The new, empty catalog.

    Raises:
        ResourceAlreadyExists: the name is taken.
        InvalidParameterValue: a name, comment or property that is not allowed.
    """
    check_new_name(check_part(name, parameter="name"), parameter="name")
    await access.require(session, who, Privilege.CREATE_CATALOG)
    now = now_ms()
    comment = limits.check_description(comment)
    kept = check_properties(properties)
    with already_exists(_taken(name)):
        catalog_id = await session.scalar(
            insert(catalogs)
            .returning(catalogs.c.id)
            .values(
                uuid=str(uuid.uuid4()),
                name=name,
                comment=comment,
                properties=kept,
                owner=who.name,
                created_at=now,
                created_by=who.name,
                updated_at=now,
                updated_by=who.name,
            )
        )
    await access.own(session, who, Kind.CATALOG, catalog_id)
    after = {"name": name, "comment": comment} | ({"properties": dict(properties)} if properties else {})
    outbox.record(session, who, "create_catalog", name=name, after=after)
    return dict(await find_catalog(session, who, SEE, name))


async def get_catalog(session: Session, who: Principal, name: str) -> Row:
    """One catalog.

    Raises:
        ResourceDoesNotExist: it is missing.
    """
    return dict(await find_catalog(session, who, SEE, name))


async def list_catalogs(session: Session, who: Principal, *, after: str = "", limit: int) -> list[Row]:
    """At most `limit` catalogs by name, those behind the name `after`."""
    query = select(catalogs).where(catalogs.c.name > after, *access.visible(who, access.CATALOGS))
    return [dict(row) for row in await session.all(query.order_by(catalogs.c.name).limit(limit))]


async def update_catalog(
    session: Session,
    who: Principal,
    name: str,
    *,
    new_name: str | None = None,
    comment: str | None = None,
    properties: Mapping[str, str] | None = None,
) -> Row:
    """The catalog with what was given changed; a new name moves every model in it along.

    Raises:
        ResourceDoesNotExist: it is missing.
        ResourceAlreadyExists: the new name is taken.
        InvalidParameterValue: nothing to change was given, or the catalog is built in and may not be renamed.
    """
    if new_name is None and comment is None and properties is None:
        raise InvalidParameterValue("No updated fields defined.")
    row = await find_catalog(session, who, Privilege.MANAGE, name, lock=True)
    after: dict[str, Any] = {}
    if comment is not None:
        after["comment"] = limits.check_description(comment)
    if properties is not None:
        after["properties"] = check_properties(properties)
    if new_name is not None and new_name != name:
        check_new_name(check_part(new_name, parameter="new_name"), parameter="new_name")
        if name in _BUILT_IN:
            raise InvalidParameterValue(f"Catalog {name} is built in and cannot be renamed.")
        after["name"] = new_name
    change = outbox.changed(row, after)
    if change is not None:
        stamp = {"updated_at": now_ms(), "updated_by": who.name}
        with already_exists(_taken(str(new_name))):
            await session.execute(update(catalogs).where(catalogs.c.id == row["id"]).values(**after, **stamp))
        before, now = map(with_properties, change)
        outbox.record(session, who, "update_catalog", name=name, before=before, after=now)
        if "name" in change[1]:
            inside = select(schemas.c.id, schemas.c.name).where(schemas.c.catalog_id == row["id"])
            for schema in await session.all(inside):
                await move_models(session, who, schema["id"], str(new_name), schema["name"])
    return dict(await find_catalog(session, who, SEE, after.get("name", name)))


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
        before = {"name": schema["name"], "comment": schema["comment"]}
        outbox.record(session, who, "delete_schema", name=f"{name}.{schema['name']}", before=before)
    await session.execute(schemas.delete().where(schemas.c.catalog_id == row["id"]))
    await session.execute(catalogs.delete().where(catalogs.c.id == row["id"]))
    await access.forget(session, Kind.SCHEMA, [schema["id"] for schema in inside])
    await access.forget(session, Kind.CATALOG, [row["id"]])
    outbox.record(session, who, "delete_catalog", name=name, before={"name": name, "comment": row["comment"]})


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


def _taken(name: str) -> str:
    return f"Catalog (name={name}) already exists."
