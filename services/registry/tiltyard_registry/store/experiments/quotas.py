"""Quotas, kept to the number whoever else writes at the same time; where there is none, nothing is asked."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, FromClause, func, select

from tiltyard_registry.rules.lifecycle import ACTIVE
from tiltyard_registry.rules.limits import check_quota
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.experiments import experiments
from tiltyard_registry.tables.runs import metrics, params, run_tags, runs

Kind = Literal["params", "tags", "metric_points", "runs"]


class _Counted(NamedTuple):
    """What is counted, and the row that whoever adds to it holds meanwhile."""

    setting: str
    noun: str
    owner: ColumnElement[Any]
    counted: FromClause
    of: ColumnElement[Any]
    among: ColumnElement[bool] | None = None


_COUNTED: dict[Kind, _Counted] = {
    "params": _Counted("max_params_per_run", "params of a run", runs.c.id, params, params.c.run),
    "tags": _Counted("max_tags_per_run", "tags of a run", runs.c.id, run_tags, run_tags.c.run),
    "metric_points": _Counted("max_points_per_run", "metric points of a run", runs.c.id, metrics, metrics.c.run),
    "runs": _Counted(
        "max_runs_per_experiment",
        "active runs of an experiment",
        experiments.c.experiment_id,
        runs,
        runs.c.experiment_id,
        runs.c.lifecycle_stage == ACTIVE,
    ),
}


@asynccontextmanager
async def limited(session: Session, kind: Kind, owner: int) -> AsyncGenerator[None]:
    """Within it, rows of one kind may be added to the run or experiment `owner`; afterwards they are counted.

    Raises:
        ResourceLimitExceeded: there are too many now; the transaction cannot be committed any more.
    """
    limit: int | None = getattr(session.quotas, kind)
    if limit is None:
        yield
        return
    setting, noun, row, counted, of, among = _COUNTED[kind]
    if not session.is_sqlite:
        # Others who add wait here until this transaction ends, so that they count what it has added.
        await session.execute(select(row).where(row == owner).with_for_update(key_share=True))
    yield
    statement = select(func.count()).select_from(counted).where(of == owner)
    count = await session.scalar(statement if among is None else statement.where(among))
    check_quota(setting, noun, count, limit)
