"""/artifacts/… and /logged-models/{id}/artifacts/directories: what lies below a run or a logged model."""

from urllib.parse import urlsplit

from tiltyard.errors import InvalidParameterValue
from tiltyard.uri import safe_relative_path
from tiltyard.wire.mlflow import artifacts as wire
from tiltyard.wire.mlflow.artifacts import FileInfo, RunFilesReply
from tiltyard.wire.tags import Empty
from tiltyard_registry.api.artifacts.proxy import list_files
from tiltyard_registry.api.framework.routes import get, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.runs import either_run_id
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.experiments.logged_models import get_logged_model
from tiltyard_registry.store.runs.runs import get_run
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session


@get("/artifacts/list")
async def list_artifacts(
    database: Database, who: Principal, artifacts: ArtifactRoot, run_id: str = "", run_uuid: str = "", path: str = ""
) -> RunFilesReply:
    """The files and directories of one directory of a run, by paths relative to the run."""
    # The store may be slow, and no connection is held meanwhile.
    async with database.read() as session:
        run = await get_run(session, who, either_run_id(run_id, run_uuid))
    return await _list(artifacts, run["info"]["artifact_uri"], path, parameter="path")


@get("/logged-models/{model_id:str}/artifacts/directories")
async def list_logged_model_artifacts(
    database: Database, who: Principal, artifacts: ArtifactRoot, model_id: str, artifact_directory_path: str = ""
) -> RunFilesReply:
    """The files and directories of one directory of a logged model, by paths relative to the model."""
    async with database.read() as session:
        model = await get_logged_model(session, who, model_id)
    return await _list(
        artifacts, model["info"]["artifact_uri"], artifact_directory_path, parameter="artifact_directory_path"
    )


@post("/artifacts/presigned-upload-url")
async def create_presigned_upload_url(read_session: Session, who: Principal, data: wire.PresignedUrl) -> Empty:
    """Refuses, as upstream does where artifacts pass through the server: such files could not be kept from changing."""
    raise await _not_direct(read_session, who, data, "upload")


@post("/artifacts/presigned-download-url")
async def create_presigned_download_url(read_session: Session, who: Principal, data: wire.PresignedUrl) -> Empty:
    """Refuses likewise; clients of proxied artifacts ask at /mlflow-artifacts/presigned."""
    raise await _not_direct(read_session, who, data, "download")


async def _not_direct(session: Session, who: Principal, data: wire.PresignedUrl, what: str) -> InvalidParameterValue:
    if bool(data.run_id) == bool(data.model_id):
        return InvalidParameterValue("Exactly one of run_id and model_id must be provided.")
    safe_relative_path(data.path, parameter="path")
    if data.run_id:
        uri = (await get_run(session, who, data.run_id))["info"]["artifact_uri"]
    else:
        uri = (await get_logged_model(session, who, data.model_id))["info"]["artifact_uri"]
    scheme = urlsplit(uri).scheme
    return InvalidParameterValue(
        f"Presigned {what} is not supported for proxied artifact storage (artifact URI scheme: {scheme})."
    )


async def _list(artifacts: ArtifactRoot, root_uri: str, path: str, *, parameter: str) -> RunFilesReply:
    directory = safe_relative_path(path, parameter=parameter)
    root = artifacts.prefix_of(root_uri)
    if root is None:
        raise InvalidParameterValue(
            f"The artifacts at '{root_uri}' lie outside this registry's store and cannot be listed through it."
        )
    below = f"{directory}/" if directory else ""
    files = await list_files(artifacts.store, f"{root}/{directory}".rstrip("/"))
    return RunFilesReply(root_uri, [FileInfo(f"{below}{one.path}", one.is_dir, one.file_size) for one in files])
