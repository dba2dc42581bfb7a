"""Model versions. Paths: /api/2.0/mlflow/model-versions/…"""

from msgspec import Struct

from tiltyard.wire.tags import Tag, Text


class ModelVersion(Struct, omit_defaults=True):
    """A model version as upstream shows it; `version` travels as text."""

    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    current_stage: str
    source: str
    status: str
    tags: list[Tag]
    aliases: list[str]
    description: str | None = None
    run_id: str | None = None
    run_link: str | None = None
    status_message: str | None = None
    model_id: str | None = None
    user_id: str | None = None


class ModelVersionReply(Struct):
    model_version: ModelVersion


class ModelVersionsPage(Struct, omit_defaults=True):
    model_versions: list[ModelVersion]
    next_page_token: str | None = None


class DownloadUriReply(Struct):
    artifact_uri: str


class CreateModelVersion(Struct, omit_defaults=True):
    name: Text
    source: Text
    run_id: str | None = None
    tags: list[Tag] = []
    run_link: str | None = None
    description: str | None = None
    model_id: str | None = None


class UpdateModelVersion(Struct, omit_defaults=True):
    name: Text
    version: Text | int
    description: str | None = None


class TransitionModelVersionStage(Struct):
    name: Text
    version: Text | int
    stage: Text
    archive_existing_versions: bool = False
    comment: str | None = None


class DeleteModelVersion(Struct):
    name: Text
    version: Text | int


class DeleteModelVersionTag(DeleteModelVersion):
    key: Text


class SetModelVersionTag(DeleteModelVersionTag):
    value: str = ""
