"""The door: purge what is due, remove interrupted uploads, and hold the store against the database."""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import ColumnElement, false

from tiltyard.errors import TemporarilyUnavailable
from tiltyard_registry.gc.layout import homes_of, owner_of
from tiltyard_registry.gc.nouns import EXPERIMENTS, LOGGED_MODELS, RUNS, Noun, named
from tiltyard_registry.gc.purge import Purge
from tiltyard_registry.gc.reconcile import Reconciliation
from tiltyard_registry.gc.report import Report
from tiltyard_registry.store import migrations
from tiltyard_registry.store.places import Artifacts
from tiltyard_registry.store.session import Database, now_ms

DAY_MS = 86_400_000
RETENTION_MS = 30 * DAY_MS
GRACE_MS = DAY_MS


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


async def collect(database: Database, artifacts: Artifacts, plan: Plan) -> Report:
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
    started_ms = now_ms()
    runs, models, experiments = [
        await _chosen(database, noun, list(names), plan, started_ms)
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
        before_ms = started_ms - plan.grace_ms
        await _remove_uploads(database, artifacts, report, before_ms)
        await Reconciliation(database, artifacts, report, purge).run(before_ms, delete_orphans=plan.delete_orphans)
    return report


async def _chosen(database: Database, noun: Noun, names: list[str], plan: Plan, started_ms: int) -> ColumnElement[bool]:
    if not plan.names_some:
        retention_ms = RETENTION_MS if plan.older_than_ms is None else plan.older_than_ms
        return noun.is_due(started_ms - retention_ms)
    if not names:
        return false()
    before_ms = None if plan.older_than_ms is None else started_ms - plan.older_than_ms
    async with database.read() as session:
        return await named(session, noun, list(dict.fromkeys(names)), before_ms)


async def _remove_uploads(database: Database, artifacts: Artifacts, report: Report, before_ms: int) -> None:
    homes = await homes_of(database, artifacts)
    async for upload in artifacts.store.list_uploads():
        # A bucket may be shared: an upload to a path that none of ours has is somebody else's.
        ours = not upload.path or owner_of(upload.path, homes) is not None
        if ours and upload.started_ms < before_ms:
            if not report.dry_run:
                await artifacts.store.abort_upload(upload)
            report.uploads.add(upload.size_bytes)
