"""Batch jobs that scored with a version. Paths: /api/tiltyard/v1/models/{name}/versions/{version}/batch-jobs…"""

from typing import Literal

from msgspec import Struct

Status = Literal["RUNNING", "SUCCEEDED", "FAILED"]


class RecordBatchJob(Struct, omit_defaults=True):
    """What a job says of itself: when it starts, and once more with all that is known when it ends.

    Times in milliseconds since the epoch. What is absent stays as it was recorded before.
    """

    status: Status
    start_time: int
    end_time: int | None = None
    input: str | None = None
    output: str | None = None
    row_count: int | None = None
    null_count: int | None = None
    message: str | None = None


class BatchJob(Struct):
    """A job as it was recorded last. One that died without a word is RUNNING for ever.

    `principal` recorded it; `null_count` of the `row_count` rows have no prediction; `message` says why it failed.
    """

    job_id: str
    name: str
    version: str
    principal: str
    status: Status
    message: str | None
    input: str | None
    output: str | None
    start_time: int
    end_time: int | None
    duration_ms: int | None
    row_count: int | None
    null_count: int | None


class BatchJobsPage(Struct, omit_defaults=True):
    batch_jobs: list[BatchJob]
    next_page_token: str | None = None
