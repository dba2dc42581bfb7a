"""SQLite, which does not count values by itself, finds a page of runs without a look at each run."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select, text

from tests.fixtures.databases import sqlite_url_of
from tests.registry.store.filled import noted
from tests.registry.store_house import ALICE
from tiltyard_registry.search import RUNS, Page
from tiltyard_registry.search.lead import MOST_TRIED
from tiltyard_registry.store.runs import run_search
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.runs import runs

COUNT = 2 * MOST_TRIED + 500
# Values with many equals, some of them on either side of where the attempt ends; every 41st is NaN.
_ROWS = f"""
INSERT INTO experiments (name, artifact_location, creation_time, last_update_time) VALUES ('e', 'x', 1, 1);
INSERT INTO runs (run_id, experiment_id, run_name, user_id, status, start_time, artifact_uri)
  WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {COUNT})
  SELECT printf('%032d', n), n % 2, 'run-' || n, 'ann', 'FINISHED', 1000 + n % 700, 'x' FROM c;
INSERT INTO latest_metrics (run, key, timestamp, step, value, is_nan)
  SELECT id, 'm', id, 0, CASE WHEN id % 41 = 0 THEN 0 ELSE id % 29 END, id % 41 = 0 FROM runs;
INSERT INTO latest_metrics (run, key, timestamp, step, value, is_nan)
  SELECT id, 'few', id, 0, id, 0 FROM runs WHERE id % 100 = 0;
INSERT INTO params SELECT id, 'common', CAST(id % 3 AS text) FROM runs;
INSERT INTO params SELECT id, 'rare', CAST(id AS text) FROM runs;
"""

FILTERS = [
    "",
    "params.common = '1'",
    "params.rare = '4001'",
    "params.rare IN ('4001', '77', '9999999') AND params.common != '1'",
    "metrics.few > 0 AND params.common = '2'",
    "metrics.few > 8100",
    "metrics.m <= 3 AND params.common = '1'",
    "params.rare = 'none'",
]
ORDERS = [[], ["metrics.m DESC"], ["metrics.m"], ["metrics.few DESC", "start_time"], ["params.common"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """Thousands of runs, put there by plain SQL."""
    file = tmp_path_factory.mktemp("runs") / "tiltyard.db"
    file.write_bytes(sqlite_template.read_bytes())
    opened = Database(sqlite_url_of(file))
    async with opened.write() as session:
        for statement in filter(None, map(str.strip, _ROWS.split(";"))):
            await session.execute(text(statement))
    yield opened
    await opened.close()


async def _asked(database: Database, filter: str, order: list[str], **more: Any) -> tuple[list[str], str | None]:
    async with database.read() as session:
        rows, token = await run_search.find_runs(
            session, ALICE, ["0", "1"], filter=filter, order_by=order, max_results=90, **more
        )
    return [row["run_id"] for row in rows], token


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("filter", FILTERS)
async def test_the_rows_are_those_of_the_long_way(database: Database, filter: str, order: list[str]) -> None:
    """Two pages, asked for twice, for a way that led nowhere is not gone again."""
    whole = Page(RUNS, dialect="sqlite", filter=filter, order_by=order, max_results=180)
    async with database.read() as session:
        expected = [row["run_id"] for row in await session.all(whole.of(select(runs)))][:180]
    for _ in range(2):
        first, token = await _asked(database, filter, order)
        rest = (await _asked(database, filter, order, page_token=token))[0] if token else []
        assert first + rest == expected


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("filter", "order"),
    [
        ("params.rare = '4003'", []),
        ("params.rare = '4005' AND params.common = '0'", ["metrics.m DESC"]),
        ("metrics.few > 8200", []),
        ("params.common = '2'", ["metrics.m DESC"]),
        ("params.common = '2'", ["metrics.m"]),
    ],
)
async def test_runs_are_looked_up_and_not_gone_through(database: Database, filter: str, order: list[str]) -> None:
    """By the few that have a value, or in the order of a metric until the page is full."""
    with noted(database) as statements:
        await _asked(database, filter, order)
        (*_, (statement, given)) = await statements.take()
        async with database.read() as session:
            plan = await session.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
            steps = [row["detail"] for row in plan.mappings()]
    of_runs = [step for step in steps if step.split()[1] == "runs"]
    assert of_runs == ["SEARCH runs USING INTEGER PRIMARY KEY (rowid=?)"]
