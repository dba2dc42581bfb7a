"""Runs deleted and restored by the many: by time within an experiment, or a run with everything nested in it."""

from sqlalchemy import Update, select, tuple_, update

from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.keys import check_int64
from tiltyard_registry.rules.lifecycle import ACTIVE, DELETED
from tiltyard_registry.rules.limits import page_size
from tiltyard_registry.store.events.outbox import deletion_time
from tiltyard_registry.store.experiments.experiments import find_active_experiment, find_experiment
from tiltyard_registry.store.experiments.quotas import limited
from tiltyard_registry.store.runs.runs import find_run
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.runs import run_tags, runs

# What a call changes is told by its first or last run, and not by a list of ids: joined to that, 10,000 rows would be
# compared pair by pair where the database takes them for few.

MAX_RUNS = 10_000
_PAGE = 1000
PARENT_TAG = "mlflow.parentRunId"


async def delete_runs(
    session: Session, who: Principal, experiment_id: str, max_timestamp_millis: int, *, max_runs: int | None = None
) -> int:
    """How many active runs that started at or before the time are deleted now: the oldest, at most 10,000.

    Raises:
        ResourceDoesNotExist: there is no such experiment.
        InvalidParameterValue: the time or `max_runs` is out of range.
    """
    time = check_int64(max_timestamp_millis, parameter="max_timestamp_millis")
    limit = page_size(max_runs, default=MAX_RUNS, maximum=MAX_RUNS, parameter="max_runs")
    experiment = await find_experiment(session, who, Privilege.EDIT, experiment_id)
    among = (
        runs.c.experiment_id == experiment["experiment_id"],
        runs.c.lifecycle_stage == ACTIVE,
        runs.c.start_time <= time,
    )
    place = tuple_(runs.c.start_time, runs.c.run_id)
    oldest = select(runs.c.start_time, runs.c.run_id).where(*among).order_by(runs.c.start_time, runs.c.run_id)
    some = oldest.limit(limit).subquery()
    youngest = (
        select(some.c.start_time, some.c.run_id).order_by(some.c.start_time.desc(), some.c.run_id.desc()).limit(1)
    )
    return await _changed(session, _delete().where(*among, place <= youngest.scalar_subquery()))


async def restore_runs(
    session: Session, who: Principal, experiment_id: str, min_timestamp_millis: int, *, max_runs: int | None = None
) -> int:
    """How many runs that were deleted at or after the time are active again: the last deleted, at most 10,000.

    Raises:
        ResourceDoesNotExist: there is no such experiment.
        InvalidParameterValue: the experiment is deleted, or the time or `max_runs` is out of range.
        ResourceLimitExceeded: the experiment would have more runs than its quota lets it.
    """
    time = check_int64(min_timestamp_millis, parameter="min_timestamp_millis")
    limit = page_size(max_runs, default=MAX_RUNS, maximum=MAX_RUNS, parameter="max_runs")
    experiment = await find_active_experiment(session, who, Privilege.EDIT, experiment_id)
    among = (
        runs.c.experiment_id == experiment["experiment_id"],
        runs.c.lifecycle_stage == DELETED,
        runs.c.deleted_time >= time,
    )
    place = tuple_(runs.c.deleted_time, runs.c.run_id)
    latest = select(runs.c.deleted_time, runs.c.run_id).where(*among)
    some = latest.order_by(runs.c.deleted_time.desc(), runs.c.run_id.desc()).limit(limit).subquery()
    first = select(some.c.deleted_time, some.c.run_id).order_by(some.c.deleted_time, some.c.run_id).limit(1)
    restored = update(runs).where(*among, place >= first.scalar_subquery())
    async with limited(session, "runs", experiment["experiment_id"]):
        return await _changed(session, restored.values(lifecycle_stage=ACTIVE, deleted_time=None))


async def delete_run_tree(session: Session, who: Principal, run_id: str) -> int:
    """How many runs are deleted now: this one and those nested in it, at any depth, within its experiment.

    Raises:
        ResourceDoesNotExist: there is no such run.
    """
    top = await find_run(session, who, Privilege.EDIT, run_id)
    tree = select(runs.c.id, runs.c.run_id).where(runs.c.id == top["id"]).cte("tree", recursive=True)
    nested = (
        select(runs.c.id, runs.c.run_id)
        .join_from(runs, run_tags, run_tags.c.run == runs.c.id)
        .join(tree, run_tags.c.value == tree.c.run_id)
        .where(runs.c.experiment_id == top["experiment_id"], run_tags.c.key == PARENT_TAG)
    )
    # UNION drops what was seen, so that runs that name each other as parents come to an end.
    ids = (await session.execute(select(tree.union(nested).c.id))).scalars().all()
    deleted = 0
    for offset in range(0, len(ids), _PAGE):
        page = rowsets.among(session, runs.c.id, ids[offset : offset + _PAGE])
        deleted += await _changed(session, _delete().where(page))
    return deleted


def _delete() -> Update:
    """Marks what is still active; a run deleted before keeps its time."""
    deleted = {"lifecycle_stage": DELETED, "deleted_time": deletion_time()}
    return update(runs).where(runs.c.lifecycle_stage == ACTIVE).values(deleted)


async def _changed(session: Session, statement: Update) -> int:
    # SQLite does not count the rows of an update with a WITH clause.
    return len((await session.execute(statement.returning(runs.c.id))).all())
