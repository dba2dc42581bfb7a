"""Every point that the server said it has is there exactly once, however often the server is killed meanwhile."""

import asyncio
import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.fixtures.databases import BACKENDS
from tests.fixtures.processes import living_children
from tests.fixtures.services import Service, StartService
from tests.fixtures.waiting import until
from tests.registry.api_app import MLFLOW

WRITERS = 16
KEYS = 4
POINTS = 20

Point = tuple[str, int, float]


class Logged(NamedTuple):
    """What the writers of one run know: points that were acknowledged, and points that were sent at all."""

    acknowledged: set[Point]
    sent: set[Point]
    retries: Counter[int]


class Writer:
    """Logs batch after batch to one run; what is not acknowledged it sends again, as the stock client does."""

    def __init__(self, number: int, url: str, run_id: str, logged: Logged) -> None:
        self._number = number
        self._http = httpx2.AsyncClient(base_url=url, timeout=30)
        self._run_id = run_id
        self._logged = logged
        self._steps = itertools.count()

    async def write(self, stop: asyncio.Event) -> None:
        """Until it is told to stop; the last batch may stay without an answer."""
        async with self._http:
            while not stop.is_set():
                await self._log(stop)

    async def _log(self, stop: asyncio.Event) -> None:
        # Writers share keys, so that they race for the newest point; no two send the same point.
        steps = list(itertools.islice(self._steps, POINTS))
        points = {(f"m{(self._number + step) % KEYS}", step, float(self._number)) for step in steps}
        metrics = [{"key": key, "step": step, "timestamp": step, "value": value} for key, step, value in points]
        self._logged.sent.update(points)
        while not stop.is_set():
            if await self._acknowledged({"run_id": self._run_id, "metrics": metrics}):
                self._logged.acknowledged.update(points)
                return
            self._logged.retries[self._number] += 1
            await asyncio.sleep(0.05)

    async def _acknowledged(self, batch: dict[str, Any]) -> bool:
        try:
            answer = await self._http.post(f"{MLFLOW}/runs/log-batch", json=batch)
        except httpx2.TransportError:
            return False
        assert answer.status_code in (200, 429, 503), answer.text
        return answer.status_code == 200


def _kill_all(service: Service) -> None:
    """The service and its workers at once, and another one in their place."""
    workers = living_children(service.pid)
    service.kill()
    for worker in workers:
        _kill(worker)
    service.start()


def _kill_one(service: Service) -> None:
    """A worker alone, while the others go on over the same database; its parent starts the next."""
    _kill(min(living_children(service.pid)))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def _killed_while_written(
    service: Service, *, seconds: float, kills: int, how: tuple[Callable[[Service], None], ...] = (_kill_all,)
) -> None:
    """Has `service` killed so often in so many seconds, in each of the ways in turn, and looks for every point."""
    async with httpx2.AsyncClient(base_url=service.url, timeout=30) as http:
        created = await http.post(f"{MLFLOW}/runs/create", json={})
        run_id = created.json()["run"]["info"]["run_id"]
    logged, stop = Logged(set(), set(), Counter()), asyncio.Event()
    writers = [asyncio.create_task(Writer(n, service.url, run_id, logged).write(stop)) for n in range(WRITERS)]
    for kill in itertools.islice(itertools.cycle(how), kills):
        await _written(logged, seconds / (kills + 1))
        await asyncio.to_thread(kill, service)
    await _written(logged, seconds / (kills + 1))
    stop.set()
    await asyncio.gather(*writers)
    assert logged.retries, "no writer noticed"
    async with httpx2.AsyncClient(base_url=service.url, timeout=60) as http:
        await _check(http, run_id, logged)
    print(f"\n{len(logged.acknowledged)} points acknowledged over {kills} kills, {logged.retries.total()} retries")


async def _written(logged: Logged, seconds: float) -> None:
    """Returns after so many seconds, and not before every writer could have had a batch acknowledged."""
    enough = len(logged.acknowledged) + WRITERS * POINTS
    # The load of this test: writers write for so long.
    await asyncio.sleep(seconds)
    await until(lambda: len(logged.acknowledged) >= enough)


async def _check(http: httpx2.AsyncClient, run_id: str, logged: Logged) -> None:
    found: Counter[Point] = Counter()
    for key in (f"m{number}" for number in range(KEYS)):
        asked = {"run_id": run_id, "metric_key": key}
        history = (await http.get(f"{MLFLOW}/metrics/get-history", params=asked)).json()["metrics"]
        found.update((key, point["step"], point["value"]) for point in history)
    assert max(found.values()) == 1
    assert logged.acknowledged <= found.keys() <= logged.sent
    run = (await http.get(f"{MLFLOW}/runs/get", params={"run_id": run_id})).json()["run"]
    newest = {(metric["key"], metric["step"], metric["value"]) for metric in run["data"]["metrics"]}
    assert newest == {max(point for point in found if point[0] == f"m{number}") for number in range(KEYS)}


def _arguments(request: pytest.FixtureRequest, backend: str, folder: Path) -> list[str]:
    arguments = ["--data-dir", str(folder / backend), "--no-access-log"]
    if backend == "postgres":
        arguments += ["--database-url", request.getfixturevalue("new_postgres_url")()]
    return arguments


async def test_kill_9_loses_and_doubles_no_acknowledged_point(
    registry: StartService, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Sixteen writers of one run on each database, both at once; the servers are killed and started again."""
    services = [registry(*_arguments(request, backend, tmp_path)) for backend in BACKENDS]
    await asyncio.gather(*(_killed_while_written(service, seconds=3, kills=1) for service in services))


async def test_a_killed_worker_loses_and_doubles_no_acknowledged_point(
    registry: StartService, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Two processes over one SQLite file: one is killed while the other goes on, and is replaced."""
    service = registry(*_arguments(request, "sqlite", tmp_path), "--workers", "2")
    await _killed_while_written(service, seconds=3, kills=1, how=(_kill_one,))


@pytest.mark.bench
@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_minute_of_kills_loses_and_doubles_no_acknowledged_point(
    registry: StartService, request: pytest.FixtureRequest, tmp_path: Path, backend: str, workers: str
) -> None:
    """The same for a minute, with eight kills: of the whole service, and where it has two workers of one in turn."""
    service = registry(*_arguments(request, backend, tmp_path), "--workers", workers)
    how = (_kill_one, _kill_all) if workers == "2" else (_kill_all,)
    await _killed_while_written(service, seconds=60, kills=8, how=how)
