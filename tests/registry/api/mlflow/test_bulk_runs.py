"""Runs deleted and restored by the many."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from sqlalchemy import insert, select

from tests.registry.api_app import MLFLOW, OWN, Api, opened
from tiltyard_registry.tables.runs import runs

BULK = f"{MLFLOW}/databricks/runs"


@pytest_asyncio.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """The whole application over an empty database, on each backend."""
    async with opened(tmp_path, database_url=database_url) as running:
        yield running


async def start(api: Api, time: int, parent: str = "", experiment_id: str = "0") -> str:
    """The id of a new run that started at `time`."""
    tags = [{"key": "mlflow.parentRunId", "value": parent}] if parent else []
    body = {"experiment_id": experiment_id, "start_time": time, "tags": tags}
    run_id: str = (await api.ok("POST", f"{MLFLOW}/runs/create", body))["run"]["info"]["run_id"]
    return run_id


async def active(api: Api, experiment_id: str = "0") -> set[str]:
    """The ids of the active runs."""
    found = await api.ok("POST", f"{MLFLOW}/runs/search", {"experiment_ids": [experiment_id]})
    return {run["info"]["run_id"] for run in found["runs"]}


async def test_runs_are_deleted_up_to_a_time_and_restored_from_one(api: Api) -> None:
    """The oldest go first and come back by when they were deleted; other experiments stay as they are."""
    ids = [await start(api, time) for time in (10, 20, 30, 40)]
    other = (await api.ok("POST", f"{MLFLOW}/experiments/create", {"name": "other"}))["experiment_id"]
    elsewhere = await start(api, 5, experiment_id=other)
    asked: dict[str, Any] = {"experiment_id": "0", "max_timestamp_millis": 30}
    assert await api.ok("POST", f"{BULK}/delete-runs", asked | {"max_runs": 2}) == {"runs_deleted": 2}
    assert await active(api) == set(ids[2:])
    assert await api.ok("POST", f"{BULK}/delete-runs", asked) == {"runs_deleted": 1}
    assert await api.ok("POST", f"{BULK}/delete-runs", asked) == {"runs_deleted": 0}
    assert await active(api) == {ids[3]} and await active(api, other) == {elsewhere}
    back: dict[str, Any] = {"experiment_id": "0", "min_timestamp_millis": 2**62}
    assert await api.ok("POST", f"{BULK}/restore-runs", back) == {"runs_restored": 0}
    back["min_timestamp_millis"] = 1000
    assert await api.ok("POST", f"{BULK}/restore-runs", back | {"max_runs": 1}) == {"runs_restored": 1}
    assert await api.ok("POST", f"{BULK}/restore-runs", back) == {"runs_restored": 2}
    assert await active(api) == set(ids)


async def test_a_bulk_call_that_makes_no_sense_is_refused(api: Api) -> None:
    """Over 10,000 runs, no time, an unknown experiment, or one that is deleted."""
    asked: dict[str, Any] = {"experiment_id": "0", "max_timestamp_millis": 1, "min_timestamp_millis": 1}
    for path in (f"{BULK}/delete-runs", f"{BULK}/restore-runs"):
        for wrong in ({"max_runs": 10_001}, {"max_runs": 0}, {"experiment_id": "x"}, {"experiment_id": ""}):
            assert (await api.refused("POST", path, asked | wrong))[:2] == (400, "INVALID_PARAMETER_VALUE")
        assert (await api.refused("POST", path, {"experiment_id": "0"}))[0] == 400
        assert (await api.refused("POST", path, asked | {"experiment_id": "77"}))[0] == 404
    gone = (await api.ok("POST", f"{MLFLOW}/experiments/create", {"name": "gone"}))["experiment_id"]
    await api.ok("POST", f"{MLFLOW}/experiments/delete", {"experiment_id": gone})
    assert (await api.refused("POST", f"{BULK}/restore-runs", asked | {"experiment_id": gone}))[0] == 400


async def test_a_parent_takes_what_is_nested_in_it(api: Api) -> None:
    """Children and theirs go with it, once, even when runs name each other as parents; siblings stay."""
    top = await start(api, 1)
    child = await start(api, 2, top)
    await start(api, 3, child)
    await api.ok("POST", f"{MLFLOW}/runs/set-tag", {"run_id": top, "key": "mlflow.parentRunId", "value": child})
    alone = await start(api, 4)
    assert await api.ok("DELETE", f"{OWN}/runs/{top}") == {"runs_deleted": 3}
    assert await active(api) == {alone}
    assert await api.ok("DELETE", f"{OWN}/runs/{top}") == {"runs_deleted": 0}
    assert (await api.refused("DELETE", f"{OWN}/runs/nobody"))[0] == 404


async def test_one_call_changes_ten_thousand_runs_at_most(api: Api) -> None:
    """Of 10,001 the youngest is left to the next call; restored, the same number comes back."""
    made = [
        {
            "run_id": f"{number:032x}",
            "experiment_id": 0,
            "run_name": "r",
            "user_id": "",
            "status": "FINISHED",
            "start_time": number,
            "artifact_uri": f"mlflow-artifacts:/0/{number:032x}/artifacts",
        }
        for number in range(10_001)
    ]
    async with api.app.state.database.write() as session:
        await session.execute(insert(runs), made)
    asked: dict[str, Any] = {"experiment_id": "0", "max_timestamp_millis": 10_000, "max_runs": 10_000}
    assert await api.ok("POST", f"{BULK}/delete-runs", asked) == {"runs_deleted": 10_000}
    assert await active(api) == {f"{10_000:032x}"}
    del asked["max_runs"]
    assert await api.ok("POST", f"{BULK}/delete-runs", asked) == {"runs_deleted": 1}
    back = {"experiment_id": "0", "min_timestamp_millis": 0}
    assert await api.ok("POST", f"{BULK}/restore-runs", back) == {"runs_restored": 10_000}
    assert await api.ok("POST", f"{BULK}/restore-runs", back) == {"runs_restored": 1}


async def test_a_run_counts_from_the_millisecond_it_started_and_was_deleted(api: Api) -> None:
    """Both bounds are inclusive: one millisecond more or less decides."""
    run_id = await start(api, 1000)
    asked: dict[str, Any] = {"experiment_id": "0", "max_timestamp_millis": 999}
    assert await api.ok("POST", f"{BULK}/delete-runs", asked) == {"runs_deleted": 0}
    assert await api.ok("POST", f"{BULK}/delete-runs", asked | {"max_timestamp_millis": 1000}) == {"runs_deleted": 1}
    async with api.app.state.database.read() as session:
        deleted: int = await session.scalar(select(runs.c.deleted_time).where(runs.c.run_id == run_id))
    back: dict[str, Any] = {"experiment_id": "0", "min_timestamp_millis": deleted + 1}
    assert await api.ok("POST", f"{BULK}/restore-runs", back) == {"runs_restored": 0}
    assert await api.ok("POST", f"{BULK}/restore-runs", back | {"min_timestamp_millis": deleted}) == {
        "runs_restored": 1
    }
