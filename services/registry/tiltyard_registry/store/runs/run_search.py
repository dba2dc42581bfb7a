"""Searches of runs: a page of those that match."""

from collections.abc import Sequence

from sqlalchemy import RowMapping, select

from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.experiments import parse_experiment_id
from tiltyard_registry.rules.lifecycle import lifecycle_stages
from tiltyard_registry.rules.limits import page_size
from tiltyard_registry.search import RUNS, Page
from tiltyard_registry.store import access
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.runs import runs

DEFAULT_PAGE, MAX_PAGE = 1000, 50_000


async def find_runs(
    session: Session,
    who: Principal,
    experiment_ids: Sequence[str],
    *,
    run_view_type: str | int | None = None,
    filter: str | None = None,
    order_by: Sequence[str] = (),
    max_results: int | None = None,
    page_token: str | None = None,
) -> tuple[list[RowMapping], str | None]:
    """One page of the runs of these experiments, without their data, and the token of the next.

    `run_data.with_data` and `run_json.runs_part` tell what hangs on them.

    Raises:
        InvalidParameterValue: an id, the filter, the order, the token, the view or the page size is not right.
    """
    shown = lifecycle_stages(run_view_type, parameter="run_view_type")
    wanted = sorted({parse_experiment_id(experiment_id) for experiment_id in experiment_ids})
    page = Page(
        RUNS,
        filter=filter,
        order_by=order_by,
        page_token=page_token,
        max_results=page_size(max_results, default=DEFAULT_PAGE, maximum=MAX_PAGE),
        dialect=session.dialect,
        within=[wanted, shown],
    )
    among = rowsets.among(session, runs.c.experiment_id, wanted)
    seen = access.visible(who, access.RUNS, Privilege.READ)
    statement = select(runs).where(among, runs.c.lifecycle_stage.in_(shown), *seen)
    return await page.read(statement, session.all)
