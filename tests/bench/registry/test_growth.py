"""What searches cost at 1,000 runs and at 100,000, on both databases.

`TILTYARD_BENCH_MANY_RUNS` (100000) is the larger number.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.bench.load import Target, body_of, post, run, wait_until_idle
from tests.bench.registry.databases import Databases
from tests.bench.registry.many_runs import add_runs
from tests.bench.registry.tracking import API, SEARCH
from tests.fixtures.services import Service

FEW_RUNS = 1_000
MANY_RUNS = int(os.environ.get("TILTYARD_BENCH_MANY_RUNS", "100000"))
SECONDS = float(os.environ.get("TILTYARD_BENCH_SECONDS", "2"))
MOST_TIMES = 3
MOST_FIRST_PAGE_MS = 20

SEARCHES: dict[str, dict[str, Any]] = {
    "a metric and a param, by a metric": {},
    "a metric and a param, newest first": {"order_by": []},
    "a rare value of a tag": {"filter": "tags.mlflow.runName = 'run-77'", "order_by": []},
    "a rare value, by a metric": {"filter": "tags.mlflow.runName = 'run-77'"},
    "a metric over a rare value": {"filter": "metrics.m1 > 0.985", "order_by": [], "max_results": 10},
    "a pattern of a name": {"filter": "attributes.run_name LIKE '%77%'", "order_by": []},
    "a pattern that few names have": {"filter": "attributes.run_name ILIKE '%un-777'", "order_by": []},
    "the first page": {"filter": "", "order_by": []},
}


@pytest.mark.bench
@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_searches_grow_little(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Every search finds some runs; the times are for the reader."""
    took_ms: dict[int, dict[str, float]] = {}
    for count in (FEW_RUNS, MANY_RUNS):
        postgres = request.getfixturevalue("postgres_server") if kind == "postgresql" else None
        folder = tmp_path / str(count)
        folder.mkdir()
        databases = Databases(postgres, folder)
        took_ms[count] = _times_ms(databases, folder, count)
    print(f"\n{databases.kind}: searches of runs")
    for name in SEARCHES:
        few, many = (took_ms[count][name] for count in (FEW_RUNS, MANY_RUNS))
        held = many <= (MOST_FIRST_PAGE_MS if name == "the first page" else MOST_TIMES * few)
        print(f"    {name:40} {few:7.1f} ms {many:7.1f} ms {many / few:6.2f} x  {'held' if held else 'MISSED'}")


def _times_ms(databases: Databases, folder: Path, count: int) -> dict[str, float]:
    options = ("--database-url", databases.url("Tiltyard"), "--data-dir", str(folder / "data"), "--no-access-log")
    service = Service("registry", *options, log=folder / "registry.log").start()
    target = Target("Tiltyard", service.port, service.pid)
    found: list[Any] = []
    try:

        async def make(connection: Any) -> None:
            found.append(body_of(await connection.ask(post(f"{API}/experiments/create", {"name": "grown"}))))

        run(target, make, connections=1, turns=1)
        experiment_id = found[0]["experiment_id"]
        add_runs(databases, "Tiltyard", experiment_id, count)
        # So many at once leave work behind, such as the index of their names, that is no part of a search.
        wait_until_idle([target])
        took = {}
        for name, changed in SEARCHES.items():
            asked = post(f"{API}/runs/search", SEARCH | {"experiment_ids": [experiment_id]} | changed)

            async def find(connection: Any, asked: bytes = asked) -> None:
                found[0] = await connection.ask(asked)

            took[name] = 1000 / run(target, find, connections=1, seconds=SECONDS).per_second
            assert body_of(found[0])["runs"], name
        return took
    finally:
        service.terminate()
