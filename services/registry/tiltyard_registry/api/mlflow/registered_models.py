"""Registered models, their tags and aliases. Paths: /api/2.0/mlflow/registered-models/…"""

import msgspec

from tiltyard.wire.mlflow import registered_models as wire
from tiltyard.wire.mlflow.model_versions import ModelVersion, ModelVersionReply
from tiltyard.wire.tags import Text
from tiltyard_registry.api.framework.replies import replies, reply
from tiltyard_registry.api.framework.routes import delete, get, patch, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.models import aliases, search, tags
from tiltyard_registry.store.models import registered_models as store
from tiltyard_registry.store.models.related_rows import ModelRow
from tiltyard_registry.store.sql.session import Session


@post("/registered-models/create")
async def create_registered_model(
    session: Session, who: Principal, data: wire.CreateRegisteredModel
) -> wire.RegisteredModelReply:
    """Creates a registered model, and its schema and catalog when they are missing."""
    row = await store.create_registered_model(
        session, who, data.name, description=data.description, tags=msgspec.to_builtins(data.tags)
    )
    return _shown(row)


@get("/registered-models/get")
async def get_registered_model(read_session: Session, who: Principal, name: Text) -> wire.RegisteredModelReply:
    """One registered model with its tags, aliases and the highest version of each stage."""
    return _shown(await store.get_registered_model(read_session, who, name))


@get("/registered-models/search")
async def search_registered_models(
    read_session: Session,
    who: Principal,
    filter: str | None = None,
    max_results: int | None = None,
    order_by: list[str] | None = None,
    page_token: str | None = None,
) -> wire.RegisteredModelsPage:
    """One page of the registered models that a filter finds."""
    rows, token = await search.search_registered_models(
        read_session, who, filter=filter, order_by=order_by or (), max_results=max_results, page_token=page_token
    )
    return wire.RegisteredModelsPage(replies(rows, wire.RegisteredModel), token)


@patch("/registered-models/update")
async def update_registered_model(
    session: Session, who: Principal, data: wire.UpdateRegisteredModel
) -> wire.RegisteredModelReply:
    """Sets the description; an absent one clears it."""
    return _shown(await store.update_registered_model(session, who, data.name, description=data.description))


@post("/registered-models/rename")
async def rename_registered_model(
    session: Session, who: Principal, data: wire.RenameRegisteredModel
) -> wire.RegisteredModelReply:
    """Gives a registered model another name, with its versions, tags and aliases."""
    return _shown(await store.rename_registered_model(session, who, data.name, data.new_name))


@delete("/registered-models/delete")
async def delete_registered_model(session: Session, who: Principal, data: wire.DeleteRegisteredModel) -> None:
    """Removes a registered model with all its versions."""
    await store.delete_registered_model(session, who, data.name)


@post("/registered-models/get-latest-versions")
async def get_latest_versions(
    read_session: Session, who: Principal, data: wire.GetLatestVersions
) -> wire.LatestVersionsReply:
    """The highest version of each of the stages, of every stage when none is named."""
    rows = await store.get_latest_versions(read_session, who, data.name, data.stages)
    return wire.LatestVersionsReply(replies(rows, ModelVersion))


@get("/registered-models/get-latest-versions")
async def get_latest_versions_by_query(
    read_session: Session, who: Principal, name: Text, stages: list[str] | None = None
) -> wire.LatestVersionsReply:
    """The same, asked for by a query string."""
    rows = await store.get_latest_versions(read_session, who, name, stages or ())
    return wire.LatestVersionsReply(replies(rows, ModelVersion))


@post("/registered-models/set-tag")
async def set_registered_model_tag(session: Session, who: Principal, data: wire.SetRegisteredModelTag) -> None:
    """Sets one tag of a registered model."""
    await tags.set_tag(session, who, data.name, None, data.key, data.value)


@delete("/registered-models/delete-tag")
async def delete_registered_model_tag(session: Session, who: Principal, data: wire.DeleteRegisteredModelTag) -> None:
    """Removes one tag of a registered model; an absent one is no error."""
    await tags.set_tag(session, who, data.name, None, data.key, None)


@post("/registered-models/alias")
async def set_registered_model_alias(
    session: Session, who: Principal, data: wire.SetRegisteredModelAlias, expected_version: str | None
) -> None:
    """Has an alias name a version. With `If-Match: "3"` only if it names version 3 now."""
    await aliases.set_alias(session, who, data.name, data.alias, data.version, expected_version=expected_version)


@delete("/registered-models/alias")
async def delete_registered_model_alias(
    session: Session, who: Principal, data: wire.DeleteRegisteredModelAlias, expected_version: str | None
) -> None:
    """Removes an alias; an absent one is no error."""
    await aliases.delete_alias(session, who, data.name, data.alias, expected_version=expected_version)


@get("/registered-models/alias")
async def get_model_version_by_alias(
    read_session: Session, who: Principal, name: Text, alias: Text
) -> ModelVersionReply:
    """The version that an alias names now."""
    row = await aliases.get_model_version_by_alias(read_session, who, name, alias)
    return ModelVersionReply(reply(row, ModelVersion))


def _shown(row: ModelRow) -> wire.RegisteredModelReply:
    return wire.RegisteredModelReply(reply(row, wire.RegisteredModel))
