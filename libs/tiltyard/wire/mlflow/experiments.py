"""Experiments. Paths: /api/2.0/mlflow/experiments/…"""

from msgspec import Struct

from tiltyard.wire.tags import Tag, Text


class Experiment(Struct):
    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    creation_time: int
    last_update_time: int
    tags: list[Tag]


class ExperimentReply(Struct):
    experiment: Experiment


class ExperimentsPage(Struct, omit_defaults=True):
    experiments: list[Experiment]
    next_page_token: str | None = None


class CreateExperiment(Struct, omit_defaults=True):
    name: Text
    artifact_location: str | None = None
    tags: list[Tag] = []


class CreateExperimentReply(Struct):
    experiment_id: str


class SearchExperiments(Struct, omit_defaults=True):
    max_results: int = 1000
    page_token: str | None = None
    filter: str | None = None
    order_by: list[str] = []
    view_type: str | int = "ACTIVE_ONLY"


class SearchDatasets(Struct):
    experiment_ids: list[str] = []


class DatasetSummary(Struct, omit_defaults=True):
    """One dataset as the runs of an experiment use it; `context` says what for ('train')."""

    experiment_id: str
    name: str
    digest: str
    context: str | None = None


class DatasetSummariesReply(Struct):
    dataset_summaries: list[DatasetSummary]


class ExperimentId(Struct):
    """The body of delete and restore."""

    experiment_id: Text


class UpdateExperiment(Struct):
    experiment_id: Text
    new_name: Text


class DeleteExperimentTag(Struct):
    experiment_id: Text
    key: Text


class SetExperimentTag(DeleteExperimentTag):
    value: str = ""
