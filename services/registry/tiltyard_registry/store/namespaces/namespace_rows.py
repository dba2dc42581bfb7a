"""What rows of catalogs and of schemas have in common: how one is inserted, what is changed, and what follows."""

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import Table, insert, select, update

from tiltyard.errors import InvalidParameterValue
from tiltyard.names import check_new_name, check_part, parse_model_name
from tiltyard_registry.rules import limits
from tiltyard_registry.rules.access import Kind, Principal
from tiltyard_registry.rules.events import (
    CatalogCreated,
    CatalogUpdated,
    ModelRenamed,
    NamespaceChanged,
    NamespaceCreated,
    SchemaCreated,
    SchemaUpdated,
    changed,
)
from tiltyard_registry.rules.properties import check_properties, with_properties
from tiltyard_registry.store import access
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.sql.availability import already_exists
from tiltyard_registry.store.sql.session import Found, Session, now_ms
from tiltyard_registry.tables.models import registered_models
from tiltyard_registry.tables.namespaces import catalogs, schemas

Properties = Mapping[str, str] | None


class NamespaceRow(TypedDict):
    """What rows of catalogs and of schemas have."""

    id: int
    uuid: str
    name: str
    comment: str | None
    properties: str | None
    owner: str | None
    created_at: int
    created_by: str | None
    updated_at: int
    updated_by: str | None


class Noun(NamedTuple):
    """Catalogs, or schemas. Names of schemas are `catalog.schema` here."""

    name: str
    kind: Kind
    table: Table
    created: type[NamespaceCreated]
    updated: type[NamespaceChanged]


CATALOG = Noun("catalog", Kind.CATALOG, catalogs, CatalogCreated, CatalogUpdated)
SCHEMA = Noun("schema", Kind.SCHEMA, schemas, SchemaCreated, SchemaUpdated)


async def insert_row(
    session: Session, who: Principal, noun: Noun, name: str, comment: str | None, properties: Properties, **more: Any
) -> int:
    """The id of a new row, which `who` owns.

    Raises:
        ResourceAlreadyExists: the name is taken.
        InvalidParameterValue: a comment or property that is not allowed.
    """
    last, now = name.rpartition(".")[2], now_ms()
    said = {"name": last, "comment": limits.check_description(comment)}
    stamps = {"owner": who.name, "created_at": now, "created_by": who.name, "updated_at": now, "updated_by": who.name}
    row = {**said, **stamps, **more, "uuid": str(uuid.uuid4()), "properties": check_properties(properties or {})}
    with already_exists(_taken(noun, name)):
        id = int(await session.scalar(insert(noun.table).values(row).returning(noun.table.c.id)))
    await access.own(session, who, noun.kind, id)
    outbox.record(session, who, noun.created(name, last, said["comment"], dict(properties) if properties else None))
    return id


class Change(NamedTuple):
    """What shall be changed; None stays as it is."""

    new_name: str | None = None
    comment: str | None = None
    properties: Properties = None

    def check(self) -> None:
        """Passes if anything shall change.

        Raises:
            InvalidParameterValue: nothing shall.
        """
        if self == (None, None, None):
            raise InvalidParameterValue("No updated fields defined.")


async def change_row(
    session: Session, who: Principal, noun: Noun, row: Found, name: str, wanted: Change, *, is_built_in: bool
) -> bool:
    """Whether the row, which is locked, has another name once what was given is changed.

    Raises:
        ResourceAlreadyExists: the new name is taken.
        InvalidParameterValue: something given is not allowed, or it is built in and may not be renamed.
    """
    after: dict[str, Any] = {}
    new_name, comment, properties = wanted
    if comment is not None:
        after["comment"] = limits.check_description(comment)
    if properties is not None:
        after["properties"] = check_properties(properties)
    if new_name is not None and new_name != row["name"]:
        check_new_name(check_part(new_name, parameter="new_name"), parameter="new_name")
        if is_built_in:
            raise InvalidParameterValue(f"{noun.name.capitalize()} {name} is built in and cannot be renamed.")
        after["name"] = new_name
    change = changed(row, after)
    if change is None:
        return False
    stamp = {"updated_at": now_ms(), "updated_by": who.name}
    above = name.rpartition(".")[0]
    with already_exists(_taken(noun, f"{above}.{new_name}" if above else str(new_name))):
        await session.execute(update(noun.table).where(noun.table.c.id == row["id"]).values(**after, **stamp))
    outbox.record(session, who, noun.updated(with_properties(change[0]), with_properties(change[1]), name))
    return "name" in after


async def move_models(session: Session, who: Principal, schema_id: int, catalog_name: str, schema_name: str) -> None:
    """Gives every model of a schema the name that follows from the schema's new one."""
    models = registered_models.c
    rows = await session.all(select(models.id, models.name).where(models.schema_id == schema_id).with_for_update())
    for row in rows:
        name = parse_model_name(row["name"])._replace(catalog=catalog_name, schema=schema_name).shown
        await session.execute(update(registered_models).where(models.id == row["id"]).values(name=name))
        outbox.record(session, who, ModelRenamed(row["name"], name), model=row)


def _taken(noun: Noun, name: str) -> str:
    return f"{noun.name.capitalize()} (name={name}) already exists."
