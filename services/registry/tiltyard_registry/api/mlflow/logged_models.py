"""/logged-models…: create, get, finalize, search, tag, delete."""

from tiltyard.wire.mlflow import logged_models as wire
from tiltyard_registry.api.framework.replies import entries, replies, reply
from tiltyard_registry.api.framework.routes import delete, get, patch, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.search import Dataset, OrderBy
from tiltyard_registry.store.experiments import logged_models as store
from tiltyard_registry.store.experiments.logged_model_data import LoggedModelRow
from tiltyard_registry.store.sql.session import Session


@post("/logged-models")
async def create_logged_model(session: Session, who: Principal, data: wire.CreateLoggedModel) -> wire.LoggedModelReply:
    """Creates a logged model, pending until it is finalized."""
    row = await store.create_logged_model(
        session,
        who,
        data.experiment_id,
        name=data.name or None,
        model_type=data.model_type,
        source_run_id=data.source_run_id,
        params=entries(data.params),
        tags=entries(data.tags),
    )
    return _reply(row)


@post("/logged-models/search")
async def search_logged_models(
    read_session: Session, who: Principal, data: wire.SearchLoggedModels
) -> wire.LoggedModelsPage:
    """Logged models that match a filter, page by page."""
    rows, token = await store.search_logged_models(
        read_session,
        who,
        data.experiment_ids,
        filter=data.filter,
        datasets=[Dataset(one.dataset_name, one.dataset_digest or None) for one in data.datasets],
        order_by=[
            OrderBy(one.field_name, one.ascending, one.dataset_name or None, one.dataset_digest or None)
            for one in data.order_by
        ],
        # Source: upstream reads 0 as 'not given'.
        max_results=data.max_results or None,
        page_token=data.page_token,
    )
    return wire.LoggedModelsPage(replies(rows, wire.LoggedModel), token)


@get("/logged-models/{model_id:str}")
async def get_logged_model(
    read_session: Session, who: Principal, model_id: str, allow_deleted: bool = False
) -> wire.LoggedModelReply:
    """A logged model with its params, tags and metrics."""
    return _reply(await store.get_logged_model(read_session, who, model_id, allow_deleted=allow_deleted))


@patch("/logged-models/{model_id:str}")
async def finalize_logged_model(
    session: Session, who: Principal, model_id: str, data: wire.FinalizeLoggedModel
) -> wire.LoggedModelReply:
    """Moves a logged model to READY or UPLOAD_FAILED."""
    return _reply(await store.finalize_logged_model(session, who, model_id, data.status))


@delete("/logged-models/{model_id:str}")
async def delete_logged_model(session: Session, who: Principal, model_id: str) -> None:
    """Marks a logged model deleted."""
    await store.delete_logged_model(session, who, model_id)


@patch("/logged-models/{model_id:str}/tags")
async def set_logged_model_tags(session: Session, who: Principal, model_id: str, data: wire.SetLoggedModelTags) -> None:
    """Sets tags of a logged model."""
    await store.set_logged_model_tags(session, who, model_id, entries(data.tags))


@delete("/logged-models/{model_id:str}/tags/{key:path}")
async def delete_logged_model_tag(session: Session, who: Principal, model_id: str, key: str) -> None:
    """Removes a tag of a logged model."""
    await store.delete_logged_model_tag(session, who, model_id, key.removeprefix("/"))


@post("/logged-models/{model_id:str}/params")
async def log_logged_model_params(
    session: Session, who: Principal, model_id: str, data: wire.LogLoggedModelParams
) -> None:
    """Logs params of a logged model."""
    await store.log_logged_model_params(session, who, model_id, entries(data.params))


def _reply(row: LoggedModelRow) -> wire.LoggedModelReply:
    return wire.LoggedModelReply(reply(row, wire.LoggedModel))
