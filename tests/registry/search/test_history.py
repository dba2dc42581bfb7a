"""MIN, MAX and LATEST of a metric's history in filters and orders, and models by their full names."""

import math
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.registry.store_house import House
from tiltyard.errors import InvalidParameterValue
from tiltyard.wire.mlflow.runs import MetricIn
from tiltyard_registry.search import EXPERIMENTS, LOGGED_MODELS, RUNS, compile_filter, order_terms
from tiltyard_registry.store.experiments import experiments
from tiltyard_registry.store.models import search
from tiltyard_registry.store.models import search as searches
from tiltyard_registry.store.runs import log_batch, run_search, runs

NAN = math.nan
HISTORIES: dict[str, list[float]] = {
    "falls": [3.0, 2.0, 1.0],
    "rises": [1.0, 2.0, 5.0],
    "broken": [4.0, NAN],
    "nan": [NAN],
    "infinite": [0.5, math.inf],
    "none": [],
}


async def experiment_of(house: House, histories: dict[str, list[float]]) -> str:
    """The id of a new experiment with a run per history, named after it."""
    experiment_id = await house.do(experiments.create_experiment, uuid.uuid4().hex)
    for start, (name, values) in enumerate(histories.items()):
        run = await house.do(runs.create_run, experiment_id, run_name=name, start_time=start)
        points = [MetricIn("my loss", value, 0, step) for step, value in enumerate(values)]
        await house.do(log_batch.log_batch, run["info"]["run_id"], metrics=points)
    return experiment_id


async def test_a_filter_asks_for_extremes_of_a_history(house: House) -> None:
    """Each function looks at the points it names; NaN points count only where there are no others."""
    experiment_id = await experiment_of(house, HISTORIES)

    async def names(text: str | None, *order: str) -> list[str]:
        rows, _ = await house.see(run_search.find_runs, [experiment_id], filter=text, order_by=order)
        return [row["run_name"] for row in rows]

    for text, expected in (
        ("MIN(metrics.`my loss`) = 1", {"falls", "rises"}),
        ("max(metrics.'my loss') > 3", None),
        ('max(metrics."my loss") > 3', {"rises", "broken", "infinite"}),
        ("MAX(metrics.`my loss`) = 1e999", {"infinite"}),
        ("LATEST(metrics.`my loss`) = 1", {"falls"}),
        ("LATEST(metrics.`my loss`) <= 5 AND metrics.`my loss` > 1", {"rises"}),
        ("MIN(metrics.`my loss`) != 1", {"broken", "nan", "infinite"}),
        ("NOT MIN(metrics.`my loss`) = 1", {"broken", "nan", "infinite", "none"}),
        ("MIN(metrics.`my loss`) IS NULL", {"none"}),
        ("MAX(metrics.`my loss`) IS NOT NULL AND run_name != 'falls'", {"rises", "broken", "nan", "infinite"}),
        ("MIN(metrics.absent) < 1", set()),
    ):
        if expected is None:
            with pytest.raises(InvalidParameterValue):
                await names(text)
        else:
            assert set(await names(text)) == expected, text
    assert await names(None, "MIN(metrics.`my loss`) ASC", "MAX(metrics.`my loss`) DESC") == [
        "infinite",
        "rises",
        "falls",
        "broken",
        "nan",
        "none",
    ]
    assert await names(None, "max(metrics.`my loss`) desc") == ["infinite", "rises", "broken", "falls", "nan", "none"]
    assert await names(None, "LATEST(metrics.`my loss`)") == await names(None, "metrics.`my loss`")


@settings(
    max_examples=8,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.lists(st.floats(width=32), max_size=4), min_size=2, max_size=5), st.floats(-5, 5, width=16))
async def test_extremes_are_those_of_the_points(house: House, values: list[list[float]], bound: float) -> None:
    """The database finds the runs that arithmetic over all their points finds."""
    histories = {f"r{number}": points for number, points in enumerate(values)}
    experiment_id = await experiment_of(house, histories)
    for function, extreme in (("MIN", min), ("MAX", max)):
        rows, _ = await house.see(
            run_search.find_runs, [experiment_id], filter=f"{function}(metrics.`my loss`) >= {bound!r}"
        )
        numbers = {name: [value for value in points if value == value] for name, points in histories.items()}
        expected = {name for name, points in numbers.items() if points and extreme(points) >= bound}
        assert {row["run_name"] for row in rows} == expected


@pytest.mark.parametrize(
    "text",
    [
        "MIN(params.p) = 'x'",
        "MIN(metrics.m",
        "MIN(MAX(metrics.m)) > 1",
        "AVG(metrics.m) > 1",
        "MIN() > 1",
        "MIN(m) = 1",
    ],
)
def test_functions_take_a_metric(text: str) -> None:
    """Anything but a metric in a function, and any other function, is refused."""
    with pytest.raises(InvalidParameterValue):
        compile_filter(RUNS, text, dialect="sqlite")
    with pytest.raises(InvalidParameterValue):
        order_terms(RUNS, [text.partition(" ")[0]], dialect="sqlite")


def test_functions_are_for_runs() -> None:
    """Other nouns have no history."""
    for scope in (LOGGED_MODELS, EXPERIMENTS):
        with pytest.raises(InvalidParameterValue):
            compile_filter(scope, "MIN(metrics.m) > 1", dialect="sqlite")
    with pytest.raises(InvalidParameterValue, match="duplicate"):
        order_terms(RUNS, ["MIN(metrics.m)", "min(metrics.m) desc"], dialect="sqlite")
    assert len(order_terms(RUNS, ["MIN(metrics.m)", "MAX(metrics.m)", "metrics.m"], dialect="sqlite")) == 5


async def test_a_model_is_found_by_its_full_name(house: House) -> None:
    """`workspace.default.m` in a filter is the model that shows as `m`."""
    await house.external("m")
    await house.external("a.b.m")
    for text, expected in (
        ("name = 'workspace.default.m'", ["m"]),
        ("name IN ('workspace.default.m', 'a.b.m')", ["a.b.m", "m"]),
        ("name != 'workspace.default.m'", ["a.b.m"]),
        ("name = 'a.b.m'", ["a.b.m"]),
    ):
        models, _ = await house.see(search.search_registered_models, text)
        versions, _ = await house.see(searches.search_model_versions, text)
        assert [row["name"] for row in models] == sorted(row["name"] for row in versions) == expected
