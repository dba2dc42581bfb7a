"""/experiments/…: create, get, search, rename, tag, delete, restore."""

from tiltyard.wire.mlflow.experiments import (
    CreateExperiment,
    CreateExperimentReply,
    DatasetSummariesReply,
    DatasetSummary,
    DeleteExperimentTag,
    Experiment,
    ExperimentId,
    ExperimentReply,
    ExperimentsPage,
    SearchDatasets,
    SearchExperiments,
    SetExperimentTag,
    UpdateExperiment,
)
from tiltyard.wire.tags import Empty, Text
from tiltyard_registry.api.framework.replies import replies, reply
from tiltyard_registry.api.framework.routes import get, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.entries import Entry
from tiltyard_registry.store.experiments import experiments as store
from tiltyard_registry.store.runs import inputs
from tiltyard_registry.store.sql.session import Session


@post("/experiments/create")
async def create_experiment(session: Session, who: Principal, data: CreateExperiment) -> CreateExperimentReply:
    """Creates an experiment."""
    experiment_id = await store.create_experiment(
        session,
        who,
        data.name,
        artifact_location=data.artifact_location,
        tags=[Entry(tag.key, tag.value) for tag in data.tags],
    )
    return CreateExperimentReply(experiment_id)


@get("/experiments/get")
async def get_experiment(read_session: Session, who: Principal, experiment_id: Text) -> ExperimentReply:
    """An experiment by id, active or deleted."""
    return ExperimentReply(reply(await store.get_experiment(read_session, who, experiment_id), Experiment))


@get("/experiments/get-by-name")
async def get_experiment_by_name(read_session: Session, who: Principal, experiment_name: Text) -> ExperimentReply:
    """An experiment by name, active or deleted."""
    row = await store.get_experiment_by_name(read_session, who, experiment_name)
    return ExperimentReply(reply(row, Experiment))


@post("/experiments/search")
async def search_experiments(read_session: Session, who: Principal, data: SearchExperiments) -> ExperimentsPage:
    """Experiments that match a filter, page by page."""
    return await _page(read_session, who, data)


@get("/experiments/search")
async def search_experiments_by_query(
    read_session: Session,
    who: Principal,
    max_results: int = store.DEFAULT_PAGE,
    page_token: str | None = None,
    filter: str | None = None,
    order_by: list[str] | None = None,
    view_type: str | None = None,
) -> ExperimentsPage:
    """Experiments that match a filter, page by page."""
    data = SearchExperiments(
        max_results=max_results,
        page_token=page_token,
        filter=filter,
        order_by=order_by or [],
        view_type=view_type or "ACTIVE_ONLY",
    )
    return await _page(read_session, who, data)


async def _page(session: Session, who: Principal, data: SearchExperiments) -> ExperimentsPage:
    rows, token = await store.search_experiments(
        session,
        who,
        view_type=data.view_type,
        filter=data.filter,
        order_by=data.order_by,
        max_results=data.max_results,
        page_token=data.page_token,
    )
    return ExperimentsPage(replies(rows, Experiment), token)


@post("/experiments/update")
async def update_experiment(session: Session, who: Principal, data: UpdateExperiment) -> Empty:
    """Gives an experiment another name."""
    await store.rename_experiment(session, who, data.experiment_id, data.new_name)
    return Empty()


@post("/experiments/delete")
async def delete_experiment(session: Session, who: Principal, data: ExperimentId) -> Empty:
    """Marks an experiment and its runs deleted."""
    await store.delete_experiment(session, who, data.experiment_id)
    return Empty()


@post("/experiments/restore")
async def restore_experiment(session: Session, who: Principal, data: ExperimentId) -> Empty:
    """Makes a deleted experiment and its runs active again."""
    await store.restore_experiment(session, who, data.experiment_id)
    return Empty()


@post("/experiments/set-experiment-tag")
async def set_experiment_tag(session: Session, who: Principal, data: SetExperimentTag) -> Empty:
    """Sets a tag of an experiment."""
    await store.set_experiment_tag(session, who, data.experiment_id, data.key, data.value)
    return Empty()


@post("/experiments/delete-experiment-tag")
async def delete_experiment_tag(session: Session, who: Principal, data: DeleteExperimentTag) -> Empty:
    """Removes a tag of an experiment."""
    await store.delete_experiment_tag(session, who, data.experiment_id, data.key)
    return Empty()


@post("/experiments/search-datasets")
async def search_datasets(read_session: Session, who: Principal, data: SearchDatasets) -> DatasetSummariesReply:
    """The datasets that runs of these experiments use."""
    rows = await inputs.search_datasets(read_session, who, data.experiment_ids)
    return DatasetSummariesReply(replies(rows, DatasetSummary))
