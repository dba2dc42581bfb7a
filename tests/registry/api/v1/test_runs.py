"""A search of runs as CSV."""

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.registry.api_app import MLFLOW, OWN, Api, opened
from tiltyard_registry.api.v1 import runs


@pytest_asyncio.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """The whole application over an empty database, on each backend."""
    async with opened(tmp_path, database_url=database_url) as running:
        yield running


async def test_runs_are_one_table(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row per run that the filter finds, over several pages, with the columns that those runs have."""
    monkeypatch.setattr(runs, "PAGE_RUNS", 2)
    tags = [{"key": "mlflow.source.type", "value": "LOCAL"}, {"key": "mlflow.source.name", "value": "a,b.py"}]
    ids = []
    for number in range(5):
        body = {"experiment_id": "0", "run_name": f'run "{number}"', "start_time": number, "user_id": "ann"}
        run = await api.ok("POST", f"{MLFLOW}/runs/create", body | {"tags": tags})
        ids.append(run["run"]["info"]["run_id"])
        batch = {
            "run_id": ids[-1],
            "params": [{"key": f"p{number % 2}", "value": "line\nbreak"}],
            "metrics": [{"key": "m", "value": number if number else "NaN", "timestamp": 0}],
        }
        await api.ok("POST", f"{MLFLOW}/runs/log-batch", batch)
    answer = await api.ask("GET", f"{OWN}/runs.csv", params={"experiment_id": "0"})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/csv")
    header, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert header == ["Run ID", "Name", "Source Type", "Source Name", "User", "Status", "p0", "p1", "m"]
    assert [row[0] for row in rows] == ids[::-1]
    assert rows[0][1:] == ['run "4"', "LOCAL", "a,b.py", "ann", "RUNNING", "line\nbreak", "", "4.0"]
    assert rows[-1][-1] == "NaN"
    asked = {"experiment_id": "0", "filter": "params.p1 LIKE 'line%'", "order_by": "metrics.m ASC"}
    answer = await api.ask("GET", f"{OWN}/runs.csv", params=asked)
    header, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert header[6:] == ["p1", "m"]
    assert [row[0] for row in rows] == [ids[1], ids[3]]


async def test_a_table_that_makes_no_sense_is_refused(api: Api) -> None:
    """Before the first line: no experiment, or a filter or order that is none."""
    for wrong in (
        {},
        {"experiment_id": "x"},
        {"experiment_id": "0", "filter": "("},
        {"experiment_id": "0", "order_by": "x"},
    ):
        assert (await api.refused("GET", f"{OWN}/runs.csv", params=wrong))[:2] == (400, "INVALID_PARAMETER_VALUE")
