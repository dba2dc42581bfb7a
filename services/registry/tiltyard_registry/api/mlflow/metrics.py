"""/runs/log-metric and /metrics/…: one point in, the history out."""

from litestar import Response
from litestar.datastructures import State

from tiltyard.wire.mlflow.runs import LogMetric, MetricOut, MetricsPage, MetricsReply
from tiltyard.wire.tags import Text
from tiltyard_registry.api.framework.encoded_lists import document
from tiltyard_registry.api.framework.replies import replies
from tiltyard_registry.api.framework.routes import get, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.runs import either_run_id
from tiltyard_registry.store.runs import chart_histories, log_batch, metric_history
from tiltyard_registry.store.sql.session import Session


@post("/runs/log-metric")
async def log_metric(session: Session, who: Principal, data: LogMetric) -> None:
    """Logs one point of a metric."""
    await log_batch.log_metric(session, who, either_run_id(data.run_id, data.run_uuid), data)


@get("/metrics/get-history")
async def get_history(
    state: State,
    read_session: Session,
    who: Principal,
    metric_key: Text,
    run_id: str = "",
    run_uuid: str = "",
    max_results: int | None = None,
    page_token: str | None = None,
) -> Response[MetricsPage]:
    """Every point of a metric, oldest first."""
    part = await metric_history.get_history(
        read_session,
        who,
        either_run_id(run_id, run_uuid),
        metric_key,
        max_results=max_results,
        page_token=page_token,
    )
    return document(state.database, "metrics", part)


@get("/metrics/get-history-bulk")
async def get_histories(
    read_session: Session,
    who: Principal,
    metric_key: Text,
    run_id: list[str] | None = None,
    max_results: int | None = None,
) -> MetricsReply:
    """The points of one metric of several runs."""
    rows = await chart_histories.get_histories(read_session, who, run_id or [], metric_key, max_results=max_results)
    return MetricsReply(replies(rows, MetricOut))


@get("/metrics/get-history-bulk-interval")
async def get_sampled_histories(
    read_session: Session,
    who: Principal,
    metric_key: Text,
    run_ids: list[str] | None = None,
    start_step: int | None = None,
    end_step: int | None = None,
    max_results: int | None = None,
) -> MetricsReply:
    """The points of one metric of several runs, thinned out evenly."""
    rows = await chart_histories.get_sampled_histories(
        read_session,
        who,
        run_ids or [],
        metric_key,
        start_step=start_step,
        end_step=end_step,
        max_results=max_results,
    )
    return MetricsReply(replies(rows, MetricOut))
