"""`tiltyard runs`: list, show, delete and restore runs."""

from typing import TYPE_CHECKING, Any

import click

from tiltyard.cli.experiments import find_experiment
from tiltyard.cli.options import option
from tiltyard.cli.printing import Show, asking, deleted_only, max_results, pages, time_of

if TYPE_CHECKING:
    from tiltyard.client import Client
    from tiltyard.wire.mlflow.runs import Run


@click.group()
def runs() -> None:
    """List, show, delete and restore runs."""


@runs.command("list")
@click.argument("experiment")
@option("--filter", "filter_text", metavar="EXPR", help="For instance: metrics.auc > 0.9 AND params.depth = '5'")
@option("--order-by", env="RUNS_ORDER_BY", multiple=True, metavar="KEY", help="For instance: metrics.auc DESC")
@deleted_only
@max_results(20)
@asking
def list_runs(
    client: "Client",
    show: Show,
    experiment: str,
    filter_text: str | None,
    order_by: tuple[str, ...],
    view: str,
    max_results: int,
) -> None:
    """The runs of EXPERIMENT, a name or an id; the newest first."""
    experiment_id = find_experiment(client, experiment).experiment_id
    found = pages(
        lambda token: client.search_runs(
            [experiment_id],
            filter=filter_text,
            run_view_type=view,
            order_by=list(order_by),
            max_results=min(max_results, 1000),
            page_token=token,
        ),
        lambda page: page.runs,
        max_results,
    )
    rows = (
        (
            run.info.run_id,
            run.info.run_name,
            run.info.status,
            time_of(run.info.start_time),
            [f"{metric.key}={_number(metric.value)}" for metric in run.data.metrics],
            [f"{param.key}={param.value}" for param in run.data.params],
        )
        for run in found
    )
    columns = ("run_id", "name", "status", "started", "metrics", "params")
    show.rows(columns, rows, empty=f"No runs in '{experiment}'.")


@runs.command("show")
@click.argument("run_id")
@asking
def show_run(client: "Client", show: Show, run_id: str) -> None:
    """One run with its metrics, params and tags."""
    show.fields(_fields(client.get_run(run_id)))


@runs.command("delete")
@click.argument("run_id")
@asking
def delete_run(client: "Client", show: Show, run_id: str) -> None:
    """Delete a run. It can be restored until 'tiltyard gc' purges it."""
    client.delete_run(run_id)
    show.done(f"Deleted. Take it back with: tiltyard runs restore {run_id}", {"run_id": run_id})


@runs.command("restore")
@click.argument("run_id")
@asking
def restore_run(client: "Client", show: Show, run_id: str) -> None:
    """Take the deletion of a run back."""
    client.restore_run(run_id)
    show.done(f"Restored the run {run_id}.", {"run_id": run_id})


_most = option("--max-runs", type=click.IntRange(1, 10_000), help="At most so many; without it 10,000.")


@runs.command("delete-until")
@click.argument("experiment_id")
@click.argument("max_timestamp_millis", type=int)
@_most
@asking
def delete_runs(
    client: "Client", show: Show, experiment_id: str, max_timestamp_millis: int, max_runs: int | None
) -> None:
    """Delete the runs of an experiment that started at or before a time, in milliseconds since 1970."""
    count = client.delete_runs(experiment_id, max_timestamp_millis, max_runs)
    show.done(f"Deleted {count} runs.", {"runs_deleted": count})


@runs.command("restore-from")
@click.argument("experiment_id")
@click.argument("min_timestamp_millis", type=int)
@_most
@asking
def restore_runs(
    client: "Client", show: Show, experiment_id: str, min_timestamp_millis: int, max_runs: int | None
) -> None:
    """Restore the runs of an experiment that were deleted at or after a time, in milliseconds since 1970."""
    count = client.restore_runs(experiment_id, min_timestamp_millis, max_runs)
    show.done(f"Restored {count} runs.", {"runs_restored": count})


def _fields(run: "Run") -> dict[str, Any]:
    info = run.info
    return {
        "run_id": info.run_id,
        "name": info.run_name,
        "experiment_id": info.experiment_id,
        "status": info.status,
        "lifecycle_stage": info.lifecycle_stage,
        "user": info.user_id,
        "started": time_of(info.start_time),
        "ended": time_of(info.end_time),
        "artifact_uri": info.artifact_uri,
        "metrics": {metric.key: metric.value for metric in run.data.metrics},
        "params": {param.key: param.value for param in run.data.params},
        "tags": {tag.key: tag.value for tag in run.data.tags},
    }


def _number(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
