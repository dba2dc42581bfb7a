"""Unity Catalog's registered models and versions. Paths: /api/2.1/unity-catalog/models…

The same models as in the MLflow API, by their full names; `comment` is `description` there. Whatever a body or a
query repeats of the path is not read, but a finalize must not name another version than its path does.

Source: unitycatalog, api/all.yaml.
"""

from typing import Any, cast

from tiltyard.errors import InvalidParameterValue, NotImplementedYet, ResourceDoesNotExist
from tiltyard.names import ModelName, check_version, parse_model_name
from tiltyard.wire.tags import Empty
from tiltyard.wire.unity import models as wire
from tiltyard_registry.api.framework.replies import reply
from tiltyard_registry.api.framework.routes import delete, get, patch, post
from tiltyard_registry.api.paging import cut, position_of
from tiltyard_registry.api.unity.paging import page_size
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.models import model_versions, registered_models, search
from tiltyard_registry.store.models.related_rows import ModelColumns, VersionRow
from tiltyard_registry.store.registration import new_versions, reserved_versions
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session

_OPERATIONS = ("READ_MODEL_VERSION", "READ_WRITE_MODEL_VERSION")


@post("/models")
async def create_model(
    session: Session, who: Principal, artifacts: ArtifactRoot, data: wire.CreateModel
) -> wire.RegisteredModelInfo:
    """Creates a registered model, and its schema and catalog when they are missing."""
    name = f"{data.catalog_name}.{data.schema_name}.{data.name}"
    row = await registered_models.create_registered_model(session, who, name, description=data.comment)
    return _model(row, artifacts)


@get("/models")
async def list_models(
    read_session: Session,
    who: Principal,
    artifacts: ArtifactRoot,
    catalog_name: str | None = None,
    schema_name: str | None = None,
    max_results: int = 0,
    page_token: str | None = None,
) -> wire.RegisteredModelsInfoPage:
    """One page of the models of one schema, or of all."""
    if (catalog_name is None) != (schema_name is None):
        raise InvalidParameterValue("Parameters 'catalog_name' and 'schema_name' are given together or not at all.")
    within = (catalog_name, schema_name) if catalog_name is not None and schema_name is not None else None
    limit, listing = page_size(max_results), f"models within {within}"
    after = cast(str, position_of(page_token, listing, str))
    rows = await search.list_registered_models(read_session, who, within=within, after=after, limit=limit + 1)
    shown, token = cut(rows, limit, listing, "name")
    return wire.RegisteredModelsInfoPage([_model(row, artifacts) for row in shown], token)


@get("/models/{full_name:str}")
async def get_model(
    read_session: Session, who: Principal, artifacts: ArtifactRoot, full_name: str
) -> wire.RegisteredModelInfo:
    """One registered model."""
    return _model(await registered_models.get_registered_model(read_session, who, _full(full_name).full), artifacts)


@patch("/models/{full_name:str}")
async def update_model(
    session: Session, who: Principal, artifacts: ArtifactRoot, full_name: str, data: wire.UpdateModel
) -> wire.RegisteredModelInfo:
    """Changes the comment of a model, or its name within its schema."""
    name = _full(full_name)
    if data.comment is None and data.new_name is None:
        raise InvalidParameterValue("No updated fields defined.")
    if data.comment is not None:
        row = await registered_models.update_registered_model(session, who, name.full, description=data.comment)
    if data.new_name is not None:
        renamed = name._replace(model=data.new_name)
        row = await registered_models.rename_registered_model(session, who, name.full, renamed.full)
    return _model(row, artifacts)


@delete("/models/{full_name:str}")
async def delete_model(session: Session, who: Principal, full_name: str, force: bool = False) -> None:
    """Removes a model; one with versions only with `force`."""
    await registered_models.delete_registered_model(session, who, _full(full_name).full, with_versions=force)


@post("/models/versions")
async def create_version(
    session: Session, who: Principal, artifacts: ArtifactRoot, data: wire.CreateVersion
) -> wire.ModelVersionInfo:
    """Gives out the next version number, and the place to which the caller writes the files before he finalizes."""
    row = await reserved_versions.create_pending_version(
        session,
        who,
        artifacts,
        f"{data.catalog_name}.{data.schema_name}.{data.model_name}",
        data.source,
        run_id=data.run_id,
        description=data.comment,
    )
    return _version(row)


@get("/models/{full_name:str}/versions")
async def list_versions(
    read_session: Session, who: Principal, full_name: str, max_results: int = 0, page_token: str | None = None
) -> wire.ModelVersionsInfoPage:
    """One page of the versions of a model, by number."""
    name = _full(full_name).full
    limit, listing = page_size(max_results), f"versions of {name}"
    after = cast(int, position_of(page_token, listing, int))
    rows = await search.list_model_versions(read_session, who, name, after=after, limit=limit + 1)
    shown, token = cut(rows, limit, listing, "version")
    return wire.ModelVersionsInfoPage([_version(row) for row in shown], token)


@get("/models/{full_name:str}/versions/{version:str}")
async def get_version(read_session: Session, who: Principal, full_name: str, version: str) -> wire.ModelVersionInfo:
    """One version."""
    return _version(await model_versions.get_model_version(read_session, who, _full(full_name).full, version))


@patch("/models/{full_name:str}/versions/{version:str}")
async def update_version(
    session: Session, who: Principal, full_name: str, version: str, data: wire.UpdateVersion
) -> wire.ModelVersionInfo:
    """Changes the comment of a version."""
    if data.comment is None:
        raise InvalidParameterValue("No updated fields defined.")
    row = await model_versions.update_model_version(
        session, who, _full(full_name).full, version, description=data.comment
    )
    return _version(row)


@delete("/models/{full_name:str}/versions/{version:str}")
async def delete_version(session: Session, who: Principal, full_name: str, version: str) -> None:
    """Removes a version; its number is never used again."""
    await model_versions.delete_model_version(session, who, _full(full_name).full, version)


@patch("/models/{full_name:str}/versions/{version:str}/finalize")
async def finalize_version(
    database: Database,
    who: Principal,
    artifacts: ArtifactRoot,
    request_id: str | None,
    full_name: str,
    version: str,
    data: wire.FinalizeVersion,
) -> wire.ModelVersionInfo:
    """Ends the writing of a version's files: they are hashed, pinned, and the version becomes READY."""
    name = _full(full_name)
    other_name = data.full_name is not None and _full(data.full_name) != name
    if other_name or (data.version is not None and data.version != check_version(version)):
        raise InvalidParameterValue(f"The body names another version than the path, which is {name.full}/{version}.")
    row = await new_versions.finalize_version(database, who, artifacts, name.full, version, request_id=request_id)
    return _version(row)


@post("/temporary-model-version-credentials")
async def create_temporary_credentials(
    read_session: Session, who: Principal, data: wire.TemporaryCredentialsRequest
) -> Empty:
    """Credentials for the place of a version's files, where there are any to give."""
    if data.operation not in _OPERATIONS:
        raise InvalidParameterValue(
            f"Invalid value '{data.operation[:80]}' for parameter 'operation': expected {' or '.join(_OPERATIONS)}."
        )
    name = f"{data.catalog_name}.{data.schema_name}.{data.model_name}"
    location = await model_versions.get_storage_location(read_session, who, name, data.version)
    if location.startswith("file:"):
        raise InvalidParameterValue(f"Cannot vend credentials for a local location: {name}/{data.version}.")
    raise NotImplementedYet("This server vends no credentials for object stores.")


def _full(full_name: str) -> ModelName:
    if full_name.count(".") != 2:
        raise ResourceDoesNotExist(f"Registered model not found: {full_name[:300]}. Expected 'catalog.schema.model'.")
    return parse_model_name(full_name, parameter="full_name")


def _model(row: ModelColumns, artifacts: ArtifactRoot) -> wire.RegisteredModelInfo:
    name = parse_model_name(row["name"])
    return reply(
        {
            **row,
            **_said(row),
            "name": name.model,
            "full_name": name.full,
            "storage_location": artifacts.model_storage(row["uuid"]),
        },
        wire.RegisteredModelInfo,
    )


def _version(row: VersionRow) -> wire.ModelVersionInfo:
    return reply(
        {
            **row,
            **_said(row),
            "model_name": parse_model_name(row["name"]).model,
            "run_id": row["run_id"] or None,
            "created_by": row["user_id"],
        },
        wire.ModelVersionInfo,
    )


def _said(row: ModelColumns | VersionRow) -> dict[str, Any]:
    name = parse_model_name(row["name"])
    return {
        "catalog_name": name.catalog,
        "schema_name": name.schema,
        "comment": row["description"] or None,
        "created_at": row["creation_timestamp"],
        "updated_at": row["last_updated_timestamp"],
        "id": row["uuid"],
    }
