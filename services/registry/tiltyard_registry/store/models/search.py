"""Searches and lists of registered models and of versions."""

from typing import Unpack, cast

from sqlalchemy import select

from tiltyard_registry.rules.access import SEE, Principal
from tiltyard_registry.search import MODEL_VERSIONS, REGISTERED_MODELS, Asked, Page
from tiltyard_registry.store import access
from tiltyard_registry.store.models import related_rows
from tiltyard_registry.store.models.model_rows import find_model
from tiltyard_registry.store.models.related_rows import ModelColumns, ModelRow, VersionRow
from tiltyard_registry.store.namespaces import schemas
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.models import model_versions, registered_models

PAGE_VERSIONS = 10_000
"""What a client gets at most, with the token of the next page: one request shall not hold everybody's memory."""


async def search_registered_models(
    session: Session,
    who: Principal,
    filter: str | None = None,
    **asked: Unpack[Asked],
) -> tuple[list[ModelRow], str | None]:
    """One page of the models that match, and the token of the next page.

    Raises:
        InvalidParameterValue: the filter, the order, the page size or the token is not right.
    """
    page = Page(REGISTERED_MODELS, dialect=session.dialect, filter=filter, **asked)
    seen = select(registered_models).where(*access.visible(who, access.MODELS))
    rows, next_page_token = await page.read(seen, session.all)
    return await related_rows.model_rows(session, rows), next_page_token


async def list_registered_models(
    session: Session,
    who: Principal,
    *,
    within: tuple[str, str] | None = None,
    after: str = "",
    limit: int,
) -> list[ModelColumns]:
    """At most `limit` models by name, those behind the name `after`; of one (catalog, schema) or of all.

    Raises:
        ResourceDoesNotExist: the schema is missing.
    """
    query = select(registered_models).where(registered_models.c.name > after, *access.visible(who, access.MODELS))
    if within is not None:
        schema = await schemas.get_schema(session, who, *within)
        query = query.where(registered_models.c.schema_id == schema["id"])
    return [
        cast(ModelRow, dict(row)) for row in await session.all(query.order_by(registered_models.c.name).limit(limit))
    ]


async def search_model_versions(
    session: Session,
    who: Principal,
    filter: str | None = None,
    **asked: Unpack[Asked],
) -> tuple[list[VersionRow], str | None]:
    """One page of the versions that match, with tags and aliases, and the token of the next page.

    Raises:
        InvalidParameterValue: the filter, the order, the page size or the token is not right.
    """
    page = Page(MODEL_VERSIONS, dialect=session.dialect, filter=filter, at_most=PAGE_VERSIONS, **asked)
    seen = related_rows.VERSIONS.where(*access.visible(who, access.MODELS))
    rows, next_page_token = await page.read(seen, session.all)
    return await related_rows.version_rows(session, rows), next_page_token


async def list_model_versions(
    session: Session, who: Principal, name: str, *, after: int = 0, limit: int
) -> list[VersionRow]:
    """At most `limit` versions of a model by number, those behind the number `after`.

    Raises:
        ResourceDoesNotExist: the model is missing.
    """
    model = await find_model(session, who, SEE, name)
    query = related_rows.VERSIONS.where(
        model_versions.c.registered_model_id == model["id"], model_versions.c.version > after
    )
    return await related_rows.version_rows(
        session, await session.all(query.order_by(model_versions.c.version).limit(limit))
    )
