"""Runs by the many: /databricks/runs/… as Databricks has them."""

from tiltyard.wire.mlflow import bulk_runs as wire
from tiltyard_registry.api.framework.routes import post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.runs import bulk_deletion as store
from tiltyard_registry.store.sql.session import Session


@post("/databricks/runs/delete-runs")
async def delete_runs(session: Session, who: Principal, data: wire.DeleteRuns) -> wire.RunsDeleted:
    """Marks the runs of an experiment deleted that started at or before a time."""
    count = await store.delete_runs(session, who, data.experiment_id, data.max_timestamp_millis, max_runs=data.max_runs)
    return wire.RunsDeleted(count)


@post("/databricks/runs/restore-runs")
async def restore_runs(session: Session, who: Principal, data: wire.RestoreRuns) -> wire.RunsRestored:
    """Makes the runs of an experiment active again that were deleted at or after a time."""
    count = await store.restore_runs(
        session, who, data.experiment_id, data.min_timestamp_millis, max_runs=data.max_runs
    )
    return wire.RunsRestored(count)
