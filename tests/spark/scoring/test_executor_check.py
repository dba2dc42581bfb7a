"""The probe of the executors' Python: what counts as a difference, and what is said about it."""

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

import tiltyard
from tests.spark.conftest import NUMBERS
from tiltyard.errors import InvalidParameterValue, MissingPackage
from tiltyard.spark import check_environment
from tiltyard.spark.scoring.executor_check import Executor, compare

DRIVER = Executor("driver", "1", "3.11.7", {"numpy": "2.4.6", "pandas": "2.3.3", "xgboost": "3.2.0"})


@pytest.mark.parametrize(
    ("python", "versions", "requirements", "expected"),
    [
        ("3.11.9", DRIVER.versions, {"xgboost": "==3.2.0"}, []),
        ("3.12.1", DRIVER.versions, {}, ["w: python is 3.12.1, the driver says 3.11.7"]),
        ("3.11.7", DRIVER.versions | {"numpy": "2.0.0"}, {}, ["w: numpy is 2.0.0, the driver says 2.4.6"]),
        ("3.11.7", DRIVER.versions | {"numpy": "2.0.0"}, {"numpy": ">=2.1"},
         ["w: numpy is 2.0.0, the model says >=2.1"]),
        ("3.11.7", DRIVER.versions | {"xgboost": None}, {"xgboost": ""},
         ["w: xgboost is not installed, the model says any version"]),
    ],
)  # fmt: skip
def test_differences_name_both_sides(
    python: str, versions: dict[str, Any], requirements: dict[str, str], expected: list[str]
):
    """Another Python, another numpy and a requirement that is not fulfilled are differences; a patch release is not."""
    assert [str(entry) for entry in compare(Executor("w", "2", python, versions), DRIVER, requirements)] == expected


def test_the_probe_keeps_the_workers(spark: Any, registry_url: str):
    """The Python workers that were there go on afterwards, with all they have imported."""

    def pids(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            yield pa.RecordBatch.from_arrays([pa.array([os.getpid()] * batch.num_rows)], ["id"])

    def workers() -> set[int]:
        return {row["id"] for row in spark.range(2).mapInArrow(pids, "id long").collect()}

    predict = tiltyard.spark_udf(spark, f"models:/{NUMBERS}@champion", registry_url=registry_url)
    before = workers()
    check_environment(spark, predict, on_mismatch="error")
    assert workers() & before


def test_the_probe_runs_where_the_model_will(spark: Any, registry_url: str, caplog: pytest.LogCaptureFixture):
    """Executors like the driver pass; a requirement that they lack is a warning, or an error, with its name."""
    predict = tiltyard.spark_udf(spark, f"models:/{NUMBERS}@champion", registry_url=registry_url)
    assert any(line.startswith("scikit-learn==") for line in predict.requirements)
    (executor,) = check_environment(spark, predict, on_mismatch="error")
    assert executor.versions["scikit-learn"]
    predict.requirements.append("no-such-package>=7")
    with caplog.at_level(logging.WARNING, "tiltyard.spark"):
        check_environment(spark, predict)
    assert "no-such-package is not installed, the model says >=7" in caplog.text
    with pytest.raises(MissingPackage, match="no-such-package"):
        check_environment(spark, predict, on_mismatch="error")
    with pytest.raises(InvalidParameterValue, match="on_mismatch"):
        check_environment(spark, predict, on_mismatch="shout")
