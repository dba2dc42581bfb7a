"""Which params and metrics the runs of a search have: the columns of a table of them."""

from typing import Any, NamedTuple

from sqlalchemy import Select, Table, select

from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.experiments import parse_experiment_id
from tiltyard_registry.rules.lifecycle import ACTIVE
from tiltyard_registry.search import RUNS, compile_filter
from tiltyard_registry.store import access
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.runs import latest_metrics, params, runs


class RunColumns(NamedTuple):
    """Keys in their order."""

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
    return RunColumns(*[await _keys(session, table, found) for table in (params, latest_metrics)])


async def _keys(session: Session, table: Table, found: Select[Any]) -> list[str]:
    statement = select(table.c.key).where(table.c.run.in_(found)).distinct().order_by(table.c.key)
    return list((await session.execute(statement)).scalars())
