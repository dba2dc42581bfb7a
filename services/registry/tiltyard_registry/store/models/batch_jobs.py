"""Batch jobs: which of them scored with a version, by whom, from where to where, and how they ended.

A job tells of itself, before and after. That is no change of registry state: it moves nothing that a reader, a
server or an alias depends on, and the record says itself who wrote it and when. So it writes no event, which would
wake every blocking query. Whoever may score with a version may record that they do.
"""

from collections.abc import Mapping
from typing import Any, TypedDict, cast

from sqlalchemy import desc, insert, select, update

from tiltyard.names import check_version, parse_model_name
from tiltyard_registry.rules import limits
from tiltyard_registry.rules.access import SEE, Principal, Privilege
from tiltyard_registry.rules.batch_jobs import check_change, check_job_id, check_record
from tiltyard_registry.search import PageToken, query_digest
from tiltyard_registry.search.page import behind
from tiltyard_registry.store.models.model_rows import find_model
from tiltyard_registry.store.models.related_rows import VersionKey
from tiltyard_registry.store.models.version_rows import find_version, no_version
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.models import batch_jobs, model_versions, registered_models

DEFAULT_PAGE = 100
MAX_PAGE = 1000

_job = batch_jobs.c
_SAID = ("status", "message", "input", "output", "start_time", "end_time", "row_count", "null_count")


class BatchJobRow(TypedDict):
    """A job as it is recorded, with the name of the model."""

    name: str
    version: int
    job_id: str
    principal: str
    status: str
    message: str | None
    input: str | None
    output: str | None
    start_time: int
    end_time: int | None
    duration_ms: int | None
    row_count: int | None
    null_count: int | None


async def record_batch_job(
    session: Session, who: Principal, name: str, version: str | int, job_id: str, **record: Any
) -> BatchJobRow:
    """The job as it is recorded now. The same again changes nothing, and a job that ended does not run again.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: the id or a field of the record is not right.
        ResourceConflict: the job ended otherwise before.
        PermissionDenied: someone else recorded the job first.
    """
    said = check_record({key: record[key] for key in _SAID})
    shown, key = await _find(session, who, Privilege.EXECUTE, name, version)
    await session.lock(f"batch job {key} {check_job_id(job_id)}")
    which = (_job.registered_model_id == key[0], _job.version == key[1], _job.job_id == job_id)
    row = await session.one(select(batch_jobs).where(*which))
    if row is None:
        new = {"registered_model_id": key[0], "version": key[1], "job_id": job_id, "principal": who.name, **said}
        await session.execute(insert(batch_jobs).values(new))
        return _shown(shown, new)
    if row["principal"] != who.name:
        await find_model(session, who, Privilege.MANAGE, shown)
    # What was told at the start need not be told again at the end.
    after = {name: row[name] if value is None else value for name, value in said.items()}
    if check_change({name: row[name] for name in _SAID}, after):
        await session.execute(update(batch_jobs).where(*which).values(after))
        return _shown(shown, {**row, **after})
    return _shown(shown, row)


async def list_batch_jobs(
    session: Session,
    who: Principal,
    name: str,
    version: str | int,
    *,
    max_results: int | None = None,
    page_token: str | None = None,
) -> tuple[list[BatchJobRow], str | None]:
    """One page of the jobs that scored with a version, by start, newest first; and the token of the next page.

    Raises:
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: a bad page size or token.
    """
    limit = limits.page_size(max_results, default=DEFAULT_PAGE, maximum=MAX_PAGE)
    shown, key = await _find(session, who, SEE, name, version)
    query = select(batch_jobs).where(_job.registered_model_id == key[0], _job.version == key[1])
    digest = query_digest("batch_jobs", *key)
    if page_token:
        last = PageToken.decode(page_token, query=digest, columns=[int, str])
        query = query.where(behind([(_job.start_time, False), (_job.job_id, False)], last))
    rows = await session.all(query.order_by(desc(_job.start_time), desc(_job.job_id)).limit(limit + 1))
    page = [_shown(shown, row) for row in rows[:limit]]
    if len(rows) <= limit:
        return page, None
    return page, PageToken.encode((page[-1]["start_time"], page[-1]["job_id"]), query=digest)


async def _find(
    session: Session, who: Principal, wanted: Privilege, name: str, version: str | int
) -> tuple[str, VersionKey]:
    """The name that is shown, and the key of the version."""
    shown, number = parse_model_name(name).shown, check_version(version)
    which = select(model_versions.c.registered_model_id).join(registered_models)
    row = await find_version(
        session, who, wanted, name, which.where(model_versions.c.version == number), no_version(shown, version)
    )
    return shown, (row["registered_model_id"], number)


def _shown(name: str, row: Mapping[Any, Any]) -> BatchJobRow:
    ended = row["end_time"]
    duration_ms = None if ended is None else ended - row["start_time"]
    return cast(BatchJobRow, {**row, "name": name, "duration_ms": duration_ms})
