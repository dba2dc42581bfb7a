"""Logged models. Paths: /api/2.0/mlflow/logged-models…"""

from msgspec import Struct

from tiltyard.wire.mlflow.runs import MetricOut
from tiltyard.wire.tags import Tag, Text


class Registration(Struct):
    name: str
    version: str


class LoggedModelInfo(Struct, omit_defaults=True):
    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str
    source_run_id: str
    tags: list[Tag]
    registrations: list[Registration]
    status_message: str | None = None


class LoggedModelData(Struct):
    params: list[Tag]
    metrics: list[MetricOut]


class LoggedModel(Struct):
    info: LoggedModelInfo
    data: LoggedModelData


class LoggedModelReply(Struct):
    model: LoggedModel


class LoggedModelsPage(Struct, omit_defaults=True):
    models: list[LoggedModel]
    next_page_token: str | None = None


class CreateLoggedModel(Struct, omit_defaults=True):
    experiment_id: Text
    name: str | None = None
    model_type: str = ""
    source_run_id: str = ""
    params: list[Tag] = []
    tags: list[Tag] = []


class FinalizeLoggedModel(Struct):
    model_id: Text
    status: str | int


class DeleteLoggedModel(Struct):
    model_id: Text


class SetLoggedModelTags(Struct, omit_defaults=True):
    tags: list[Tag]
    model_id: str = ""


class LogLoggedModelParams(Struct, omit_defaults=True):
    params: list[Tag]
    model_id: str = ""


class DatasetFilter(Struct, omit_defaults=True):
    dataset_name: Text
    dataset_digest: str | None = None


class OrderBy(Struct, omit_defaults=True):
    field_name: Text
    ascending: bool = True
    dataset_name: str | None = None
    dataset_digest: str | None = None


class SearchLoggedModels(Struct, omit_defaults=True):
    experiment_ids: list[str] = []
    filter: str | None = None
    datasets: list[DatasetFilter] = []
    max_results: int = 50
    order_by: list[OrderBy] = []
    page_token: str | None = None
