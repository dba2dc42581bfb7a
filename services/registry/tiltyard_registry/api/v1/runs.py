"""Runs: a search of them as one table, streamed page by page; and a run removed with all that is nested in it."""

import csv
import io
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from litestar import Request
from litestar.response import Stream

from tiltyard.wire.mlflow.bulk_runs import RunsDeleted
from tiltyard.wire.tags import Text
from tiltyard_registry.api.framework.routes import delete, get
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.runs import bulk_deletion
from tiltyard_registry.store.runs.run_data import RunRow, with_data
from tiltyard_registry.store.runs.run_search import RunColumns, find_runs, run_columns
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session

PAGE_RUNS = 500

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS = ("Run ID", "Name", "Source Type", "Source Name", "User", "Status")


@get("/runs.csv", media_type="text/csv")
async def get_runs_as_csv(
    request: Request[Any, Any, Any],
    read_session: Session,
    who: Principal,
    experiment_id: Text,
    filter: str | None = None,
    order_by: list[str] | None = None,
) -> Stream:
    """The active runs of an experiment as CSV: a row per run, a column per param and per metric."""
    database: Database = request.app.state.database
    asked: dict[str, Any] = {"filter": filter, "order_by": order_by or (), "max_results": PAGE_RUNS}
    columns = await run_columns(read_session, who, experiment_id, filter=filter)

    async def page(session: Session, token: str | None) -> tuple[list[RunRow], str | None]:
        rows, token = await find_runs(session, who, [experiment_id], page_token=token, **asked)
        return await with_data(session, rows), token

    first = await page(read_session, None)

    async def lines() -> AsyncGenerator[str]:
        yield _csv([(*_COLUMNS, *columns.params, *columns.metrics)])
        rows, token = first
        while True:
            yield _csv([_line(row, columns) for row in rows])
            if token is None:
                return
            # A session per page: a slow reader holds no connection.
            async with database.read() as session:
                rows, token = await page(session, token)

    return Stream(
        lines(),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": 'attachment; filename="runs.csv"', "x-content-type-options": "nosniff"},
    )


@delete("/runs/{run_id:str}")
async def delete_run_tree(session: Session, who: Principal, run_id: str) -> RunsDeleted:
    """Marks a run and every run nested in it deleted."""
    return RunsDeleted(await bulk_deletion.delete_run_tree(session, who, run_id))


def _line(row: RunRow, columns: RunColumns) -> list[Any]:
    info, data = row["info"], row["data"]
    tags, params, metrics = ({one["key"]: one["value"] for one in data[kind]} for kind in ("tags", "params", "metrics"))
    return [
        info["run_id"],
        info["run_name"],
        tags.get("mlflow.source.type", ""),
        tags.get("mlflow.source.name", ""),
        info["user_id"] or tags.get("mlflow.user", ""),
        info["status"],
        *(params.get(key, "") for key in columns.params),
        *(metrics.get(key, "") for key in columns.metrics),
    ]


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([[_inert(cell) for cell in row] for row in rows])
    return text.getvalue()


def _inert(cell: Any) -> Any:
    """The cell; a text that a spreadsheet would run as a formula with an apostrophe in front, which it takes off."""
    if not isinstance(cell, str) or not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
