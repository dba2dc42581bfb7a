"""Catalogs and schemas. Paths: /api/2.1/unity-catalog/{catalogs,schemas}…"""

from msgspec import Struct

from tiltyard.wire.tags import Text
from tiltyard.wire.unity.info import OwnedInfo


class CatalogInfo(OwnedInfo):
    name: str
    properties: dict[str, str]
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


class SchemaInfo(OwnedInfo):
    name: str
    catalog_name: str
    full_name: str
    properties: dict[str, str]
    schema_id: str


class SchemasPage(Struct):
    schemas: list[SchemaInfo]
    next_page_token: str | None = None


class CreateSchema(CreateCatalog, kw_only=True):
    catalog_name: Text


class UpdateSchema(UpdateCatalog):
    """The same of a schema."""
