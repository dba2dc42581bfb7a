"""Runs by the many. Paths: /api/2.0/mlflow/databricks/runs/…, /api/tiltyard/v1/runs/…"""

from msgspec import Struct

from tiltyard.wire.tags import Text


class DeleteRuns(Struct, omit_defaults=True):
    """The oldest `max_runs` that started at or before the time, 10,000 at most."""

    experiment_id: Text
    max_timestamp_millis: int
    max_runs: int | None = None


class RestoreRuns(Struct, omit_defaults=True):
    """The last deleted `max_runs` that were deleted at or after the time, 10,000 at most."""

    experiment_id: Text
    min_timestamp_millis: int
    max_runs: int | None = None


class RunsDeleted(Struct):
    runs_deleted: int


class RunsRestored(Struct):
    runs_restored: int
