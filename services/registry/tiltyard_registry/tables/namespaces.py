"""Catalogs and schemas."""

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text

from tiltyard_registry.tables.columns import Id, Millis, metadata

catalogs = Table(
    "catalogs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("uuid", String(36), nullable=False),
    Column("name", String(255), nullable=False, unique=True),
    Column("comment", Text),
    # JSON object of texts; null where none were given.
    Column("properties", Text),
    Column("owner", String(255)),
    Column("created_at", Millis, nullable=False),
    Column("created_by", String(255)),
    Column("updated_at", Millis, nullable=False),
    Column("updated_by", String(255)),
)

schemas = Table(
    "schemas",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("uuid", String(36), nullable=False),
    Column("catalog_id", ForeignKey("catalogs.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("comment", Text),
    # JSON object of texts; null where none were given.
    Column("properties", Text),
    Column("owner", String(255)),
    Column("created_at", Millis, nullable=False),
    Column("created_by", String(255)),
    Column("updated_at", Millis, nullable=False),
    Column("updated_by", String(255)),
    Index("uq_schemas_catalog_id_name", "catalog_id", "name", unique=True),
)
