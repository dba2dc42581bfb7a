"""Model versions, their tags and stages. Paths: /api/2.0/mlflow/model-versions/…"""

import msgspec

from tiltyard.wire.mlflow import model_versions as wire
from tiltyard.wire.tags import Text
from tiltyard_registry.api.framework.replies import replies, reply
from tiltyard_registry.api.framework.routes import delete, get, patch, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.models import model_versions as store
from tiltyard_registry.store.models import search, tags
from tiltyard_registry.store.models.related_rows import VersionRow
from tiltyard_registry.store.registration import new_versions
from tiltyard_registry.store.registration.create_version import NewVersion
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session


@post("/model-versions/create")
async def create_model_version(
    database: Database, who: Principal, artifacts: ArtifactRoot, request_id: str | None, data: wire.CreateModelVersion
) -> wire.ModelVersionReply:
    """Registers the next version of a model; what lies at its source can change no more."""
    new = NewVersion(
        data.source, data.run_id, data.model_id, data.description, data.run_link, msgspec.to_builtins(data.tags)
    )
    row = await new_versions.create_version(database, who, artifacts, data.name, new, request_id=request_id)
    return _shown(row)


@get("/model-versions/get")
async def get_model_version(read_session: Session, who: Principal, name: Text, version: Text) -> wire.ModelVersionReply:
    """One model version."""
    return _shown(await store.get_model_version(read_session, who, name, version))


@get("/model-versions/search")
async def search_model_versions(
    read_session: Session,
    who: Principal,
    filter: str | None = None,
    max_results: int | None = None,
    order_by: list[str] | None = None,
    page_token: str | None = None,
) -> wire.ModelVersionsPage:
    """One page of the model versions that a filter finds."""
    rows, token = await search.search_model_versions(
        read_session, who, filter=filter, order_by=order_by or (), max_results=max_results, page_token=page_token
    )
    return wire.ModelVersionsPage(replies(rows, wire.ModelVersion), token)


@patch("/model-versions/update")
async def update_model_version(
    session: Session, who: Principal, data: wire.UpdateModelVersion
) -> wire.ModelVersionReply:
    """Sets the description; an absent one clears it."""
    row = await store.update_model_version(session, who, data.name, data.version, description=data.description)
    return _shown(row)


@post("/model-versions/transition-stage")
async def transition_model_version_stage(
    session: Session, who: Principal, data: wire.TransitionModelVersionStage
) -> wire.ModelVersionReply:
    """Moves a version to a stage, and on request archives the others that are in it."""
    row = await store.transition_model_version_stage(
        session,
        who,
        data.name,
        data.version,
        data.stage,
        archive_existing_versions=data.archive_existing_versions,
        comment=data.comment,
    )
    return _shown(row)


@delete("/model-versions/delete")
async def delete_model_version(session: Session, who: Principal, data: wire.DeleteModelVersion) -> None:
    """Removes a version and the aliases that name it; its number is never used again."""
    await store.delete_model_version(session, who, data.name, data.version)


@get("/model-versions/get-download-uri")
async def get_model_version_download_uri(
    read_session: Session, who: Principal, name: Text, version: Text
) -> wire.DownloadUriReply:
    """Where the files of a version are read."""
    return wire.DownloadUriReply(await store.get_model_version_download_uri(read_session, who, name, version))


@post("/model-versions/set-tag")
async def set_model_version_tag(session: Session, who: Principal, data: wire.SetModelVersionTag) -> None:
    """Sets one tag of a version."""
    await tags.set_tag(session, who, data.name, data.version, data.key, data.value)


@delete("/model-versions/delete-tag")
async def delete_model_version_tag(session: Session, who: Principal, data: wire.DeleteModelVersionTag) -> None:
    """Removes one tag of a version; an absent one is no error."""
    await tags.set_tag(session, who, data.name, data.version, data.key, None)


def _shown(row: VersionRow) -> wire.ModelVersionReply:
    return wire.ModelVersionReply(reply(row, wire.ModelVersion))
