"""Experiments and runs."""

import math
from collections.abc import Sequence

import msgspec

from tiltyard.client.call import Call, nothing, reply
from tiltyard.client.calls import MLFLOW, Tags, given, tag_list
from tiltyard.wire.mlflow.bulk_runs import DeleteRuns, RestoreRuns, RunsDeleted, RunsRestored
from tiltyard.wire.mlflow.experiments import (
    CreateExperiment,
    CreateExperimentReply,
    Experiment,
    ExperimentId,
    ExperimentReply,
    ExperimentsPage,
    UpdateExperiment,
)
from tiltyard.wire.mlflow.runs import (
    CreateRun,
    LogBatch,
    LogOutputs,
    ModelOutput,
    Run,
    RunId,
    RunInfo,
    RunInfoReply,
    RunReply,
    RunsPage,
    SearchRuns,
    UpdateRun,
)
from tiltyard.wire.mlflow.runs import MetricIn as Metric


def create_experiment(name: str, *, artifact_location: str | None = None, tags: Tags | None = None) -> Call[str]:
    """The id of a new experiment."""
    request = CreateExperiment(name, artifact_location, tag_list(tags))
    read = reply(CreateExperimentReply, "experiment_id")
    return Call("POST", f"{MLFLOW}/experiments/create", read, request, creates=True)


def get_experiment(experiment_id: str) -> Call[Experiment]:
    """The experiment with that id."""
    query = {"experiment_id": experiment_id}
    return Call("GET", f"{MLFLOW}/experiments/get", reply(ExperimentReply, "experiment"), query=query)


def get_experiment_by_name(name: str) -> Call[Experiment]:
    """The experiment of that name, deleted or not."""
    read = reply(ExperimentReply, "experiment")
    return Call("GET", f"{MLFLOW}/experiments/get-by-name", read, query={"experiment_name": name})


def search_experiments(
    filter: str | None = None,
    *,
    view_type: str = "ACTIVE_ONLY",
    order_by: Sequence[str] = (),
    max_results: int = 1000,
    page_token: str | None = None,
) -> Call[ExperimentsPage]:
    """One page of experiments, and the token of the next."""
    query = given(
        filter=filter, view_type=view_type, order_by=list(order_by), max_results=max_results, page_token=page_token
    )
    return Call("GET", f"{MLFLOW}/experiments/search", reply(ExperimentsPage), query=query)


def rename_experiment(experiment_id: str, new_name: str) -> Call[None]:
    """Gives an experiment another name."""
    return Call("POST", f"{MLFLOW}/experiments/update", nothing, UpdateExperiment(experiment_id, new_name))


def delete_experiment(experiment_id: str) -> Call[None]:
    """Deletes an experiment with its runs; it can be restored until it is purged."""
    return Call("POST", f"{MLFLOW}/experiments/delete", nothing, ExperimentId(experiment_id))


def restore_experiment(experiment_id: str) -> Call[None]:
    """Takes the deletion of an experiment back."""
    return Call("POST", f"{MLFLOW}/experiments/restore", nothing, ExperimentId(experiment_id))


def create_run(
    experiment_id: str,
    *,
    run_name: str | None = None,
    user_id: str = "",
    start_time_ms: int | None = None,
    tags: Tags | None = None,
) -> Call[Run]:
    """A new run, RUNNING."""
    request = CreateRun(experiment_id, user_id, run_name, start_time_ms, tag_list(tags))
    return Call("POST", f"{MLFLOW}/runs/create", reply(RunReply, "run"), request, creates=True)


def get_run(run_id: str) -> Call[Run]:
    """One run with its metrics, params and tags."""
    return Call("GET", f"{MLFLOW}/runs/get", reply(RunReply, "run"), query={"run_id": run_id})


def search_runs(
    experiment_ids: Sequence[str],
    *,
    filter: str | None = None,
    run_view_type: str = "ACTIVE_ONLY",
    order_by: Sequence[str] = (),
    max_results: int = 1000,
    page_token: str | None = None,
) -> Call[RunsPage]:
    """One page of runs, with what was logged to them, and the token of the next."""
    request = SearchRuns(list(experiment_ids), filter, run_view_type, max_results, list(order_by), page_token)
    return Call("POST", f"{MLFLOW}/runs/search", reply(RunsPage), request)


def update_run(run_id: str, *, status: str | None = None, end_time_ms: int | None = None) -> Call[RunInfo]:
    """Ends a run, or changes its status."""
    request = UpdateRun(run_id, run_id, status, end_time_ms)
    return Call("POST", f"{MLFLOW}/runs/update", reply(RunInfoReply, "run_info"), request)


def delete_runs(experiment_id: str, max_timestamp_millis: int, max_runs: int | None = None) -> Call[int]:
    """How many active runs that started at or before the time are deleted now, the oldest."""
    request = DeleteRuns(experiment_id, max_timestamp_millis, max_runs)
    return Call("POST", f"{MLFLOW}/databricks/runs/delete-runs", reply(RunsDeleted, "runs_deleted"), request)


def restore_runs(experiment_id: str, min_timestamp_millis: int, max_runs: int | None = None) -> Call[int]:
    """How many runs that were deleted at or after the time are active again, the last deleted."""
    request = RestoreRuns(experiment_id, min_timestamp_millis, max_runs)
    return Call("POST", f"{MLFLOW}/databricks/runs/restore-runs", reply(RunsRestored, "runs_restored"), request)


def delete_run(run_id: str) -> Call[None]:
    """Deletes a run; it can be restored until it is purged."""
    return Call("POST", f"{MLFLOW}/runs/delete", nothing, RunId(run_id))


def restore_run(run_id: str) -> Call[None]:
    """Takes the deletion of a run back."""
    return Call("POST", f"{MLFLOW}/runs/restore", nothing, RunId(run_id))


def log_batch(
    run_id: str,
    *,
    metrics: Sequence[Metric] = (),
    params: Tags | None = None,
    tags: Tags | None = None,
) -> Call[None]:
    """Logs metrics, params and tags, all or none."""
    request = LogBatch(run_id, [_spelled(metric) for metric in metrics], tag_list(params), tag_list(tags))
    return Call("POST", f"{MLFLOW}/runs/log-batch", nothing, request)


def _spelled(metric: Metric) -> Metric:
    """The point with a value that JSON can say: NaN and infinities travel as texts."""
    if math.isfinite(metric.value):
        return metric
    text = "NaN" if math.isnan(metric.value) else "Infinity" if metric.value > 0 else "-Infinity"
    return msgspec.structs.replace(metric, value=text)


def log_outputs(run_id: str, model_ids: Sequence[str], *, step: int = 0) -> Call[None]:
    """Links logged models to the run that made them."""
    request = LogOutputs(run_id, [ModelOutput(model_id, step) for model_id in model_ids])
    return Call("POST", f"{MLFLOW}/runs/outputs", nothing, request)
