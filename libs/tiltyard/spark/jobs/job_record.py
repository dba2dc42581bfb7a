"""The record of a batch job at the registry: told when the job starts, and once more when it ended."""

import logging
import time
import uuid
from typing import Self

from tiltyard.client import Client
from tiltyard.client.address import without_credentials
from tiltyard.errors import EndpointNotFound
from tiltyard.models import ModelReference
from tiltyard.spark.jobs.failures import last_words
from tiltyard.wire.v1.batch_jobs import RecordBatchJob, Status

logger = logging.getLogger("tiltyard.spark")

# So long a registry that is away is asked again: a job waits little to begin, and longer when all is done.
START_RETRY_S = 3.0
END_RETRY_S = 15.0
_TIMEOUT_S = 10.0


class JobRecord:
    """Tells the registry of the job that runs within the block: `RUNNING`, then `SUCCEEDED`, or `FAILED` and why.

    What cannot be told is a warning and nothing more: the job goes on, and what it wrote stays. Where there is
    nobody to tell (the model is a directory, the registry a plain MLflow server) nothing is told.

    Attributes:
        row_count, null_count: of the output, for the job to set before the block ends.
        job_id: the record's id, None when there is no record.
    """

    def __init__(self, reference: ModelReference, *, input: str | None = None, output: str | None = None) -> None:
        self._reference = reference
        self._input, self._output = _shown(input), _shown(output)
        self._start_time_ms = 0
        self.row_count: int | None = None
        self.null_count: int | None = None
        has_version = reference.name is not None and reference.version is not None
        self.job_id = uuid.uuid4().hex if has_version and reference.registry_url else None

    def __enter__(self) -> Self:
        self._start_time_ms = _now_ms()
        self._tell("RUNNING", retry_s=START_RETRY_S)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._tell(
            "SUCCEEDED" if error is None else "FAILED",
            end_time_ms=max(_now_ms(), self._start_time_ms),
            message=None if error is None else last_words(error),
            retry_s=END_RETRY_S,
        )

    def _tell(
        self, status: Status, *, retry_s: float, end_time_ms: int | None = None, message: str | None = None
    ) -> None:
        name, version = self._reference.name, self._reference.version
        if self.job_id is None or name is None or version is None:
            return
        record = RecordBatchJob(
            status=status,
            start_time=self._start_time_ms,
            end_time=end_time_ms,
            input=self._input,
            output=self._output,
            row_count=self.row_count,
            null_count=self.null_count,
            message=message,
        )
        try:
            with Client(self._reference.registry_url, timeout_s=_TIMEOUT_S, retry_s=retry_s) as client:
                client.record_batch_job(name, version, self.job_id, record)
        except EndpointNotFound:
            # A plain MLflow server keeps no such records.
            self.job_id = None
        except Exception as error:
            # Whatever it is, the rows are scored: nobody shall lose them to a record.
            logger.warning("The registry could not be told that the batch job is %s: %s", status, error)


def _shown(location: str | None) -> str | None:
    """`location` without the user and password that it may hold."""
    if location is None:
        return None
    try:
        return without_credentials(location)[0] if "@" in location else location
    except ValueError:
        return location.partition(":")[0]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
