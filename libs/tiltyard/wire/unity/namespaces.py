"""Catalogs and schemas. Paths: /api/2.1/unity-catalog/{catalogs,schemas}…"""

from msgspec import Struct

from tiltyard.wire.tags import Text


class CatalogInfo(Struct):
    name: str
    comment: str | None
    properties: dict[str, str]
    owner: str | None
    created_at: int
    created_by: str | None
    updated_at: int
    updated_by: str | None
    id: str


class CatalogsPage(Struct):
    catalogs: list[CatalogInfo]
    next_page_token: str | None = None


class CreateCatalog(Struct):
    name: Text
    comment: str | None = None
    properties: dict[str, str] = {}


class UpdateCatalog(Struct):
    """`properties` replace those that were there, all of them."""

    comment: str | None = None
    new_name: str | None = None
    properties: dict[str, str] | None = None


class SchemaInfo(Struct):
    name: str
    catalog_name: str
    full_name: str
    comment: str | None
    properties: dict[str, str]
    owner: str | None
    created_at: int
    created_by: str | None
    updated_at: int
    updated_by: str | None
    schema_id: str


class SchemasPage(Struct):
    schemas: list[SchemaInfo]
    next_page_token: str | None = None


class CreateSchema(Struct):
    name: Text
    catalog_name: Text
    comment: str | None = None
    properties: dict[str, str] = {}


class UpdateSchema(UpdateCatalog):
    """The same of a schema."""
