"""Batch jobs on their version: told at the start and at the end, by whoever may read it; over both databases."""

import asyncio
from typing import Any

import pytest

from tests.registry.api_app import OWN, Api
from tests.registry.store_house import House
from tiltyard.errors import InvalidParameterValue, ResourceConflict, ResourceDoesNotExist
from tiltyard_registry.store.models import batch_jobs, model_versions

START: dict[str, Any] = {
    **dict.fromkeys(("end_time", "row_count", "null_count", "message")),
    "status": "RUNNING",
    "start_time": 1_000,
    "input": "s3a://lake/in",
    "output": "s3a://lake/out",
}
END: dict[str, Any] = START | {"status": "SUCCEEDED", "end_time": 3_500, "row_count": 10, "null_count": 1}


async def record(house: House, job_id: str = "night-1", version: int = 1, **said: Any) -> Any:
    return await house.do(batch_jobs.record_batch_job, "m", version, job_id, **{**START, **said})


async def listed(house: House, version: int = 1, **page: Any) -> Any:
    return await house.see(batch_jobs.list_batch_jobs, "m", version, **page)


async def test_a_job_tells_of_its_start_and_its_end(house: House) -> None:
    """What was told at the start stays, the end adds outcome, rows and time; the audit log is left alone."""
    await house.external("m", count=2)
    before = await house.events()
    started = await record(house)
    assert (started["status"], started["principal"], started["duration_ms"]) == ("RUNNING", "alice", None)
    await record(house, status="SUCCEEDED", end_time=3_500, row_count=10, null_count=1, input=None)
    [job], token = await listed(house)
    assert {name: job[name] for name in END} == END
    assert (job["duration_ms"], job["name"], job["version"], token) == (2_500, "m", 1, None)
    assert (await listed(house, version=2))[0] == []
    assert await house.events() == before


async def test_telling_twice_is_telling_once_and_an_end_is_an_end(house: House) -> None:
    """A repeated or late message changes nothing; another outcome is a conflict; a lone end is a whole record."""
    await house.external("m")
    await record(house, **END)
    await record(house, **END)
    assert (await record(house))["status"] == "SUCCEEDED"
    with pytest.raises(ResourceConflict, match="SUCCEEDED already"):
        await record(house, status="FAILED", end_time=4_000, message="no")
    assert len((await listed(house))[0]) == 1


async def test_many_tell_at_once(house: House) -> None:
    """Of one job told ten times at once there is one record, and none of the tellers is refused."""
    await house.external("m")
    await asyncio.gather(*(record(house, **(END if i % 2 else {})) for i in range(10)))
    [job], _ = await listed(house)
    assert job["status"] == "SUCCEEDED"


async def test_pages_are_newest_first_and_whole(house: House) -> None:
    """Pages hold every job once, by start and, where that is the same, by id; a foreign token is refused."""
    await house.external("m", count=2)
    for i in range(7):
        await record(house, f"job-{i}", start_time=1_000 + i // 2)
    found: list[str] = []
    tokens: list[str | None] = [None]
    while len(tokens) == 1 or tokens[-1] is not None:
        page, token = await listed(house, max_results=3, page_token=tokens[-1])
        found += [job["job_id"] for job in page]
        tokens.append(token)
    assert found == [f"job-{i}" for i in (6, 5, 4, 3, 2, 1, 0)]
    with pytest.raises(InvalidParameterValue, match="another query"):
        await listed(house, version=2, page_token=tokens[1])


async def test_jobs_go_with_their_version(house: House) -> None:
    """A version that had jobs can be deleted, and they with it."""
    await house.external("m")
    await record(house)
    await house.do(model_versions.delete_model_version, "m", 1)
    with pytest.raises(ResourceDoesNotExist):
        await listed(house)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("said", "parameter"),
    [
        ({"end_time": 2_000}, "end_time"),
        ({"status": "SUCCEEDED"}, "end_time"),
        ({"status": "FAILED", "end_time": 999}, "end_time"),
        ({"status": "PAUSED"}, "status"),
        ({"row_count": -1}, "row_count"),
        ({"start_time": 2**63}, "start_time"),
        ({"input": "x" * 5_000}, "input"),
        ({"message": "\0"}, "message"),
        ({"job_id": "a%20b"}, "job_id"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(api: Api, said: dict[str, Any], parameter: str) -> None:
    """A record whose fields do not agree, a text too long and an id of other characters are 400s."""
    await api.ask("POST", "/api/2.0/mlflow/registered-models/create", {"name": "refused"})
    await api.ask("POST", "/api/2.0/mlflow/model-versions/create", {"name": "refused", "source": "s3://x/y"})
    body = {name: value for name, value in {**START, **said}.items() if value is not None}
    path = f"{OWN}/models/refused/versions/1/batch-jobs"
    status, code, message = await api.refused("PUT", f"{path}/{body.pop('job_id', 'j')}", body)
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert parameter in message
    assert (await api.ok("GET", path))["batch_jobs"] == []


@pytest.mark.asyncio(loop_scope="module")
async def test_over_http(api: Api) -> None:
    """A PUT under an id of the job's own, the list under the version, and 404 where there is none."""
    await api.model("main.jobs.m", versions=1)
    path = f"{OWN}/models/main.jobs.m/versions/1/batch-jobs"
    said = {name: value for name, value in END.items() if value is not None}
    told = await api.ok("PUT", f"{path}/night-1", said)
    assert await api.ok("PUT", f"{path}/night-1", said) == told
    assert (await api.ok("GET", path, params={"max_results": "5"}))["batch_jobs"] == [told]
    assert (told["version"], told["duration_ms"], told["message"]) == ("1", 2_500, None)
    for other in ("main.jobs.m/versions/2", "main.jobs.absent/versions/1"):
        assert (await api.refused("GET", f"{OWN}/models/{other}/batch-jobs"))[1] == "RESOURCE_DOES_NOT_EXIST"
    assert (await api.refused("GET", path, params={"max_results": "0"}))[0] == 400
