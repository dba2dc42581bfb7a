"""/runs/…: start, get, update, delete, restore, and everything that is logged to a run but metrics alone."""

import msgspec
from litestar import Response
from litestar.datastructures import State

from tiltyard.wire.mlflow import runs as wire
from tiltyard_registry.api.framework.encoded_lists import document
from tiltyard_registry.api.framework.replies import entries, reply
from tiltyard_registry.api.framework.routes import get, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.runs import either_run_id
from tiltyard_registry.store.runs import inputs, legacy_model_log, run_json, run_search
from tiltyard_registry.store.runs import log_batch as batches
from tiltyard_registry.store.runs import runs as store
from tiltyard_registry.store.sql.session import Session


@post("/runs/create")
async def create_run(session: Session, who: Principal, data: wire.CreateRun) -> wire.RunReply:
    """Starts a run."""
    row = await store.create_run(
        session,
        who,
        data.experiment_id,
        user_id=data.user_id,
        run_name=data.run_name,
        start_time=data.start_time,
        tags=entries(data.tags),
    )
    return wire.RunReply(reply(row, wire.Run))


@get("/runs/get")
async def get_run(read_session: Session, who: Principal, run_id: str = "", run_uuid: str = "") -> wire.RunReply:
    """A run with its data."""
    row = await store.get_run(read_session, who, either_run_id(run_id, run_uuid))
    return wire.RunReply(reply(row, wire.Run))


@post("/runs/search")
async def search_runs(
    state: State, read_session: Session, who: Principal, data: wire.SearchRuns
) -> Response[wire.RunsPage]:
    """Runs that match a filter, with their data, page by page."""
    rows, token = await run_search.find_runs(
        read_session,
        who,
        data.experiment_ids,
        run_view_type=data.run_view_type,
        filter=data.filter,
        order_by=data.order_by,
        max_results=data.max_results,
        page_token=data.page_token,
    )
    return document(state.database, "runs", await run_json.runs_part(read_session, rows, token))


@post("/runs/update")
async def update_run(session: Session, who: Principal, data: wire.UpdateRun) -> wire.RunInfoReply:
    """Changes status, end time or name of a run."""
    row = await store.update_run(
        session,
        who,
        either_run_id(data.run_id, data.run_uuid),
        status=data.status,
        end_time=data.end_time,
        run_name=data.run_name,
    )
    return wire.RunInfoReply(reply(row, wire.RunInfo))


@post("/runs/delete")
async def delete_run(session: Session, who: Principal, data: wire.RunId) -> None:
    """Marks a run deleted."""
    await store.delete_run(session, who, data.run_id)


@post("/runs/restore")
async def restore_run(session: Session, who: Principal, data: wire.RunId) -> None:
    """Makes a deleted run active again."""
    await store.restore_run(session, who, data.run_id)


@post("/runs/log-batch")
async def log_batch(session: Session, who: Principal, data: wire.LogBatch) -> None:
    """Logs metrics, params and tags: all of them, or none."""
    await batches.log_batch(
        session,
        who,
        data.run_id,
        metrics=data.metrics,
        params=entries(data.params),
        tags=entries(data.tags),
    )


@post("/runs/log-parameter")
async def log_param(session: Session, who: Principal, data: wire.LogParam) -> None:
    """Logs one param."""
    await batches.log_param(session, who, either_run_id(data.run_id, data.run_uuid), data.key, data.value)


@post("/runs/set-tag")
async def set_tag(session: Session, who: Principal, data: wire.SetRunTag) -> None:
    """Sets one tag."""
    await batches.set_tag(session, who, either_run_id(data.run_id, data.run_uuid), data.key, data.value)


@post("/runs/delete-tag")
async def delete_tag(session: Session, who: Principal, data: wire.DeleteRunTag) -> None:
    """Removes one tag."""
    await batches.delete_tag(session, who, data.run_id, data.key)


@post("/runs/log-inputs")
async def log_inputs(session: Session, who: Principal, data: wire.LogInputs) -> None:
    """Links datasets and logged models to a run as its inputs."""
    await inputs.log_inputs(
        session,
        who,
        data.run_id,
        dataset_inputs=[
            inputs.DatasetInput(**msgspec.structs.asdict(one.dataset), tags=entries(one.tags)) for one in data.datasets
        ],
        model_ids=[model.model_id for model in data.models],
    )


@post("/runs/outputs")
async def log_outputs(session: Session, who: Principal, data: wire.LogOutputs) -> None:
    """Links logged models to a run as its outputs."""
    await inputs.log_outputs(session, who, data.run_id, [(model.model_id, model.step) for model in data.models])


@post("/runs/log-model")
async def log_model(session: Session, who: Principal, data: wire.LogModel) -> None:
    """Notes that a run logged a model, as clients before MLflow 3 do."""
    await legacy_model_log.log_model(session, who, data.run_id, data.model_json)
