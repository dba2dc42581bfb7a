"""What tracking servers are asked for where their speed is measured: the same requests, whoever answers."""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from tests.bench.load import Turn, body_of, get, post

API = "/api/2.0/mlflow"
SEARCH = {
    "experiment_ids": ["0"],
    "max_results": 100,
    "order_by": ["metrics.m2 DESC"],
    "filter": "metrics.m1 > 0.3 and params.p1 = '4'",
}
ALIAS = get(f"{API}/registered-models/alias?name=bench&alias=champion")
_BEGAN = int(time.time())
_numbers = itertools.count(_BEGAN)
# Of each server's own runs, so that all servers are given the same ones, and a search finds as many in each.
_started: defaultdict[str, "itertools.count[int]"] = defaultdict(lambda: itertools.count(_BEGAN))


class Runs:
    """The runs that each server was given, and the turns that give them or need them."""

    def __init__(self, servers: Iterable[str]) -> None:
        self._ids: dict[str, list[str]] = {name: [] for name in servers}

    def start(self, server: str) -> Turn:
        """Makes a run with ten metrics and ten parameters."""

        async def turn(connection: Any) -> None:
            number = next(_started[server])
            new = post(f"{API}/runs/create", {"experiment_id": "0", "start_time": number})
            run_id: str = body_of(await connection.ask(new))["run"]["info"]["run_id"]
            await connection.ask(_batch(run_id, number, 10, 10))
            self._ids[server].append(run_id)

        return turn

    def log(self, metrics: int) -> Callable[[str], Turn]:
        """Logs so many values of ten metrics in one request, to sixteen runs in turn."""

        def of(server: str) -> Turn:
            mine = itertools.cycle(self._ids[server][:16])

            async def turn(connection: Any) -> None:
                await connection.ask(_batch(next(mine), next(_numbers), metrics, 0))

            return turn

        return of

    def get(self, server: str) -> Turn:
        """Asks for one run."""
        return asks(get(f"{API}/runs/get?run_id={self._ids[server][20]}"))

    def lengthen(self, server: str) -> Turn:
        """Logs 1,000 more values of the metric whose history is asked for."""
        run_id = self._ids[server][30]

        async def turn(connection: Any) -> None:
            points = [{"key": "m0", "value": 0.5, "timestamp": next(_numbers), "step": step} for step in range(1000)]
            await connection.ask(post(f"{API}/runs/log-batch", {"run_id": run_id, "metrics": points}))

        return turn

    def history(self, server: str) -> Turn:
        """Asks for all values of one metric of one run."""
        return asks(get(f"{API}/metrics/get-history?run_id={self._ids[server][30]}&metric_key=m0"))


def asks(request: bytes) -> Turn:
    """The same request each time."""

    async def turn(connection: Any) -> None:
        await connection.ask(request)

    return turn


def search(**changed: object) -> Turn:
    """Searches by a metric and a parameter, sorted by a metric; `changed` takes the place of what it asks by itself."""
    return asks(post(f"{API}/runs/search", SEARCH | changed))


def page(size: int) -> Turn:
    """Asks for the newest runs, so many of them."""
    return asks(post(f"{API}/runs/search", {"experiment_ids": ["0"], "max_results": size}))


async def register(connection: Any) -> None:
    """Makes the model that `ALIAS` asks for."""
    await connection.ask(post(f"{API}/registered-models/create", {"name": "bench"}))
    await connection.ask(post(f"{API}/model-versions/create", {"name": "bench", "source": "s3://elsewhere/model"}))
    alias = {"name": "bench", "alias": "champion", "version": "1"}
    await connection.ask(post(f"{API}/registered-models/alias", alias))


def _batch(run_id: str, number: int, metrics: int, params: int) -> bytes:
    points = [
        {"key": f"m{at % 10}", "value": (number + at) % 97 / 97, "timestamp": number + at, "step": at}
        for at in range(metrics)
    ]
    own = [{"key": f"p{at}", "value": str(number % 7 + at)} for at in range(params)]
    return post(f"{API}/runs/log-batch", {"run_id": run_id, "metrics": points, "params": own})
