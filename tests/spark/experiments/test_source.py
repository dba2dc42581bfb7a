"""Experiments as DataFrames, read from a running registry by real Spark."""

import math
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql.datasource import (
    EqualTo,
    GreaterThan,
    In,
    IsNotNull,
    LessThanOrEqual,
    Not,
    StringContains,
    StringStartsWith,
)

import tiltyard
from tests.fixtures.services import Service
from tiltyard.client import Client
from tiltyard.errors import InvalidParameterValue
from tiltyard.spark.experiments.filters import clause_of
from tiltyard.spark.experiments.reader import ExperimentReader, Part, Question
from tiltyard.spark.experiments.source import question
from tiltyard.wire.mlflow.runs import MetricIn

BEGIN = 1_700_000_000_000


@pytest.fixture(scope="module")
def experiment(registry_service: Service) -> str:
    """The id of an experiment with twenty runs, a second apart."""
    with Client(registry_service.url) as client:
        experiment_id = client.create_experiment("read by spark")
        for number in range(20):
            run = client.create_run(experiment_id, run_name=f"run {number}", start_time_ms=BEGIN + 1000 * number)
            value = (math.nan, math.inf)[number] if number < 2 else number / 20
            metrics = [MetricIn("auc", value, BEGIN), MetricIn("loss/train", 1.0, BEGIN)]
            client.log_batch(run.info.run_id, metrics=metrics, params={"depth": str(number % 3)}, tags={"größe": "ß"})
            if number % 2:
                client.update_run(run.info.run_id, status="FINISHED", end_time_ms=BEGIN + 1000 * number + 500)
    return experiment_id


@pytest.fixture
def source(spark: Any, registry_service: Service) -> Any:
    """A new reader of the source, known to the session."""
    tiltyard.spark.register_sources(spark, registry_url=registry_service.url)
    return spark.read.format("mlflow-experiment")


def test_runs_are_rows(source: Any, experiment: str) -> None:
    """Columns of the run; metrics, params and tags as maps; times are instants; NaN and infinities survive."""
    runs = source.load(experiment)
    assert dict(runs.dtypes)["metrics"] == "map<string,double>" and dict(runs.dtypes)["start_time"] == "timestamp"
    rows = {row.run_name: row for row in runs.collect()}
    assert sorted(rows) == sorted(f"run {number}" for number in range(20))
    first, last = rows["run 0"], rows["run 19"]
    assert math.isnan(first.metrics["auc"]) and rows["run 1"].metrics["auc"] == math.inf
    assert last.metrics == {"auc": 0.95, "loss/train": 1.0} and last.params == {"depth": "1"}
    assert last.tags["größe"] == "ß" and last.lifecycle_stage == "active" and last.experiment_id == experiment
    assert last.start_time.timestamp() * 1000 == BEGIN + 19_000
    assert last.end_time.timestamp() * 1000 == BEGIN + 19_500 and first.end_time is None


def test_spark_asks_the_registry_for_less(source: Any, experiment: str) -> None:
    """What Spark filters by, pushed down or not, gives the rows that it says."""
    runs = source.option("partitions", "3").load(experiment)
    assert runs.rdd.getNumPartitions() == 3
    assert runs.where("status = 'FINISHED' AND metrics['auc'] > 0.5").count() == 6
    assert runs.where("start_time > timestamp_millis(1700000017000) AND run_name LIKE 'run 1%'").count() == 2
    assert runs.where("end_time IS NULL AND params['depth'] = '2'").count() == 3
    assert runs.where("status <> 'FINISHED'").count() == 10
    one = runs.first().run_id
    # Of a single run there is but one part of time: the registry was asked for no other.
    narrowed = runs.where(f"run_id = '{one}'")
    assert narrowed.rdd.getNumPartitions() == 1 and narrowed.count() == 1
    filtered = source.option("filter", "metrics.auc >= 0.9 AND params.depth = '0'").load(experiment)
    assert [row.run_name for row in filtered.collect()] == ["run 18"]
    either = source.option("filter", "run_name = 'run 3' OR run_name = 'run 4'").load(experiment)
    assert sorted(row.run_name for row in either.where("status = 'FINISHED'").collect()) == ["run 3"]


def test_no_row_is_lost_or_doubled_while_runs_are_added(registry_service: Service, experiment: str) -> None:
    """Parts cover all of time and do not overlap; runs that begin while they are read disturb none."""
    reader = ExperimentReader(Question(registry_service.url, (experiment,), partitions=4))
    parts = list(reader.partitions())
    assert [part.from_ms for part in parts][1:] == [part.until_ms for part in parts][:-1] and len(parts) == 4
    with Client(registry_service.url) as client:
        added = threading.Thread(target=lambda: [client.create_run(experiment, run_name="later") for _ in range(10)])
        added.start()
        rows = [row for part in parts for row in reader.read(part)]
        added.join()
    names = [row[9] for row in rows if row[9] != "later"]
    assert len(names) == len(set(names)) == 20


def test_an_experiment_is_found_by_its_name(source: Any, registry_service: Service, experiment: str) -> None:
    """Alone or beside ids, which give each run once; a name that is a number or has a comma by an option."""
    with Client(registry_service.url) as client:
        name = client.get_experiment(experiment).name
        odd = client.create_experiment("2024, the year")
        client.create_run(odd, run_name="odd")
    by_id = source.load(experiment).count()
    assert source.load(name).count() == source.load(f"{name},{experiment}").count() == by_id >= 20
    with pytest.raises(PySparkException, match="nowhere"):
        source.load("nowhere").count()
    assert [row.run_name for row in source.option("name", "2024, the year").load().collect()] == ["odd"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs an experiment, by its id or name"),
        ({"path": "1", "view_type": "some"}, "Invalid option view_type='SOME'"),
        ({"path": "1", "partitions": "none"}, "Invalid option partitions='none'"),
        ({"path": "1", "fliter": "x"}, "has no option 'fliter': expected one of path, name, filter"),
        ({"path": "1", "registry_url": "ftp://x"}, "Invalid registry address"),
    ],
)
def test_bad_options_are_told(options: dict[str, str], said: str) -> None:
    """The message names the option and what it takes."""
    with pytest.raises(InvalidParameterValue, match=said):
        question(options, "http://127.0.0.1:1", None)


def test_what_the_registry_refuses_reaches_the_user(source: Any, experiment: str) -> None:
    """An experiment that is missing, or a filter that cannot be read, is what Spark's error says."""
    with pytest.raises(PySparkException, match="No Experiment with id=999999"):
        source.load("999999").count()
    with pytest.raises(PySparkException, match="Invalid clause"):
        source.option("filter", "metrics.auc >").load(experiment).count()


@pytest.mark.parametrize(
    ("filter", "clause"),
    [
        (EqualTo(("status",), "FINISHED"), "attributes.status = 'FINISHED'"),
        (EqualTo(("run_name",), "it's"), None),
        (EqualTo(("metrics", "auc"), 1.0), None),
        (In(("run_id",), ("a", "b")), "attributes.run_id IN ('a', 'b')"),
        (In(("status",), ("a", "b")), None),
        (StringStartsWith(("run_name",), "tree"), "attributes.run_name LIKE 'tree%'"),
        (StringContains(("run_name",), "100%"), None),
        (GreaterThan(("start_time",), datetime.fromtimestamp(1.0015, UTC)), "attributes.start_time >= 1001"),
        (LessThanOrEqual(("end_time",), datetime.fromtimestamp(1.0015, UTC)), "attributes.end_time <= 1001"),
        (IsNotNull(("end_time",)), None),
        (Not(EqualTo(("status",), "FINISHED")), None),
    ],
)
def test_a_filter_becomes_a_clause_that_lets_no_row_out(filter: Any, clause: str | None) -> None:
    """Only what the registry says exactly as Spark does is asked for; the rest is left to Spark."""
    assert clause_of(filter) == clause


def test_parts_are_bounded_by_times() -> None:
    """The outer parts have no end, so that nothing falls outside."""
    assert Part(None, 5).clauses == ["attributes.start_time < 5"]
    assert Part(5, 7).clauses == ["attributes.start_time >= 5", "attributes.start_time < 7"]
    assert Part(None, None).clauses == []
