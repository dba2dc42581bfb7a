"""Runs with their metrics, params, tags, inputs and outputs. Paths: /api/2.0/mlflow/runs/…, /metrics/…"""

from msgspec import UNSET, Struct, UnsetType

from tiltyard.wire.tags import Tag, Text


class MetricOut(Struct, omit_defaults=True):
    """One point. NaN and infinities travel as the texts 'NaN', 'Infinity' and '-Infinity'."""

    key: str
    value: float | str
    timestamp: int
    step: int
    dataset_name: str | UnsetType = UNSET
    dataset_digest: str | UnsetType = UNSET
    model_id: str | UnsetType = UNSET
    run_id: str | UnsetType = UNSET


class MetricIn(Struct, omit_defaults=True):
    """One point to log. `value` accepts a number, a numeric text, and 'NaN', 'Infinity', '-Infinity'."""

    key: Text
    value: float
    timestamp: int
    step: int = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class RunInfo(Struct, omit_defaults=True):
    run_uuid: str
    run_id: str
    experiment_id: str
    run_name: str
    user_id: str
    status: str
    start_time: int
    artifact_uri: str
    lifecycle_stage: str
    end_time: int | None = None


class RunData(Struct):
    metrics: list[MetricOut]
    params: list[Tag]
    tags: list[Tag]


class Dataset(Struct, omit_defaults=True):
    """`source_type` and `source` are empty where an integration knows a name and a digest only."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None


class DatasetInput(Struct):
    dataset: Dataset
    tags: list[Tag] = []


class ModelInput(Struct):
    model_id: Text


class ModelOutput(Struct):
    model_id: Text
    step: int = 0


class RunInputs(Struct):
    dataset_inputs: list[DatasetInput]
    model_inputs: list[ModelInput]


class RunOutputs(Struct):
    model_outputs: list[ModelOutput]


class Run(Struct, omit_defaults=True):
    info: RunInfo
    data: RunData
    inputs: RunInputs
    outputs: RunOutputs | None = None


class RunReply(Struct):
    run: Run


class RunInfoReply(Struct):
    run_info: RunInfo


class RunsPage(Struct, omit_defaults=True):
    runs: list[Run]
    next_page_token: str | None = None


class MetricsPage(Struct, omit_defaults=True):
    metrics: list[MetricOut]
    next_page_token: str | None = None


class MetricsReply(Struct):
    """Points of several runs, each with its `run_id`."""

    metrics: list[MetricOut]


class CreateRun(Struct, omit_defaults=True):
    experiment_id: Text = "0"
    user_id: str = ""
    run_name: str | None = None
    start_time: int | None = None
    tags: list[Tag] = []


class UpdateRun(Struct, omit_defaults=True):
    """`run_uuid` is the old spelling of `run_id`; one of them must be there."""

    run_id: str = ""
    run_uuid: str = ""
    status: str | int | None = None
    end_time: int | None = None
    run_name: str | None = None


class SearchRuns(Struct, omit_defaults=True):
    experiment_ids: list[str] = []
    filter: str | None = None
    run_view_type: str | int = "ACTIVE_ONLY"
    max_results: int = 1000
    order_by: list[str] = []
    page_token: str | None = None


class RunId(Struct):
    """The body of delete and restore."""

    run_id: Text


class LogMetric(MetricIn, omit_defaults=True):
    run_id: str = ""
    run_uuid: str = ""


class LogParam(Tag):
    run_id: str = ""
    run_uuid: str = ""


class LogBatch(Struct, omit_defaults=True):
    run_id: Text
    metrics: list[MetricIn] = []
    params: list[Tag] = []
    tags: list[Tag] = []


class SetRunTag(LogParam):
    """The same of a tag."""


class LogModel(Struct):
    """`model_json` is the model's MLmodel as JSON text."""

    run_id: Text
    model_json: Text


class DeleteRunTag(Struct):
    run_id: Text
    key: Text


class GivenDataset(Struct):
    name: Text
    digest: Text
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class GivenDatasetInput(Struct):
    dataset: GivenDataset
    tags: list[Tag] = []


class LogInputs(Struct, omit_defaults=True):
    run_id: Text
    datasets: list[GivenDatasetInput] = []
    models: list[ModelInput] = []


class LogOutputs(Struct):
    run_id: Text
    models: list[ModelOutput] = []
