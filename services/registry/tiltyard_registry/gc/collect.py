"""The door: purge what is due, remove interrupted uploads, and hold the store against the database."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import ColumnElement, false

from tiltyard.errors import TemporarilyUnavailable
from tiltyard_registry.gc.entities import EXPERIMENTS, LOGGED_MODELS, RUNS, Entity, named
from tiltyard_registry.gc.layout import homes_of, owner_of
from tiltyard_registry.gc.purge import Purge
from tiltyard_registry.gc.reconcile import Reconciliation
from tiltyard_registry.gc.report import Report
from tiltyard_registry.rules.access import SYSTEM
from tiltyard_registry.rules.events import GarbageCollected
from tiltyard_registry.store import migrations
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import now_ms

DAY_MS = 86_400_000
RETENTION_MS = 30 * DAY_MS
GRACE_MS = DAY_MS


class _Clock(NamedTuple):
    """What this machine's clock shows, and what time it is at least, by the newest event."""

    shown_ms: int
    proven_ms: int

    def before(self, age_ms: int) -> int:
        """What is older than `age_ms` is from before this time.

        An age is counted up to a time that was seen twice, now and when an event was written. So a clock that is
        fast for a moment makes nothing old.
        """
        return (self.shown_ms if age_ms <= 0 else min(self.shown_ms, self.proven_ms)) - age_ms


class Plan(Struct, kw_only=True, frozen=True):
    """What one collection shall do."""

    older_than_ms: int | None = None
    """Purge what was deleted longer ago; None is thirty days, or any time for what is named."""

    grace_ms: int = GRACE_MS
    """Uploads and files that no row knows are leftovers once they are older."""

    run_ids: Sequence[str] = ()
    logged_model_ids: Sequence[str] = ()
    experiment_ids: Sequence[str] = ()
    reconcile: bool = True
    delete_orphans: bool = False
    dry_run: bool = False

    @property
    def names_some(self) -> bool:
        """Whether only certain runs, logged models or experiments are meant."""
        return bool(self.run_ids or self.logged_model_ids or self.experiment_ids)


async def collect(database: Database, artifacts: ArtifactRoot, plan: Plan) -> Report:
    """What was done. Safe to repeat, to kill at any moment, and to run beside servers and other collections.

    Raises:
        InvalidParameterValue: something that the plan names is missing, not deleted, or too young.
        TemporarilyUnavailable: the database has not our schema, or it or the store does not answer.
    """
    async with database.read() as session:
        if not await migrations.is_current(session):
            raise TemporarilyUnavailable(
                "The database does not have the schema of this version: run 'tiltyard migrate'."
            )
    report = Report(dry_run=plan.dry_run)
    clock = await _look_at_clock(database, report)
    runs, models, experiments = [
        await _chosen(database, noun, list(names), plan, clock)
        for noun, names in (
            (RUNS, plan.run_ids),
            (LOGGED_MODELS, plan.logged_model_ids),
            (EXPERIMENTS, plan.experiment_ids),
        )
    ]
    purge = Purge(database, artifacts, report)
    await purge.runs(runs)
    await purge.logged_models(models)
    await purge.experiments(experiments)
    if plan.reconcile and not plan.names_some:
        before_ms = clock.before(plan.grace_ms)
        await _remove_uploads(database, artifacts, report, before_ms)
        await Reconciliation(database, artifacts, report, purge).run(before_ms, delete_orphans=plan.delete_orphans)
    return report


async def _look_at_clock(database: Database, report: Report) -> _Clock:
    """The clock of this collection, which leaves its own time in the event log for the next."""
    clock = _Clock(now_ms(), 0)
    async with database.read() as session:
        clock = clock._replace(proven_ms=await outbox.newest_time(session))
    if clock.shown_ms - clock.proven_ms > DAY_MS:
        report.ages_until_ms = clock.proven_ms
    if not report.dry_run:
        async with database.write() as session:
            outbox.record(session, SYSTEM, GarbageCollected())
    return clock


async def _chosen(database: Database, noun: Entity, names: list[str], plan: Plan, clock: _Clock) -> ColumnElement[bool]:
    if not plan.names_some:
        retention_ms = RETENTION_MS if plan.older_than_ms is None else plan.older_than_ms
        return noun.is_due(clock.before(retention_ms))
    if not names:
        return false()
    before_ms = None if plan.older_than_ms is None else clock.before(plan.older_than_ms)
    async with database.read() as session:
        return await named(session, noun, list(dict.fromkeys(names)), before_ms)


async def _remove_uploads(database: Database, artifacts: ArtifactRoot, report: Report, before_ms: int) -> None:
    homes = await homes_of(database, artifacts)
    async for upload in artifacts.store.list_uploads():
        # A bucket may be shared: an upload to a path that none of ours has is somebody else's.
        ours = not upload.path or owner_of(upload.path, homes) is not None
        if ours and upload.started_ms < before_ms:
            if not report.dry_run:
                await artifacts.store.abort_upload(upload)
            report.uploads.add(upload.size_bytes)
