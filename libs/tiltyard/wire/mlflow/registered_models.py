"""Registered models, their tags and aliases. Paths: /api/2.0/mlflow/registered-models/…"""

from msgspec import Struct

from tiltyard.wire.mlflow.model_versions import ModelVersion
from tiltyard.wire.tags import Tag, Text


class Alias(Struct):
    """An alias and the version that it names."""

    alias: str
    version: str


class RegisteredModel(Struct, omit_defaults=True):
    """A registered model as upstream shows it. `latest_versions` holds the highest version of each stage."""

    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    tags: list[Tag]
    aliases: list[Alias]
    latest_versions: list[ModelVersion]
    description: str | None = None


class RegisteredModelReply(Struct):
    registered_model: RegisteredModel


class RegisteredModelsPage(Struct, omit_defaults=True):
    registered_models: list[RegisteredModel]
    next_page_token: str | None = None


class CreateRegisteredModel(Struct, omit_defaults=True):
    name: Text
    tags: list[Tag] = []
    description: str | None = None


class UpdateRegisteredModel(Struct, omit_defaults=True):
    name: Text
    description: str | None = None


class RenameRegisteredModel(Struct):
    name: Text
    new_name: Text


class DeleteRegisteredModel(Struct):
    name: Text


class GetLatestVersions(Struct, omit_defaults=True):
    name: Text
    stages: list[str] = []


class LatestVersionsReply(Struct):
    model_versions: list[ModelVersion]


class DeleteRegisteredModelTag(Struct):
    name: Text
    key: Text


class SetRegisteredModelTag(DeleteRegisteredModelTag):
    value: str = ""


class DeleteRegisteredModelAlias(Struct):
    name: Text
    alias: Text


class SetRegisteredModelAlias(DeleteRegisteredModelAlias):
    version: Text | int
