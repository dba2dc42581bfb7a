"""Model versions, as the MLflow API has them."""

from collections.abc import Sequence

from tiltyard.client.call import Call, nothing, reply
from tiltyard.client.calls import MLFLOW, OWN, Tags, given, quoted, tag_list
from tiltyard.wire.mlflow.model_versions import (
    CreateModelVersion,
    DeleteModelVersion,
    DeleteModelVersionTag,
    DownloadUriReply,
    ModelVersion,
    ModelVersionReply,
    ModelVersionsPage,
    SetModelVersionTag,
    TransitionModelVersionStage,
    UpdateModelVersion,
)

_VERSION = reply(ModelVersionReply, "model_version")


def create_model_version(
    name: str,
    source: str,
    *,
    run_id: str | None = None,
    model_id: str | None = None,
    tags: Tags | None = None,
    run_link: str | None = None,
    description: str | None = None,
) -> Call[ModelVersion]:
    """Registers what lies at `source` as the next version of `name`."""
    request = CreateModelVersion(name, source, run_id, tag_list(tags), run_link, description, model_id)
    return Call("POST", f"{MLFLOW}/model-versions/create", _VERSION, request, creates=True)


def get_model_version(name: str, version: int | str) -> Call[ModelVersion]:
    """One version of a model."""
    query = {"name": name, "version": str(version)}
    return Call("GET", f"{MLFLOW}/model-versions/get", _VERSION, query=query)


def get_model_version_download_uri(name: str, version: int | str) -> Call[str]:
    """Where the files of a version are read."""
    query = {"name": name, "version": str(version)}
    read = reply(DownloadUriReply, "artifact_uri")
    return Call("GET", f"{MLFLOW}/model-versions/get-download-uri", read, query=query)


def search_model_versions(
    filter: str | None = None,
    *,
    max_results: int = 10_000,
    order_by: Sequence[str] = (),
    page_token: str | None = None,
) -> Call[ModelVersionsPage]:
    """One page of model versions."""
    query = given(filter=filter, max_results=max_results, order_by=list(order_by), page_token=page_token)
    return Call("GET", f"{MLFLOW}/model-versions/search", reply(ModelVersionsPage), query=query)


def update_model_version(name: str, version: int | str, description: str) -> Call[ModelVersion]:
    """Sets the description of a version."""
    request = UpdateModelVersion(name, str(version), description)
    return Call("PATCH", f"{MLFLOW}/model-versions/update", _VERSION, request)


def transition_model_version_stage(
    name: str, version: int | str, stage: str, *, archive_existing_versions: bool = False
) -> Call[ModelVersion]:
    """Moves a version to a stage."""
    request = TransitionModelVersionStage(name, str(version), stage, archive_existing_versions)
    return Call("POST", f"{MLFLOW}/model-versions/transition-stage", _VERSION, request)


def delete_model_version(name: str, version: int | str, *, force: bool = False) -> Call[None]:
    """Deletes a version; its number is never used again. With `force` the aliases that name it are deleted too.

    Only with `force` can it be asked of a plain MLflow server, which deletes the aliases always.

    Raises:
        ResourceConflict: an alias names it, and `force` is not given.
        ResourceDoesNotExist: there is no such version.
    """
    if force:
        # What every server of the protocol does.
        return Call("DELETE", f"{MLFLOW}/model-versions/delete", nothing, DeleteModelVersion(name, str(version)))
    return Call("DELETE", f"{OWN}/models/{quoted(name)}/versions/{quoted(str(version))}", nothing)


def set_model_version_tag(name: str, version: int | str, key: str, value: str) -> Call[None]:
    """Sets a tag of a version."""
    request = SetModelVersionTag(name, str(version), key, value)
    return Call("POST", f"{MLFLOW}/model-versions/set-tag", nothing, request)


def delete_model_version_tag(name: str, version: int | str, key: str) -> Call[None]:
    """Removes a tag of a version."""
    request = DeleteModelVersionTag(name, str(version), key)
    return Call("DELETE", f"{MLFLOW}/model-versions/delete-tag", nothing, request)
