"""Unity Catalog's models. Paths: /api/2.1/unity-catalog/models…; times in milliseconds, versions as integers."""

from msgspec import Struct

from tiltyard.wire.tags import Text
from tiltyard.wire.unity.info import Info, OwnedInfo


class RegisteredModelInfo(OwnedInfo):
    name: str
    catalog_name: str
    schema_name: str
    full_name: str
    storage_location: str
    id: str


class RegisteredModelsInfoPage(Struct):
    registered_models: list[RegisteredModelInfo]
    next_page_token: str | None = None


class CreateModel(Struct):
    name: Text
    catalog_name: Text
    schema_name: Text
    comment: str | None = None


class UpdateVersion(Struct):
    comment: str | None = None


class UpdateModel(UpdateVersion):
    new_name: str | None = None


class ModelVersionInfo(Info):
    model_name: str
    catalog_name: str
    schema_name: str
    version: int
    source: str
    run_id: str | None
    status: str
    storage_location: str
    id: str


class ModelVersionsInfoPage(Struct):
    model_versions: list[ModelVersionInfo]
    next_page_token: str | None = None


class CreateVersion(Struct):
    model_name: Text
    catalog_name: Text
    schema_name: Text
    source: Text
    run_id: str | None = None
    comment: str | None = None


class FinalizeVersion(Struct):
    full_name: str | None = None
    version: int | None = None


class TemporaryCredentialsRequest(Struct):
    catalog_name: Text
    schema_name: Text
    model_name: Text
    version: int
    operation: Text
