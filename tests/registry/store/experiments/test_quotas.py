"""Quotas: off unless given, kept to the number by racing writers, refused with limit and count."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from click.testing import CliRunner

from tests.fixtures.databases import BACKENDS
from tests.registry.api_app import MLFLOW, Api, opened
from tiltyard_registry.cli import registry
from tiltyard_registry.settings import RegistrySettings

RUNS, EXPERIMENTS = f"{MLFLOW}/runs", f"{MLFLOW}/experiments"
LIMITS = {"max_params_per_run": 5, "max_tags_per_run": 4, "max_points_per_run": 50, "max_runs_per_experiment": 3}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BACKENDS)
async def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The whole application with low limits, on each backend."""
    told: dict[str, Any] = dict(LIMITS)
    if request.param == "postgres":
        told["database_url"] = request.getfixturevalue("postgres_server").create_database()
    async with opened(tmp_path_factory.mktemp(f"quotas-{request.param}"), **told) as running:
        yield running


async def _experiment(api: Api, name: str) -> str:
    return (await api.ok("POST", f"{EXPERIMENTS}/create", {"name": name}))["experiment_id"]


async def _run(api: Api, experiment_id: str) -> str:
    return (await api.ok("POST", f"{RUNS}/create", {"experiment_id": experiment_id}))["run"]["info"]["run_id"]


def _metrics(*steps: int, key: str = "m") -> list[dict[str, Any]]:
    return [{"key": key, "value": 1.0, "timestamp": 0, "step": step} for step in steps]


def _pairs(*keys: object) -> list[dict[str, str]]:
    return [{"key": f"k{key}", "value": "v"} for key in keys]


def _refusal(noun: str, limit: int, count: int) -> tuple[int, str, str]:
    setting = {"params": "params_per_run", "tags": "tags_per_run", "metric": "points_per_run"}.get(
        noun.partition(" ")[0], "runs_per_experiment"
    )
    message = (
        f"The limit 'max_{setting}' on {noun} is {limit}; this request would make it {count}. "
        "Nothing of the request was stored. Ask the operator of this server for another limit."
    )
    return 400, "RESOURCE_LIMIT_EXCEEDED", message


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("full", "over", "noun", "count"),
    [
        ({"params": _pairs(*range(5))}, {"params": _pairs(0, 5, 6)}, "params of a run", 7),
        ({"tags": _pairs(*range(3))}, {"tags": _pairs(0, 3)}, "tags of a run", 5),
        ({"metrics": _metrics(*range(50))}, {"metrics": _metrics(*range(45, 52))}, "metric points of a run", 52),
        ({"metrics": _metrics(*range(50))}, {"metrics": _metrics(7, key="n")}, "metric points of a run", 51),
    ],
)
async def test_what_is_over_a_limit_is_refused_whole(api: Api, full: Any, over: Any, noun: str, count: int) -> None:
    """At the limit a batch may be repeated; one more is refused, and nothing of its batch stays."""
    run_id = await _run(api, await _experiment(api, f"{noun} {count} {len(over)}"))
    for _ in range(2):
        await api.ok("POST", f"{RUNS}/log-batch", {"run_id": run_id, **full})
    before = await api.ok("GET", f"{RUNS}/get?run_id={run_id}")
    limit = {"params": 5, "tags": 4, "metrics": 50}[next(iter(full))]
    also = {"params": _pairs(9)} if "params" not in over else {}
    refused = await api.refused("POST", f"{RUNS}/log-batch", {"run_id": run_id, **over, **also})
    assert refused == _refusal(noun, limit, count)
    assert await api.ok("GET", f"{RUNS}/get?run_id={run_id}") == before


@pytest.mark.asyncio(loop_scope="module")
async def test_single_calls_have_the_same_limits(api: Api) -> None:
    """One param, one tag, one point too many; the name of a run is a tag already."""
    run_id = await _run(api, await _experiment(api, "single"))
    batch = {"params": _pairs(*range(5)), "tags": _pairs(*range(3)), "metrics": _metrics(*range(50))}
    await api.ok("POST", f"{RUNS}/log-batch", {"run_id": run_id, **batch})
    one = {"run_id": run_id, "key": "one", "value": "1"}
    assert await api.refused("POST", f"{RUNS}/log-parameter", one) == _refusal("params of a run", 5, 6)
    assert await api.refused("POST", f"{RUNS}/set-tag", one) == _refusal("tags of a run", 4, 5)
    point = {**one, "timestamp": 0}
    assert await api.refused("POST", f"{RUNS}/log-metric", point) == _refusal("metric points of a run", 50, 51)
    await api.ok("POST", f"{RUNS}/set-tag", {**one, "key": "k0"})
    await api.ok("POST", f"{RUNS}/update", {"run_id": run_id, "run_name": "renamed"})


@pytest.mark.asyncio(loop_scope="module")
async def test_deleted_runs_make_room_and_come_back_only_into_room(api: Api) -> None:
    """Only active runs count; no way of restoring goes over the limit."""
    number = await _experiment(api, "rooms")
    first, *_ = [await _run(api, number) for _ in range(3)]
    over = _refusal("active runs of an experiment", 3, 4)
    assert await api.refused("POST", f"{RUNS}/create", {"experiment_id": number}) == over
    await api.ok("POST", f"{RUNS}/delete", {"run_id": first})
    await _run(api, number)
    assert await api.refused("POST", f"{RUNS}/restore", {"run_id": first}) == over
    bulk = {"experiment_id": number, "min_timestamp_millis": 0}
    assert await api.refused("POST", f"{MLFLOW}/databricks/runs/restore-runs", bulk) == over
    await api.ok("POST", f"{EXPERIMENTS}/delete", {"experiment_id": number})
    assert await api.refused("POST", f"{EXPERIMENTS}/restore", {"experiment_id": number}) == over
    await _run(api, await _experiment(api, "another"))


@pytest.mark.asyncio(loop_scope="module")
async def test_racing_writers_reach_a_limit_exactly(api: Api) -> None:
    """Of many that write at once so many succeed as there is room for, and not one more."""
    number = await _experiment(api, "races")
    answers = await asyncio.gather(
        *(api.ask("POST", f"{RUNS}/create", {"experiment_id": number, "run_name": f"r{n}"}) for n in range(12))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [400] * 9
    run_id = next(answer.json()["run"]["info"]["run_id"] for answer in answers if answer.status_code == 200)
    batches = [{"metrics": _metrics(*range(at, at + 10))} for at in range(0, 120, 10)]
    params = [{"params": _pairs(at)} for at in range(12)]
    answers = await asyncio.gather(
        *(api.ask("POST", f"{RUNS}/log-batch", {"run_id": run_id, **body}) for body in [*batches, *params])
    )
    taken = [answer.status_code for answer in answers]
    assert (taken[:12].count(200), taken[12:].count(200)) == (5, 5)
    history = await api.ok("GET", f"{MLFLOW}/metrics/get-history?run_id={run_id}&metric_key=m")
    assert len(history["metrics"]) == 50


async def test_without_limits_nothing_is_counted(embedded_api: Api, postgres_url: str, tmp_path: Path) -> None:
    """The default takes more than any of the limits above, on both databases, without a statement more."""
    async with opened(tmp_path / "p", database_url=postgres_url) as other:
        for api in (embedded_api, other):
            *_, run_id = [await _run(api, "0") for _ in range(4)]
            batch = {"metrics": _metrics(*range(60)), "params": _pairs(*range(9)), "tags": _pairs(*range(9))}
            await api.ok("POST", f"{RUNS}/log-batch", {"run_id": run_id, **batch})
            assert api.app.state.database.quotas[:4] == (None,) * 4


def test_the_command_line_sets_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each limit has a flag and a variable; nonsense is refused."""
    told: dict[str, Any] = {}

    def noted(settings: RegistrySettings, *_rest: Any, **_more: Any) -> None:
        told.update(msgspec.structs.asdict(settings))
        raise SystemExit(0)

    monkeypatch.setattr(registry, "registry_pool", noted)
    monkeypatch.setenv("TILTYARD_MAX_TAGS_PER_RUN", "7")
    flags = ["--max-params-per-run", "5", "--max-points-per-run", "9", "--max-runs-per-experiment", "3"]
    asked = ["--data-dir", str(tmp_path), "--port", "0"]
    assert CliRunner().invoke(registry.registry, [*asked, *flags]).exit_code == 0
    assert {name: told[name] for name in LIMITS} == {
        "max_params_per_run": 5,
        "max_tags_per_run": 7,
        "max_points_per_run": 9,
        "max_runs_per_experiment": 3,
    }
    assert CliRunner().invoke(registry.registry, [*asked, "--max-points-per-run", "0"]).exit_code == 2
