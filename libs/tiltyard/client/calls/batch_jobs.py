"""Batch jobs that scored with a version."""

from tiltyard.client.call import Call, reply
from tiltyard.client.calls.parts import OWN, given, quoted
from tiltyard.wire.v1.batch_jobs import BatchJob, BatchJobsPage, RecordBatchJob


def _jobs(name: str, version: int | str) -> str:
    return f"{OWN}/models/{quoted(name)}/versions/{quoted(str(version))}/batch-jobs"


def record_batch_job(name: str, version: int | str, job_id: str, record: RecordBatchJob) -> Call[BatchJob]:
    """Records that a job scores with a version, or how it ended; repeating it is safe.

    Raises:
        ResourceConflict: the job ended otherwise before.
    """
    return Call("PUT", f"{_jobs(name, version)}/{quoted(job_id)}", reply(BatchJob), record)


def list_batch_jobs(
    name: str, version: int | str, *, max_results: int | None = None, page_token: str | None = None
) -> Call[BatchJobsPage]:
    """One page of the jobs that scored with a version, newest first."""
    query = given(max_results=max_results, page_token=page_token)
    return Call("GET", _jobs(name, version), reply(BatchJobsPage), query=query)
