"""Batch jobs that scored with a version. Paths: /api/tiltyard/v1/models/{name}/versions/{version}/batch-jobs…"""

import msgspec
from litestar.handlers import HTTPRouteHandler

from tiltyard.wire.v1.batch_jobs import BatchJob, BatchJobsPage, RecordBatchJob
from tiltyard.wire.v1.manifests import Manifest
from tiltyard_registry.api.framework.replies import replies, reply
from tiltyard_registry.api.framework.routes import get, put
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.models import batch_jobs as store
from tiltyard_registry.store.models import model_versions
from tiltyard_registry.store.sql.session import Session

_PATH = "/models/{name:str}/versions/{version:str}/batch-jobs"


@put(f"{_PATH}/{{job_id:str}}")
async def record_batch_job(
    session: Session, who: Principal, name: str, version: str, job_id: str, data: RecordBatchJob
) -> BatchJob:
    """Records that a job scores with the version, or how it ended. The job chooses its id; repeating is safe.

    Takes the right to read the model. A job that ended is not changed: another end is a 409, a late start no news.
    """
    row = await store.record_batch_job(session, who, name, version, job_id, **msgspec.structs.asdict(data))
    return reply(row, BatchJob)


@get(_PATH)
async def list_batch_jobs(
    read_session: Session,
    who: Principal,
    name: str,
    version: str,
    max_results: int | None = None,
    page_token: str | None = None,
) -> BatchJobsPage:
    """One page of the jobs that scored with the version, newest first. Takes the right to read the model."""
    rows, token = await store.list_batch_jobs(
        read_session, who, name, version, max_results=max_results, page_token=page_token
    )
    return BatchJobsPage(replies(rows, BatchJob), token)


HANDLERS: list[HTTPRouteHandler] = [record_batch_job, list_batch_jobs]


@get("/models/{name:str}/versions/{version:str}/manifest")
async def get_manifest(read_session: Session, who: Principal, name: str, version: str) -> Manifest:
    """The files of a version with their sizes and SHA-256, its digest, and where they are read."""
    return reply(await model_versions.get_manifest(read_session, who, name, version), Manifest)
