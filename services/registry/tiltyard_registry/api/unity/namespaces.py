"""Unity Catalog's catalogs and schemas. Paths: /api/2.1/unity-catalog/{catalogs,schemas}…

Source: unitycatalog, api/all.yaml.
"""

from tiltyard.errors import ResourceDoesNotExist
from tiltyard.wire.tags import Text
from tiltyard.wire.unity import namespaces
from tiltyard_registry.api.framework.replies import reply
from tiltyard_registry.api.framework.routes import delete, get, patch, post
from tiltyard_registry.api.paging import cut, position_of
from tiltyard_registry.api.unity.paging import page_size
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.properties import with_properties
from tiltyard_registry.store.namespaces import catalogs, schemas
from tiltyard_registry.store.namespaces.namespace_rows import Change, NamespaceRow
from tiltyard_registry.store.sql.session import Session


@post("/catalogs")
async def create_catalog(session: Session, who: Principal, data: namespaces.CreateCatalog) -> namespaces.CatalogInfo:
    """Creates a catalog."""
    row = await catalogs.create_catalog(session, who, data.name, comment=data.comment, properties=data.properties)
    return _catalog(row)


@get("/catalogs")
async def list_catalogs(
    read_session: Session, who: Principal, max_results: int = 0, page_token: str | None = None
) -> namespaces.CatalogsPage:
    """One page of the catalogs, by name."""
    limit, after = page_size(max_results), str(position_of(page_token, "catalogs"))
    rows = await catalogs.list_catalogs(read_session, who, after=after, limit=limit + 1)
    shown, token = cut(rows, limit, "catalogs")
    return namespaces.CatalogsPage([_catalog(row) for row in shown], token)


@get("/catalogs/{name:str}")
async def get_catalog(read_session: Session, who: Principal, name: str) -> namespaces.CatalogInfo:
    """One catalog."""
    return _catalog(await catalogs.get_catalog(read_session, who, name))


@patch("/catalogs/{name:str}")
async def update_catalog(
    session: Session, who: Principal, name: str, data: namespaces.UpdateCatalog
) -> namespaces.CatalogInfo:
    """Changes the comment, the properties or the name of a catalog."""
    wanted = Change(data.new_name, data.comment, data.properties)
    return _catalog(await catalogs.update_catalog(session, who, name, wanted))


@delete("/catalogs/{name:str}")
async def delete_catalog(session: Session, who: Principal, name: str, force: bool = False) -> None:
    """Removes a catalog; with `force` its empty schemas go with it."""
    await catalogs.delete_catalog(session, who, name, force=force)


@post("/schemas")
async def create_schema(session: Session, who: Principal, data: namespaces.CreateSchema) -> namespaces.SchemaInfo:
    """Creates a schema in a catalog that exists."""
    row = await schemas.create_schema(
        session, who, data.catalog_name, data.name, comment=data.comment, properties=data.properties
    )
    return _schema(row)


@get("/schemas")
async def list_schemas(
    read_session: Session, who: Principal, catalog_name: Text, max_results: int = 0, page_token: str | None = None
) -> namespaces.SchemasPage:
    """One page of the schemas of a catalog, by name."""
    limit, listing = page_size(max_results), f"schemas of {catalog_name}"
    after = str(position_of(page_token, listing))
    rows = await schemas.list_schemas(read_session, who, catalog_name, after=after, limit=limit + 1)
    shown, token = cut(rows, limit, listing)
    return namespaces.SchemasPage([_schema(row) for row in shown], token)


@get("/schemas/{full_name:str}")
async def get_schema(read_session: Session, who: Principal, full_name: str) -> namespaces.SchemaInfo:
    """One schema."""
    return _schema(await schemas.get_schema(read_session, who, *_two_parts(full_name)))


@patch("/schemas/{full_name:str}")
async def update_schema(
    session: Session, who: Principal, full_name: str, data: namespaces.UpdateSchema
) -> namespaces.SchemaInfo:
    """Changes the comment, the properties or the name of a schema."""
    wanted = Change(data.new_name, data.comment, data.properties)
    return _schema(await schemas.update_schema(session, who, *_two_parts(full_name), wanted))


@delete("/schemas/{full_name:str}")
async def delete_schema(session: Session, who: Principal, full_name: str) -> None:
    """Removes an empty schema."""
    await schemas.delete_schema(session, who, *_two_parts(full_name))


def _two_parts(full_name: str) -> tuple[str, str]:
    catalog, dot, schema = full_name.partition(".")
    if not dot or not catalog or not schema or "." in schema:
        raise ResourceDoesNotExist(f"Schema not found: {full_name[:300]}. Expected 'catalog.schema'.")
    return catalog, schema


def _catalog(row: NamespaceRow) -> namespaces.CatalogInfo:
    return reply({**with_properties(row), "id": row["uuid"]}, namespaces.CatalogInfo)


def _schema(row: schemas.SchemaRow) -> namespaces.SchemaInfo:
    return reply({**with_properties(row), "schema_id": row["uuid"]}, namespaces.SchemaInfo)
