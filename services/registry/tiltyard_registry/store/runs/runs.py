"""Runs: the doors to start, read, end, delete and restore them."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, bindparam, case, insert, select, update

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.entries import Entry, check_run_tag
from tiltyard_registry.rules.experiments import below
from tiltyard_registry.rules.keys import check_int64, check_length
from tiltyard_registry.rules.lifecycle import ACTIVE, DELETED, PURGING, run_status
from tiltyard_registry.rules.limits import check_entries
from tiltyard_registry.rules.runs import MAX_RUN_NAME_CHARS, RUN_NAME_TAG, NewRun, new_run
from tiltyard_registry.store import access
from tiltyard_registry.store.events.outbox import deletion_time
from tiltyard_registry.store.experiments.experiments import find_active_experiment
from tiltyard_registry.store.experiments.quotas import limited
from tiltyard_registry.store.runs.run_data import RunInfo, RunRow, run_info, with_data
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Found, Session, now_ms
from tiltyard_registry.tables.runs import run_tags, runs

_BY_ID = select(runs).where(runs.c.run_id == bindparam("run_id"))


async def create_run(
    session: Session,
    who: Principal,
    experiment_id: str,
    *,
    user_id: str = "",
    run_name: str | None = None,
    start_time: int | None = None,
    tags: Sequence[Entry] = (),
) -> RunRow:
    """The new run, RUNNING since `start_time` (milliseconds; now when absent). A name is invented when none came.

    Raises:
        ResourceDoesNotExist: there is no such experiment.
        InvalidParameterValue: the experiment is deleted, or name and name tag differ, or a value breaks a rule.
        ResourceLimitExceeded: the experiment or the run would hold more than its quotas let it.
    """
    check_entries(session.quotas, "tags", len(tags))
    new = new_run(user_id, run_name, now_ms() if start_time is None else start_time, tags)
    experiment = await find_active_experiment(session, who, Privilege.EDIT, experiment_id)
    run_id = uuid.uuid4().hex
    place = below(experiment["artifact_location"], run_id, "artifacts")
    row = first_row(run_id, experiment["experiment_id"], new, place)
    async with limited(session, "runs", row["experiment_id"]):
        run = await session.scalar(insert(runs).values(row).returning(runs.c.id))
    await set_tag_rows(session, run, new.tags)
    return started(row, new)


def first_row(run_id: str, experiment_id: int, new: NewRun, artifact_uri: str) -> dict[str, Any]:
    """The row of a run at its start."""
    return {
        "run_id": run_id,
        "experiment_id": experiment_id,
        "run_name": new.run_name,
        "user_id": new.user_id,
        "status": "RUNNING",
        "start_time": new.start_time,
        "end_time": None,
        "artifact_uri": artifact_uri,
        "lifecycle_stage": ACTIVE,
    }


def started(row: Mapping[str, Any], new: NewRun) -> RunRow:
    """A run as it is shown right after its start."""
    shown_tags = [{"key": tag.key, "value": tag.value} for tag in new.tags]
    return {
        "info": run_info(row),
        "data": {"metrics": [], "params": [], "tags": shown_tags},
        "inputs": {"dataset_inputs": [], "model_inputs": []},
    }


async def get_run(session: Session, who: Principal, run_id: str) -> RunRow:
    """The run with its latest metrics, params, tags, inputs and outputs, active or deleted.

    Raises:
        ResourceDoesNotExist: there is no such run.
    """
    return (await with_data(session, [await find_run(session, who, Privilege.READ, run_id)]))[0]


async def get_upload_location(session: Session, who: Principal, run_id: str) -> str:
    """The URI below which files of an active run are written, for somebody who may write them.

    Raises:
        ResourceDoesNotExist: there is no such run.
        InvalidParameterValue: the run is deleted.
    """
    return str((await find_active_run(session, who, Privilege.EDIT, run_id))["artifact_uri"])


async def update_run(
    session: Session,
    who: Principal,
    run_id: str,
    *,
    status: str | int | None = None,
    end_time: int | None = None,
    run_name: str | None = None,
) -> RunInfo:
    """The info of an active run after the change. What is None stays; a new name is the name tag's value too.

    Raises:
        ResourceDoesNotExist: there is no such run.
        InvalidParameterValue: the run is deleted, or the status is none.
    """
    changes: dict[str, Any] = {}
    if status is not None:
        changes["status"] = run_status(status)
    if end_time is not None:
        changes["end_time"] = check_int64(end_time, parameter="end_time")
    if run_name:
        changes["run_name"] = check_length(run_name, MAX_RUN_NAME_CHARS, "run_name")
    row = await find_active_run(session, who, Privilege.EDIT, run_id)
    if changes:
        await session.execute(update(runs).where(runs.c.id == row["id"]).values(changes))
    if run_name:
        await set_tag_rows(session, row["id"], [check_run_tag(RUN_NAME_TAG, run_name)])
    return run_info({**row, **changes})


async def delete_run(session: Session, who: Principal, run_id: str) -> None:
    """Marks the run deleted; its data stays readable. A second delete changes nothing."""
    run = await find_run(session, who, Privilege.EDIT, run_id)
    was_active = runs.c.lifecycle_stage == ACTIVE
    await _move(session, run, DELETED, case((was_active, deletion_time()), else_=runs.c.deleted_time))


async def restore_run(session: Session, who: Principal, run_id: str) -> None:
    """Makes the run active, if it is not.

    Raises:
        ResourceDoesNotExist: there is no such run.
        ResourceLimitExceeded: the experiment would have more runs than its quota lets it.
    """
    run = await find_run(session, who, Privilege.EDIT, run_id)
    async with limited(session, "runs", run["experiment_id"]):
        await _move(session, run, ACTIVE, None)


async def find_run(session: Session, who: Principal, wanted: Privilege, run_id: str) -> RowMapping:
    """The run's own row, for somebody who wants to do something to its experiment.

    Raises:
        ResourceDoesNotExist: there is no such run that `who` may see.
        PermissionDenied: they may not do it.
    """
    query = access.held(_BY_ID, who, access.RUNS, wanted)
    row = await session.one(query, {"run_id": run_id}) if "\x00" not in run_id else None
    return access.admit(who, wanted, row, _missing(run_id), f"the experiment of run {run_id}")


async def find_active_run(session: Session, who: Principal, wanted: Privilege, run_id: str) -> RowMapping:
    """As `find_run`, of one that is not deleted.

    Raises:
        InvalidParameterValue: it is deleted.
    """
    row = await find_run(session, who, wanted, run_id)
    if row["lifecycle_stage"] != ACTIVE:
        raise InvalidParameterValue(
            f"The run {run_id} must be in the 'active' state. Current state is {row['lifecycle_stage']}."
        )
    return row


async def set_tag_rows(session: Session, run: int, tags: Sequence[Entry]) -> None:
    """Upserts checked tags whose keys differ."""
    if tags:
        keys, values = map(list, zip(*tags, strict=True))
        async with limited(session, "tags", run):
            await rowsets.overwrite(session, run_tags, {"run": run, "key": keys, "value": values})


async def _move(session: Session, run: Found, stage: str, deleted_time: ColumnElement[Any] | None) -> None:
    moved = await session.scalar(
        update(runs)
        .where(runs.c.id == run["id"], runs.c.lifecycle_stage != PURGING)
        .values(lifecycle_stage=stage, deleted_time=deleted_time)
        .returning(runs.c.id)
    )
    if moved is None:
        raise _missing(run["run_id"])


def _missing(run_id: str) -> ResourceDoesNotExist:
    return ResourceDoesNotExist(f"Run with id={run_id[:300]} not found")
