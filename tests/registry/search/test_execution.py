"""Filters and orders over real rows, on both databases: what upstream has not, and what must not break."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.registry.search import filters as f
from tests.registry.search.databases import SearchedDatabases, searched_databases
from tests.registry.search.rows import World, random_world
from tests.registry.search.test_checks import WORDS
from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.search import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    SCOPES,
    Dataset,
    OrderBy,
    Scope,
)

STEADY = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def small_world() -> World:
    """Few rows, each there for one question."""
    world = random_world(3)
    world.runs, world.models, world.logged, world.datasets = [], [], [], []
    world.experiments = world.experiments[:2]
    nothing: dict[str, Any] = {"tags": {}, "params": {}, "metrics": {}, "inputs": {}}
    for number, more in enumerate(
        [
            {"metrics": {"m": 1.0}, "params": {"p": "x"}, "end_time": 5},
            {"metrics": {"m": float("nan")}, "tags": {"t": "a_b"}, "end_time": None},
            {"metrics": {"m": float("-inf")}, "tags": {"t": "aXb"}, "end_time": 3},
            {"metrics": {"m": float("inf")}, "tags": {"t": "A_B"}, "end_time": None},
            {"tags": {"t": "50%"}, "end_time": 9},
            {"metrics": {"m": -0.5}, "tags": {"t": "C:\\dir"}, "end_time": 5},
        ]
    ):
        world.runs.append(
            {
                **nothing,
                "id": number + 1,
                "run_id": f"r{number}",
                "experiment_id": 0,
                "run_name": f"run {number}",
                "user_id": "u",
                "status": "FINISHED",
                "start_time": 100 - number,
                "artifact_uri": "x",
                **more,
            }
        )
    for number, (name, tags) in enumerate(
        [
            ("plain", {}),
            ("false", {"mlflow.prompt.is_prompt": "false"}),
            ("prompt", {"mlflow.prompt.is_prompt": "true"}),
        ]
    ):
        version = {
            "version": 1,
            "creation_timestamp": 1,
            "last_updated_timestamp": 1,
            "source": "s3://bucket/x",
            "run_id": "" if number else "r1",
            "tags": tags,
        }
        second = {**version, "version": 2, "tags": tags if name == "prompt" else {}}
        world.models.append(
            {
                "id": number + 1,
                "name": name,
                "last_updated_timestamp": number,
                "tags": tags,
                "versions": [version, second],
            }
        )
    dataset = {"id": 1, "name": "d", "digest": "1"}
    world.datasets.append(dataset)
    for number, points in enumerate(
        [[(1, 5.0, None)], [(1, 1.0, dataset), (2, 3.0, None)], [], [(1, float("nan"), dataset)]]
    ):
        world.logged.append(
            {
                "model_id": f"m{number}",
                "experiment_id": 0,
                "name": "n",
                "creation_timestamp_ms": 1,
                "last_updated_timestamp_ms": 1,
                "model_type": "",
                "source_run_id": "" if number else "r1",
                "tags": {},
                "params": {},
                "points": [
                    {"run_id": "r", "key": "k", "timestamp": time, "step": 0, "value": value, "dataset": used}
                    for time, value, used in points
                ],
            }
        )
    return world


@pytest.fixture(scope="module")
def databases(
    sqlite_template: Path, postgres_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SearchedDatabases]:
    """The small world, on both databases."""
    folder = tmp_path_factory.mktemp("search")
    with searched_databases(small_world(), folder, sqlite_template, postgres_server) as opened:
        yield opened


ALL = ["r0", "r1", "r2", "r3", "r4", "r5"]

FOUND: list[tuple[Scope, str | None, list[Any]]] = [
    # OR, NOT and parentheses
    (RUNS, "run_id = 'r0' OR run_id = 'r3'", ["r0", "r3"]),
    (RUNS, "run_id = 'r0' OR run_id = 'r3' AND params.p = 'x'", ["r0"]),
    (RUNS, "(run_id = 'r0' OR run_id = 'r3') AND metrics.m > 10", ["r3"]),
    (RUNS, "NOT (run_id = 'r0' OR metrics.m > 0)", ["r1", "r2", "r4", "r5"]),
    # NOT is the complement, != only compares what is there
    (RUNS, "params.p != 'x'", []),
    (RUNS, "NOT params.p = 'x'", ["r1", "r2", "r3", "r4", "r5"]),
    (RUNS, "end_time != 5", ["r2", "r4"]),
    (RUNS, "NOT end_time = 5", ["r1", "r2", "r3", "r4"]),
    (RUNS, "NOT end_time != 5", ["r0", "r1", "r3", "r5"]),
    # IN for every text
    (RUNS, "tags.t IN ('a_b', '50%', 'none')", ["r1", "r4"]),
    (RUNS, "tags.t NOT IN ('a_b', '50%')", ["r2", "r3", "r5"]),
    (RUNS, "run_name IN ('run 2')", ["r2"]),
    (RUNS, "status IN ('FINISHED', 'FAILED') AND run_id NOT IN ('r0')", ALL[1:]),
    # presence
    (RUNS, "metrics.m IS NULL", ["r4"]),
    (RUNS, "metrics.m IS NOT NULL", ["r0", "r1", "r2", "r3", "r5"]),
    # NaN differs from every number and is like none; infinities are numbers
    (RUNS, "metrics.m != 0", ["r0", "r1", "r2", "r3", "r5"]),
    (RUNS, "metrics.m <= 0", ["r2", "r5"]),
    (RUNS, "metrics.m >= 0", ["r0", "r3"]),
    (RUNS, "metrics.m > 1e308", ["r3"]),
    (RUNS, "metrics.m = 1e999", ["r3"]),
    (RUNS, "NOT metrics.m > 0", ["r1", "r2", "r4", "r5"]),
    # patterns: a backslash takes a wildcard as itself, and case counts in LIKE alone
    (RUNS, "tags.t LIKE 'a_b'", ["r1", "r2"]),
    (RUNS, "tags.t LIKE 'a\\_b'", ["r1"]),
    (RUNS, "tags.t ILIKE 'a\\_b'", ["r1", "r3"]),
    (RUNS, "tags.t LIKE '%\\%'", ["r4"]),
    (RUNS, "tags.t LIKE 'C:\\d%'", ["r5"]),
    (RUNS, "tags.t ILIKE 'c:\\\\D%'", ["r5"]),
    # numbers no column holds are still numbers
    (RUNS, "start_time < 99.5", ["r1", "r2", "r3", "r4", "r5"]),
    (RUNS, "start_time < 99999999999999999999999", ALL),
    (RUNS, "start_time > -99999999999999999999999", ALL),
    (EXPERIMENTS, "experiment_id = '99999999999999999999'", []),
    (EXPERIMENTS, "experiment_id IN ('99999999999999999999', '1', '4294967296')", [1]),
    (EXPERIMENTS, "experiment_id NOT IN ('99999999999999999999')", [0, 1]),
    (MODEL_VERSIONS, "version_number < 4294967296 AND name = 'plain'", [("plain", 2), ("plain", 1)]),
    # a version without a run has the empty run id that the wire shows
    (MODEL_VERSIONS, "run_id = ''", [("false", 2), ("false", 1)]),
    (MODEL_VERSIONS, "run_id != 'r1'", [("false", 2), ("false", 1)]),
    (MODEL_VERSIONS, "run_id = 'r1'", [("plain", 2), ("plain", 1)]),
    (MODEL_VERSIONS, "run_id IN ('r1', '') AND version_number = '2'", [("false", 2), ("plain", 2)]),
    (MODEL_VERSIONS, "NOT run_id IN ('r1')", [("false", 2), ("false", 1)]),
    # prompts are no models, unless they are asked for
    (REGISTERED_MODELS, None, ["false", "plain"]),
    (REGISTERED_MODELS, "name LIKE 'p%'", ["plain"]),
    (REGISTERED_MODELS, "tag.`mlflow.prompt.is_prompt` != 'true'", ["false", "plain"]),
    (REGISTERED_MODELS, "tag.`mlflow.prompt.is_prompt` = 'false'", ["false", "plain"]),
    (REGISTERED_MODELS, "tag.`mlflow.prompt.is_prompt` = 'true'", ["prompt"]),
    (REGISTERED_MODELS, "tag.mlflow.prompt.is_prompt IS NOT NULL", ["false", "prompt"]),
    (REGISTERED_MODELS, "name = 'plain' OR tag.`mlflow.prompt.is_prompt` = 'true'", ["plain", "prompt"]),
    (MODEL_VERSIONS, "source_path LIKE 's3://%'", [("false", 2), ("false", 1), ("plain", 2), ("plain", 1)]),
    (MODEL_VERSIONS, "tag.`mlflow.prompt.is_prompt` = 'true'", [("prompt", 2), ("prompt", 1)]),
    # logged models: a status is written with or without its prefix, any point may satisfy a metric clause
    (LOGGED_MODELS, "status = 'READY'", ["m0", "m1", "m2", "m3"]),
    (LOGGED_MODELS, 'status = "LOGGED_MODEL_READY"', ["m0", "m1", "m2", "m3"]),
    (LOGGED_MODELS, "status IN ('PENDING')", []),
    (LOGGED_MODELS, "metrics.k < 2 OR source_run_id = 'r1'", ["m0", "m1"]),
    (LOGGED_MODELS, "metrics.k != 5", ["m1", "m3"]),
    (LOGGED_MODELS, "metrics.k IS NULL", ["m2"]),
]


@pytest.mark.parametrize(("scope", "text", "expected"), FOUND)
def test_a_filter_finds(databases: SearchedDatabases, scope: Scope, text: str | None, expected: list[Any]) -> None:
    """Each filter of the table lets these rows through, in the scope's own order, on both databases."""
    assert databases.listing(scope, text) == {"sqlite": expected, "postgresql": expected}


@pytest.mark.parametrize(
    ("datasets", "text", "expected"),
    [
        ([Dataset("d")], None, ["m1", "m3"]),
        ([Dataset("d", "1")], None, ["m1", "m3"]),
        ([Dataset("d", "2")], None, []),
        ([Dataset("d", "2"), Dataset("d", "1")], None, ["m1", "m3"]),
        ([Dataset("d")], "metrics.k > 0", ["m1"]),
        ([Dataset("d")], "metrics.k > 2", []),
        ([Dataset("d")], "metrics.k > 2 OR metrics.k IS NULL", ["m0", "m2"]),
    ],
)
def test_datasets_narrow_the_metrics_of_logged_models(
    databases: SearchedDatabases, datasets: list[Dataset], text: str | None, expected: list[str]
) -> None:
    """With datasets only points logged on them count; a dataset without a digest is any of its name."""
    found = databases.listing(LOGGED_MODELS, text, datasets=datasets)
    assert found == {"sqlite": expected, "postgresql": expected}


ORDERED: list[tuple[Scope, list[Any], list[Any]]] = [
    # numbers, infinities among them; then NaN; then what has no value; in either direction
    (RUNS, ["metrics.m"], ["r2", "r5", "r0", "r3", "r1", "r4"]),
    (RUNS, ["metrics.m DESC"], ["r3", "r0", "r5", "r2", "r1", "r4"]),
    (RUNS, ["end_time"], ["r2", "r0", "r5", "r4", "r1", "r3"]),
    (RUNS, ["end_time DESC", "run_id DESC"], ["r4", "r5", "r0", "r2", "r3", "r1"]),
    (RUNS, ["params.p", "start_time"], ["r0", "r5", "r4", "r3", "r2", "r1"]),
    (RUNS, [], ALL),
    (EXPERIMENTS, ["experiment_id DESC"], [1, 0]),
    (REGISTERED_MODELS, ["timestamp DESC"], ["false", "plain"]),
    (MODEL_VERSIONS, ["version_number"], [("false", 1), ("plain", 1), ("false", 2), ("plain", 2)]),
    # the newest point counts, of the dataset when one is named
    (LOGGED_MODELS, [OrderBy("metrics.k")], ["m1", "m0", "m3", "m2"]),
    (LOGGED_MODELS, [OrderBy("metrics.k", ascending=False)], ["m0", "m1", "m3", "m2"]),
    (LOGGED_MODELS, [OrderBy("metrics.k", dataset_name="d")], ["m1", "m3", "m0", "m2"]),
]


@pytest.mark.parametrize(("scope", "order", "expected"), ORDERED)
def test_an_order_puts(databases: SearchedDatabases, scope: Scope, order: list[Any], expected: list[Any]) -> None:
    """Each order of the table gives this sequence on both databases."""
    assert databases.listing(scope, None, order) == {"sqlite": expected, "postgresql": expected}


@STEADY
@given(left=f.RUN_FILTERS, right=f.RUN_FILTERS)
def test_or_and_not_follow_set_algebra(databases: SearchedDatabases, left: str, right: str) -> None:
    """OR is the union, AND the intersection and NOT the complement of what the parts let through."""
    left, right = (text.removesuffix(" and") for text in (left, right))
    for dialect, rows in databases.listing(RUNS, left).items():
        these, those = set(rows), set(databases.listing(RUNS, right)[dialect])
        assert set(databases.listing(RUNS, f"({left}) OR ({right})")[dialect]) == these | those
        assert set(databases.listing(RUNS, f"({left}) AND ({right})")[dialect]) == these & those
        assert set(databases.listing(RUNS, f"NOT ({left})")[dialect]) == set(ALL) - these


@STEADY
@given(
    words=st.lists(st.sampled_from(["metrics.m >", "start_time =", "version_number <=", "tags.t", *WORDS.split()])),
    scope=st.sampled_from(SCOPES),
)
def test_what_compiles_runs(databases: SearchedDatabases, words: list[str], scope: Scope) -> None:
    """Any text is refused before a database sees it, or runs on both and finds the same."""
    try:
        found = databases.listing(scope, " ".join(words) or None)
    except InvalidParameterValue:
        return
    assert found["sqlite"] == found["postgresql"]


NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(-(10**30), 10**30).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["1e999", "-1e999", "1e-999", "9223372036854775807", "-9223372036854775808", "2147483648"]),
)


@STEADY
@given(number=NUMBERS, operator=st.sampled_from(f.NUMERIC_OPERATORS))
def test_any_number_can_be_asked_for(databases: SearchedDatabases, number: str, operator: str) -> None:
    """No number is too large, small or precise for a column: both databases answer, and alike."""
    for scope, key in ((RUNS, "metrics.m"), (RUNS, "start_time"), (LOGGED_MODELS, "creation_time")):
        found = databases.listing(scope, f"{key} {operator} {number}")
        assert found["sqlite"] == found["postgresql"]
    if number.lstrip("-").isdigit() and len(number) < 40:
        for scope, key in ((MODEL_VERSIONS, "version_number"), (EXPERIMENTS, "creation_time")):
            found = databases.listing(scope, f"{key} {operator} {number}")
            assert found["sqlite"] == found["postgresql"]


def test_the_largest_filter_runs(databases: SearchedDatabases) -> None:
    """As many clauses, values and levels as the language allows are no trouble to either database."""
    clauses = [f"tags.k{n} = 'v'" for n in range(240)]
    widest = " OR ".join([*clauses, "run_id = 'r1'"])
    deepest = "NOT " * 48 + "(run_id = 'r1')"
    listed = "run_id IN (" + ",".join(f"'{n:032x}'" for n in range(4_999)) + ",'r1')"
    longest = f"tags.t LIKE '{'*' * 9_999}%' OR tags.t ILIKE '{'_' * 10_000}' OR run_id = 'r1'"
    for text in (widest, deepest, listed, longest):
        assert databases.listing(RUNS, text) == {"sqlite": ["r1"], "postgresql": ["r1"]}
    assert databases.listing(RUNS, " AND ".join(clauses)) == {"sqlite": [], "postgresql": []}
