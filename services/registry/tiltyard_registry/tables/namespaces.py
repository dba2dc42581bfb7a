"""Catalogs and schemas."""

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text
from sqlalchemy.schema import SchemaItem

from tiltyard_registry.tables.columns import Id, Millis, metadata


def _namespace(name: str, *own: SchemaItem) -> Table:
    return Table(
        name,
        metadata,
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("uuid", String(36), nullable=False),
        *own,
        Column("comment", Text),
        # JSON object of texts; null where none were given.
        Column("properties", Text),
        Column("owner", String(255)),
        Column("created_at", Millis, nullable=False),
        Column("created_by", String(255)),
        Column("updated_at", Millis, nullable=False),
        Column("updated_by", String(255)),
    )


catalogs = _namespace("catalogs", Column("name", String(255), nullable=False, unique=True))
schemas = _namespace(
    "schemas",
    Column("catalog_id", ForeignKey("catalogs.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Index("uq_schemas_catalog_id_name", "catalog_id", "name", unique=True),
)
