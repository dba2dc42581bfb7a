"""Searches of runs: a page of those that match, and which params and metrics they have."""

from collections.abc import Sequence
from typing import NamedTuple, Unpack

from sqlalchemy import RowMapping, select

from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.experiments import parse_experiment_id
from tiltyard_registry.rules.lifecycle import ACTIVE, lifecycle_stages
from tiltyard_registry.search import RUNS, Asked, Page, compile_filter
from tiltyard_registry.store import access
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.runs import latest_metrics, params, runs


async def find_runs(
    session: Session,
    who: Principal,
    experiment_ids: Sequence[str],
    *,
    run_view_type: str | int | None = None,
    filter: str | None = None,
    **asked: Unpack[Asked],
) -> tuple[list[RowMapping], str | None]:
    """One page of the runs of these experiments, without their data, and the token of the next.

    `run_data.with_data` and `run_json.runs_part` tell what hangs on them.

    Raises:
        InvalidParameterValue: an id, the filter, the order, the token, the view or the page size is not right.
    """
    shown = lifecycle_stages(run_view_type, parameter="run_view_type")
    wanted = sorted({parse_experiment_id(experiment_id) for experiment_id in experiment_ids})
    page = Page(RUNS, dialect=session.dialect, filter=filter, within=[wanted, shown], **asked)
    among = rowsets.among(session, runs.c.experiment_id, wanted)
    seen = access.visible(who, access.RUNS, Privilege.READ)
    statement = select(runs).where(among, runs.c.lifecycle_stage.in_(shown), *seen)
    return await page.read(statement, session.all)


class RunColumns(NamedTuple):
    """The columns of a table of runs: keys in their order."""

    params: list[str]
    metrics: list[str]


async def run_columns(session: Session, who: Principal, experiment_id: str, *, filter: str | None) -> RunColumns:
    """The keys of every param and metric of the experiment's active runs that the filter lets through.

    Raises:
        InvalidParameterValue: the id or the filter is not right.
    """
    found = select(runs.c.id).where(
        runs.c.experiment_id == parse_experiment_id(experiment_id),
        runs.c.lifecycle_stage == ACTIVE,
        *access.visible(who, access.RUNS, Privilege.READ),
    )
    clause = compile_filter(RUNS, filter, dialect=session.dialect)
    if clause is not None:
        found = found.where(clause)
    keys = []
    for table in (params, latest_metrics):
        statement = select(table.c.key).where(table.c.run.in_(found)).distinct().order_by(table.c.key)
        keys.append(list((await session.execute(statement)).scalars()))
    return RunColumns(*keys)
