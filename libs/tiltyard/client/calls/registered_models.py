"""Registered models, as the MLflow API has them."""

from collections.abc import Sequence

from tiltyard.client.call import Call, nothing, reply
from tiltyard.client.calls import MLFLOW, OWN, Tags, given, quoted, tag_list
from tiltyard.wire.mlflow.model_versions import ModelVersion, ModelVersionReply
from tiltyard.wire.mlflow.registered_models import (
    CreateRegisteredModel,
    DeleteRegisteredModel,
    DeleteRegisteredModelTag,
    GetLatestVersions,
    LatestVersionsReply,
    RegisteredModel,
    RegisteredModelReply,
    RegisteredModelsPage,
    RenameRegisteredModel,
    SetRegisteredModelTag,
    UpdateRegisteredModel,
)

_MODEL = reply(RegisteredModelReply, "registered_model")


def create_registered_model(
    name: str, *, tags: Tags | None = None, description: str | None = None
) -> Call[RegisteredModel]:
    """Creates a registered model, and its missing schema and catalog.

    Raises:
        ResourceAlreadyExists: the name is taken.
    """
    request = CreateRegisteredModel(name, tag_list(tags), description)
    return Call("POST", f"{MLFLOW}/registered-models/create", _MODEL, request, creates=True)


def get_registered_model(name: str) -> Call[RegisteredModel]:
    """The registered model `name`."""
    return Call("GET", f"{MLFLOW}/registered-models/get", _MODEL, query={"name": name})


def search_registered_models(
    filter: str | None = None,
    *,
    max_results: int = 100,
    order_by: Sequence[str] = (),
    page_token: str | None = None,
) -> Call[RegisteredModelsPage]:
    """One page of registered models."""
    query = given(filter=filter, max_results=max_results, order_by=list(order_by), page_token=page_token)
    return Call("GET", f"{MLFLOW}/registered-models/search", reply(RegisteredModelsPage), query=query)


def update_registered_model(name: str, description: str) -> Call[RegisteredModel]:
    """Sets the description of a registered model."""
    request = UpdateRegisteredModel(name, description)
    return Call("PATCH", f"{MLFLOW}/registered-models/update", _MODEL, request)


def rename_registered_model(name: str, new_name: str) -> Call[RegisteredModel]:
    """Gives a registered model another name; versions, tags and aliases go with it."""
    request = RenameRegisteredModel(name, new_name)
    return Call("POST", f"{MLFLOW}/registered-models/rename", _MODEL, request, creates=True)


def delete_registered_model(name: str, *, force: bool = False) -> Call[None]:
    """Deletes a registered model with its versions. With `force` its aliases are deleted too.

    Only with `force` can it be asked of a plain MLflow server, which deletes the aliases always.

    Raises:
        ResourceConflict: it has aliases, and `force` is not given.
        ResourceDoesNotExist: there is no such model.
    """
    if not force:
        return Call("DELETE", f"{OWN}/models/{quoted(name)}", nothing)
    # What every server of the protocol does.
    return Call("DELETE", f"{MLFLOW}/registered-models/delete", nothing, DeleteRegisteredModel(name))


def set_registered_model_tag(name: str, key: str, value: str) -> Call[None]:
    """Sets a tag of a registered model."""
    request = SetRegisteredModelTag(name, key, value)
    return Call("POST", f"{MLFLOW}/registered-models/set-tag", nothing, request)


def delete_registered_model_tag(name: str, key: str) -> Call[None]:
    """Removes a tag of a registered model."""
    request = DeleteRegisteredModelTag(name, key)
    return Call("DELETE", f"{MLFLOW}/registered-models/delete-tag", nothing, request)


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
