"""Models and versions: removed, listed file by file, and the batch jobs of each. Paths: /api/tiltyard/v1/models/…"""

import msgspec

from tiltyard.wire.v1.batch_jobs import BatchJob, BatchJobsPage, RecordBatchJob
from tiltyard.wire.v1.manifests import Manifest
from tiltyard_registry.api.framework.replies import replies, reply
from tiltyard_registry.api.framework.routes import delete, get, put
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.models import batch_jobs as store
from tiltyard_registry.store.models import model_versions, registered_models
from tiltyard_registry.store.sql.session import Session

_VERSION = "/models/{name:str}/versions/{version:str}"


@put(f"{_VERSION}/batch-jobs/{{job_id:str}}")
async def record_batch_job(
    session: Session, who: Principal, name: str, version: str, job_id: str, data: RecordBatchJob
) -> BatchJob:
    """Records that a job scores with the version, or how it ended. The job chooses its id; repeating is safe.

    Takes the right to read the model. A job that ended is not changed: another end is a 409, a late start no news.
    """
    row = await store.record_batch_job(session, who, name, version, job_id, **msgspec.structs.asdict(data))
    return reply(row, BatchJob)


@get(f"{_VERSION}/batch-jobs")
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


@get(f"{_VERSION}/manifest")
async def get_manifest(read_session: Session, who: Principal, name: str, version: str) -> Manifest:
    """The files of a version with their sizes and SHA-256, its digest, and where they are read."""
    return reply(await model_versions.get_manifest(read_session, who, name, version), Manifest)


@delete("/models/{name:str}")
async def delete_model(session: Session, who: Principal, name: str, force: bool = False) -> None:
    """Removes a registered model with its versions; one that has aliases only with `force`, and the aliases with it."""
    await registered_models.delete_registered_model(session, who, name, with_aliases=force)


@delete(_VERSION)
async def delete_version(session: Session, who: Principal, name: str, version: str, force: bool = False) -> None:
    """Removes a version; one that an alias names only with `force`, and the alias with it."""
    await model_versions.delete_model_version(session, who, name, version, force=force)
