"""Logged models."""

from collections.abc import Sequence

from tiltyard.client.call import Call, nothing, reply
from tiltyard.client.calls import MLFLOW, Tags, quoted, tag_list
from tiltyard.wire.mlflow.logged_models import (
    CreateLoggedModel,
    DeleteLoggedModel,
    FinalizeLoggedModel,
    LoggedModel,
    LoggedModelReply,
    LoggedModelsPage,
    SearchLoggedModels,
    SetLoggedModelTags,
)

_MODEL = reply(LoggedModelReply, "model")


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
    request = CreateLoggedModel(experiment_id, name, model_type, source_run_id, tag_list(params), tag_list(tags))
    return Call("POST", f"{MLFLOW}/logged-models", _MODEL, request, creates=True)


def get_logged_model(model_id: str) -> Call[LoggedModel]:
    """One logged model."""
    return Call("GET", f"{MLFLOW}/logged-models/{quoted(model_id)}", _MODEL)


def finalize_logged_model(model_id: str, status: str = "READY") -> Call[LoggedModel]:
    """Says that a logged model is complete (`READY`), or will never be (`UPLOAD_FAILED`)."""
    request = FinalizeLoggedModel(model_id, f"LOGGED_MODEL_{status}")
    return Call("PATCH", f"{MLFLOW}/logged-models/{quoted(model_id)}", _MODEL, request)


def delete_logged_model(model_id: str) -> Call[None]:
    """Deletes a logged model; its files stay while a version pins them."""
    path = f"{MLFLOW}/logged-models/{quoted(model_id)}"
    return Call("DELETE", path, nothing, DeleteLoggedModel(model_id))


def set_logged_model_tags(model_id: str, tags: Tags) -> Call[None]:
    """Sets tags of a logged model."""
    path = f"{MLFLOW}/logged-models/{quoted(model_id)}/tags"
    return Call("PATCH", path, nothing, SetLoggedModelTags(tag_list(tags), model_id))


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
