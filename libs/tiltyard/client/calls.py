"""Every call of the registry's API as a function from plain values to a `Call`: no I/O, no state.

A function's name is the method's name on both clients.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from tiltyard.client.call import Answer, Call, decode, nothing, reply
from tiltyard.errors import InternalError
from tiltyard.wire.artifacts import FileInfo, FilesReply
from tiltyard.wire.experiments import CreateExperiment, CreateExperimentReply, Experiment, ExperimentReply
from tiltyard.wire.logged_models import (
    CreateLoggedModel,
    DeleteLoggedModel,
    FinalizeLoggedModel,
    LoggedModel,
    LoggedModelReply,
    LoggedModelsPage,
    SearchLoggedModels,
    SetLoggedModelTags,
)
from tiltyard.wire.model_versions import (
    CreateModelVersion,
    DeleteModelVersion,
    DownloadUriReply,
    ModelVersion,
    ModelVersionReply,
    ModelVersionsPage,
    SetModelVersionTag,
    TransitionModelVersionStage,
    UpdateModelVersion,
)
from tiltyard.wire.registered_models import (
    CreateRegisteredModel,
    DeleteRegisteredModel,
    GetLatestVersions,
    LatestVersionsReply,
    RegisteredModel,
    RegisteredModelReply,
    RegisteredModelsPage,
    RenameRegisteredModel,
    SetRegisteredModelTag,
    UpdateRegisteredModel,
)
from tiltyard.wire.registry import (
    AliasesReply,
    AliasHistoryPage,
    AliasState,
    Change,
    Changes,
    EventsPage,
    Manifest,
    Resolved,
    ResolveReply,
    SetAlias,
    Unresolved,
)
from tiltyard.wire.runs import (
    CreateRun,
    LogBatch,
    LogOutputs,
    ModelOutput,
    Run,
    RunInfo,
    RunInfoReply,
    RunReply,
    UpdateRun,
)
from tiltyard.wire.runs import MetricIn as Metric
from tiltyard.wire.server import ServerInfo
from tiltyard.wire.tags import Tag

MLFLOW = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
OWN = "/api/tiltyard/v1"

Tags = Mapping[str, str]


def _tags(tags: Tags | None) -> list[Tag]:
    return [Tag(key, str(value)) for key, value in (tags or {}).items()]


def _given(**query: Any) -> dict[str, Any]:
    return {key: value for key, value in query.items() if value not in (None, [], ())}


# --- Registered models ------------------------------------------------------------------------------------


def create_registered_model(
    name: str, *, tags: Tags | None = None, description: str | None = None
) -> Call[RegisteredModel]:
    """Creates a registered model, and its missing schema and catalog.

    Raises:
        ResourceAlreadyExists: the name is taken.
    """
    request = CreateRegisteredModel(name, _tags(tags), description)
    read = reply(RegisteredModelReply, "registered_model")
    return Call("POST", f"{MLFLOW}/registered-models/create", read, request, creates=True)


def get_registered_model(name: str) -> Call[RegisteredModel]:
    """The registered model `name`."""
    read = reply(RegisteredModelReply, "registered_model")
    return Call("GET", f"{MLFLOW}/registered-models/get", read, query={"name": name})


def search_registered_models(
    filter: str | None = None,
    *,
    max_results: int = 100,
    order_by: Sequence[str] = (),
    page_token: str | None = None,
) -> Call[RegisteredModelsPage]:
    """One page of registered models."""
    query = _given(filter=filter, max_results=max_results, order_by=list(order_by), page_token=page_token)
    return Call("GET", f"{MLFLOW}/registered-models/search", reply(RegisteredModelsPage), query=query)


def update_registered_model(name: str, description: str) -> Call[RegisteredModel]:
    """Sets the description of a registered model."""
    request = UpdateRegisteredModel(name, description)
    read = reply(RegisteredModelReply, "registered_model")
    return Call("PATCH", f"{MLFLOW}/registered-models/update", read, request)


def rename_registered_model(name: str, new_name: str) -> Call[RegisteredModel]:
    """Gives a registered model another name; versions, tags and aliases go with it."""
    request = RenameRegisteredModel(name, new_name)
    read = reply(RegisteredModelReply, "registered_model")
    return Call("POST", f"{MLFLOW}/registered-models/rename", read, request, creates=True)


def delete_registered_model(name: str) -> Call[None]:
    """Deletes a registered model with all that hangs on it."""
    return Call("DELETE", f"{MLFLOW}/registered-models/delete", nothing, DeleteRegisteredModel(name))


def set_registered_model_tag(name: str, key: str, value: str) -> Call[None]:
    """Sets a tag of a registered model."""
    request = SetRegisteredModelTag(name, key, value)
    return Call("POST", f"{MLFLOW}/registered-models/set-tag", nothing, request)


def get_latest_versions(name: str, stages: Sequence[str] = ()) -> Call[list[ModelVersion]]:
    """The highest version in each of the stages, or in every stage."""
    request = GetLatestVersions(name, list(stages))
    read = reply(LatestVersionsReply, "model_versions")
    return Call("POST", f"{MLFLOW}/registered-models/get-latest-versions", read, request)


def get_model_version_by_alias(name: str, alias: str) -> Call[ModelVersion]:
    """The version that an alias names."""
    read = reply(ModelVersionReply, "model_version")
    query = {"name": name, "alias": alias}
    return Call("GET", f"{MLFLOW}/registered-models/alias", read, query=query)


# --- Model versions ---------------------------------------------------------------------------------------


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
    request = CreateModelVersion(name, source, run_id, _tags(tags), run_link, description, model_id)
    read = reply(ModelVersionReply, "model_version")
    return Call("POST", f"{MLFLOW}/model-versions/create", read, request, creates=True)


def get_model_version(name: str, version: int | str) -> Call[ModelVersion]:
    """One version of a model."""
    read = reply(ModelVersionReply, "model_version")
    query = {"name": name, "version": str(version)}
    return Call("GET", f"{MLFLOW}/model-versions/get", read, query=query)


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
    query = _given(filter=filter, max_results=max_results, order_by=list(order_by), page_token=page_token)
    return Call("GET", f"{MLFLOW}/model-versions/search", reply(ModelVersionsPage), query=query)


def update_model_version(name: str, version: int | str, description: str) -> Call[ModelVersion]:
    """Sets the description of a version."""
    request = UpdateModelVersion(name, str(version), description)
    read = reply(ModelVersionReply, "model_version")
    return Call("PATCH", f"{MLFLOW}/model-versions/update", read, request)


def transition_model_version_stage(
    name: str, version: int | str, stage: str, *, archive_existing_versions: bool = False
) -> Call[ModelVersion]:
    """Moves a version to a stage."""
    request = TransitionModelVersionStage(name, str(version), stage, archive_existing_versions)
    read = reply(ModelVersionReply, "model_version")
    return Call("POST", f"{MLFLOW}/model-versions/transition-stage", read, request)


def delete_model_version(name: str, version: int | str) -> Call[None]:
    """Deletes a version; its number is never used again."""
    request = DeleteModelVersion(name, str(version))
    return Call("DELETE", f"{MLFLOW}/model-versions/delete", nothing, request)


def set_model_version_tag(name: str, version: int | str, key: str, value: str) -> Call[None]:
    """Sets a tag of a version."""
    request = SetModelVersionTag(name, str(version), key, value)
    return Call("POST", f"{MLFLOW}/model-versions/set-tag", nothing, request)


# --- Aliases, manifests and events: our own additions -----------------------------------------------------


def _model(name: str) -> str:
    return f"{OWN}/models/{quote(name, safe='')}"


def _expecting(version: int | str | None) -> dict[str, str]:
    if version is None:
        return {}
    return {"If-None-Match": "*"} if version == "" else {"If-Match": f'"{version}"'}


def _alias(name: str, alias: str) -> str:
    return f"{_model(name)}/aliases/{quote(alias, safe='')}"


def set_alias(
    name: str, alias: str, version: int | str, *, expected_version: int | str | None = None
) -> Call[AliasState]:
    """Makes `alias` name `version`; with `expected_version`, only if it names that one now.

    An `expected_version` of `""` means that the alias must be absent.

    Raises:
        ResourceConflict: the alias names another version than expected.
        ResourceDoesNotExist: there is no such version.
    """
    request = SetAlias(str(version))
    return Call("PUT", _alias(name, alias), reply(AliasState), request, headers=_expecting(expected_version))


def get_alias(name: str, alias: str, *, at_ms: int | None = None) -> Call[AliasState]:
    """The version that an alias names, or named `at_ms` milliseconds after the epoch."""
    return Call("GET", _alias(name, alias), reply(AliasState), query=_given(at=at_ms))


def delete_alias(name: str, alias: str, *, expected_version: int | str | None = None) -> Call[None]:
    """Removes an alias; an absent one is no error.

    Raises:
        ResourceConflict: the alias names another version than expected.
    """
    return Call("DELETE", _alias(name, alias), nothing, headers=_expecting(expected_version))


def get_aliases(name: str, *, at_ms: int | None = None) -> Call[list[AliasState]]:
    """The aliases of a model, now or as they were `at_ms` milliseconds after the epoch."""
    return Call("GET", f"{_model(name)}/aliases", reply(AliasesReply, "aliases"), query=_given(at=at_ms))


def rollback_alias(name: str, alias: str, *, expected_version: int | str | None = None) -> Call[AliasState]:
    """Moves an alias back to the version that it named before; twice ends where it began.

    Raises:
        ResourceConflict: the alias names another version than expected.
        ResourceDoesNotExist: there is nothing to go back to.
    """
    path = f"{_alias(name, alias)}/rollback"
    return Call("POST", path, reply(AliasState), headers=_expecting(expected_version), creates=True)


def alias_history(
    name: str, alias: str, *, max_results: int | None = None, page_token: str | None = None
) -> Call[AliasHistoryPage]:
    """The moves of an alias, newest first."""
    path = f"{_alias(name, alias)}/history"
    return Call("GET", path, reply(AliasHistoryPage), query=_given(max_results=max_results, page_token=page_token))


def apply_changes(changes: Sequence[Change]) -> Call[None]:
    """Applies alias and tag changes, all or none."""
    return Call("POST", f"{OWN}/changes", nothing, Changes(list(changes)))


def manifest(name: str, version: int | str) -> Call[Manifest]:
    """The files of a version with their hashes, and where they are read."""
    return Call("GET", f"{_model(name)}/versions/{quote(str(version), safe='')}/manifest", reply(Manifest))


def events(
    *,
    model: str | None = None,
    principal: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    max_results: int | None = None,
    page_token: str | None = None,
) -> Call[EventsPage]:
    """One page of what changed in the registry."""
    query = _given(
        model=model,
        principal=principal,
        since=since_ms,
        until=until_ms,
        max_results=max_results,
        page_token=page_token,
    )
    return Call("GET", f"{OWN}/events", reply(EventsPage), query=query)


class Resolution(msgspec.Struct, frozen=True):
    """What model URIs name now. `models` is None when nothing changed since the ETag that was sent."""

    models: list[Resolved | Unresolved] | None
    etag: str


def resolve(uris: Sequence[str], *, wait_s: float = 0.0, etag: str | None = None) -> Call[Resolution]:
    """What `models:/` URIs name now, one entry for each in the same order.

    With the `etag` of an earlier answer the server waits up to `wait_s` seconds for a change.
    """

    def read(answer: Answer) -> Resolution:
        came = answer.headers.get("etag", "")
        if answer.status == 304:
            return Resolution(None, came or etag or "")
        models = decode(answer.body, ResolveReply).models
        if len(models) != len(uris):
            raise InternalError(f"The server resolved {len(models)} of {len(uris)} URIs.")
        return Resolution(models, came)

    query: dict[str, Any] = {"uri": list(uris)}
    headers = {}
    if etag:
        headers = {"If-None-Match": etag}
        if wait_s:
            query["wait"] = f"{wait_s:g}"
    return Call("GET", f"{OWN}/resolve", read, query=query, headers=headers, wait_s=wait_s)


# --- Experiments and runs ---------------------------------------------------------------------------------


def create_experiment(name: str, *, artifact_location: str | None = None, tags: Tags | None = None) -> Call[str]:
    """The id of a new experiment."""
    request = CreateExperiment(name, artifact_location, _tags(tags))
    read = reply(CreateExperimentReply, "experiment_id")
    return Call("POST", f"{MLFLOW}/experiments/create", read, request, creates=True)


def get_experiment(experiment_id: str) -> Call[Experiment]:
    """The experiment with that id."""
    query = {"experiment_id": experiment_id}
    return Call("GET", f"{MLFLOW}/experiments/get", reply(ExperimentReply, "experiment"), query=query)


def get_experiment_by_name(name: str) -> Call[Experiment]:
    """The experiment of that name, deleted or not."""
    read = reply(ExperimentReply, "experiment")
    return Call("GET", f"{MLFLOW}/experiments/get-by-name", read, query={"experiment_name": name})


def create_run(
    experiment_id: str,
    *,
    run_name: str | None = None,
    user_id: str = "",
    start_time_ms: int | None = None,
    tags: Tags | None = None,
) -> Call[Run]:
    """A new run, RUNNING."""
    request = CreateRun(experiment_id, user_id, run_name, start_time_ms, _tags(tags))
    return Call("POST", f"{MLFLOW}/runs/create", reply(RunReply, "run"), request, creates=True)


def get_run(run_id: str) -> Call[Run]:
    """One run with its metrics, params and tags."""
    return Call("GET", f"{MLFLOW}/runs/get", reply(RunReply, "run"), query={"run_id": run_id})


def update_run(run_id: str, *, status: str | None = None, end_time_ms: int | None = None) -> Call[RunInfo]:
    """Ends a run, or changes its status."""
    request = UpdateRun(run_id, run_id, status, end_time_ms)
    return Call("POST", f"{MLFLOW}/runs/update", reply(RunInfoReply, "run_info"), request)


def log_batch(
    run_id: str,
    *,
    metrics: Sequence[Metric] = (),
    params: Tags | None = None,
    tags: Tags | None = None,
) -> Call[None]:
    """Logs metrics, params and tags, all or none."""
    request = LogBatch(run_id, list(metrics), _tags(params), _tags(tags))
    return Call("POST", f"{MLFLOW}/runs/log-batch", nothing, request)


def log_outputs(run_id: str, model_ids: Sequence[str], *, step: int = 0) -> Call[None]:
    """Links logged models to the run that made them."""
    request = LogOutputs(run_id, [ModelOutput(model_id, step) for model_id in model_ids])
    return Call("POST", f"{MLFLOW}/runs/outputs", nothing, request)


# --- Logged models ----------------------------------------------------------------------------------------


def create_logged_model(
    experiment_id: str,
    *,
    name: str | None = None,
    model_type: str = "",
    source_run_id: str = "",
    params: Tags | None = None,
    tags: Tags | None = None,
) -> Call[LoggedModel]:
    """A new logged model, PENDING until it is finalized."""
    request = CreateLoggedModel(experiment_id, name, model_type, source_run_id, _tags(params), _tags(tags))
    read = reply(LoggedModelReply, "model")
    return Call("POST", f"{MLFLOW}/logged-models", read, request, creates=True)


def get_logged_model(model_id: str) -> Call[LoggedModel]:
    """One logged model."""
    return Call("GET", f"{MLFLOW}/logged-models/{quote(model_id, safe='')}", reply(LoggedModelReply, "model"))


def finalize_logged_model(model_id: str, status: str = "READY") -> Call[LoggedModel]:
    """Says that a logged model is complete (`READY`), or will never be (`UPLOAD_FAILED`)."""
    request = FinalizeLoggedModel(model_id, f"LOGGED_MODEL_{status}")
    read = reply(LoggedModelReply, "model")
    return Call("PATCH", f"{MLFLOW}/logged-models/{quote(model_id, safe='')}", read, request)


def delete_logged_model(model_id: str) -> Call[None]:
    """Deletes a logged model; its files stay while a version pins them."""
    path = f"{MLFLOW}/logged-models/{quote(model_id, safe='')}"
    return Call("DELETE", path, nothing, DeleteLoggedModel(model_id))


def set_logged_model_tags(model_id: str, tags: Tags) -> Call[None]:
    """Sets tags of a logged model."""
    path = f"{MLFLOW}/logged-models/{quote(model_id, safe='')}/tags"
    return Call("PATCH", path, nothing, SetLoggedModelTags(_tags(tags), model_id))


def search_logged_models(
    experiment_ids: Sequence[str],
    filter: str | None = None,
    *,
    max_results: int = 50,
    page_token: str | None = None,
) -> Call[LoggedModelsPage]:
    """One page of logged models, newest first."""
    request = SearchLoggedModels(list(experiment_ids), filter, max_results=max_results, page_token=page_token)
    return Call("POST", f"{MLFLOW}/logged-models/search", reply(LoggedModelsPage), request)


# --- Artifacts and server ---------------------------------------------------------------------------------


def list_artifacts(path: str = "") -> Call[list[FileInfo]]:
    """What lies below the directory `path` of the artifact root, by base names."""
    return Call("GET", ARTIFACTS, reply(FilesReply, "files"), query={"path": path})


def delete_artifacts(path: str) -> Call[None]:
    """Removes a file or a tree; a missing one is no error."""
    return Call("DELETE", artifact_path(path), nothing)


def artifact_path(path: str) -> str:
    """The URL path of one artifact."""
    return f"{ARTIFACTS}/{quote(path, safe='/')}"


def server_info() -> Call[ServerInfo]:
    """What the server can do."""
    return Call("GET", "/api/3.0/mlflow/server-info", reply(ServerInfo))
