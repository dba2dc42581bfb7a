"""/experiments/…: create, get, search, rename, tag, delete, restore."""

import msgspec

from tiltyard.wire.mlflow import experiments as wire
from tiltyard.wire.tags import Text
from tiltyard_registry.api.framework.replies import entries, replies, reply
from tiltyard_registry.api.framework.routes import get, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.search import EXPERIMENTS
from tiltyard_registry.store.experiments import experiments as store
from tiltyard_registry.store.runs import inputs
from tiltyard_registry.store.sql.session import Session


@post("/experiments/create")
async def create_experiment(
    session: Session, who: Principal, data: wire.CreateExperiment
) -> wire.CreateExperimentReply:
    """Creates an experiment."""
    experiment_id = await store.create_experiment(
        session,
        who,
        data.name,
        artifact_location=data.artifact_location,
        tags=entries(data.tags),
    )
    return wire.CreateExperimentReply(experiment_id)


@get("/experiments/get")
async def get_experiment(read_session: Session, who: Principal, experiment_id: Text) -> wire.ExperimentReply:
    """An experiment by id, active or deleted."""
    return wire.ExperimentReply(reply(await store.get_experiment(read_session, who, experiment_id), wire.Experiment))


@get("/experiments/get-by-name")
async def get_experiment_by_name(read_session: Session, who: Principal, experiment_name: Text) -> wire.ExperimentReply:
    """An experiment by name, active or deleted."""
    row = await store.get_experiment_by_name(read_session, who, experiment_name)
    return wire.ExperimentReply(reply(row, wire.Experiment))


@post("/experiments/search")
async def search_experiments(
    read_session: Session, who: Principal, data: wire.SearchExperiments
) -> wire.ExperimentsPage:
    """Experiments that match a filter, page by page."""
    rows, token = await store.search_experiments(read_session, who, **msgspec.structs.asdict(data))
    return wire.ExperimentsPage(replies(rows, wire.Experiment), token)


@get("/experiments/search")
async def search_experiments_by_query(
    read_session: Session,
    who: Principal,
    max_results: int = EXPERIMENTS.default_page,
    page_token: str | None = None,
    filter: str | None = None,
    order_by: list[str] | None = None,
    view_type: str | None = None,
) -> wire.ExperimentsPage:
    """Experiments that match a filter, page by page."""
    rows, token = await store.search_experiments(
        read_session,
        who,
        view_type=view_type or "ACTIVE_ONLY",
        filter=filter,
        order_by=order_by or [],
        max_results=max_results,
        page_token=page_token,
    )
    return wire.ExperimentsPage(replies(rows, wire.Experiment), token)


@post("/experiments/update")
async def update_experiment(session: Session, who: Principal, data: wire.UpdateExperiment) -> None:
    """Gives an experiment another name."""
    await store.rename_experiment(session, who, data.experiment_id, data.new_name)


@post("/experiments/delete")
async def delete_experiment(session: Session, who: Principal, data: wire.ExperimentId) -> None:
    """Marks an experiment and its runs deleted."""
    await store.delete_experiment(session, who, data.experiment_id)


@post("/experiments/restore")
async def restore_experiment(session: Session, who: Principal, data: wire.ExperimentId) -> None:
    """Makes a deleted experiment and its runs active again."""
    await store.restore_experiment(session, who, data.experiment_id)


@post("/experiments/set-experiment-tag")
async def set_experiment_tag(session: Session, who: Principal, data: wire.SetExperimentTag) -> None:
    """Sets a tag of an experiment."""
    await store.set_experiment_tag(session, who, data.experiment_id, data.key, data.value)


@post("/experiments/delete-experiment-tag")
async def delete_experiment_tag(session: Session, who: Principal, data: wire.DeleteExperimentTag) -> None:
    """Removes a tag of an experiment."""
    await store.delete_experiment_tag(session, who, data.experiment_id, data.key)


@post("/experiments/search-datasets")
async def search_datasets(
    read_session: Session, who: Principal, data: wire.SearchDatasets
) -> wire.DatasetSummariesReply:
    """The datasets that runs of these experiments use."""
    rows = await inputs.search_datasets(read_session, who, data.experiment_ids)
    return wire.DatasetSummariesReply(replies(rows, wire.DatasetSummary))
