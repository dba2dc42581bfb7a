"""What batch scoring costs beside the rows: loads of the model, downloads, the driver, and bad rows."""

import logging
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tiltyard
from tests.fixtures.services import Service
from tests.spark.conftest import register
from tests.spark.scoring.counting import CountingModel
from tiltyard.spark import score

COLUMNS = list("abcd")
FETCH = """
import sys
from tiltyard.models import fetch, resolve
reference = resolve(sys.argv[1], registry_url=sys.argv[2])
sys.stdin.readline()
fetch(reference)
"""


class SlowModel(CountingModel):
    """Takes two seconds to load."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        time.sleep(2.0)


def examples(rows: int) -> pd.DataFrame:
    """Rows of four doubles."""
    return pd.DataFrame(np.random.default_rng(0).normal(size=(rows, 4)), columns=COLUMNS)


def loads_of_one_job(spark: Any, folder: Path) -> tuple[int, float]:
    """How often the executors load a model for 16 partitions on two Python workers, and the seconds of the job."""
    tiltyard.save_model(SlowModel(str(folder / "loads")), folder / "slow", input_example=examples(2))
    predict = tiltyard.spark_udf(spark, str(folder / "slow"), "double")
    before = len(list(folder.glob("loads-*")))
    table = spark.createDataFrame(examples(1600)).repartition(16)
    started = time.perf_counter()
    table.select(predict()).write.format("noop").mode("overwrite").save()
    return len(list(folder.glob("loads-*"))) - before, time.perf_counter() - started


def downloads_of_many(service: Service, folder: Path, count: int) -> dict[str, int]:
    """How often the registry sent each file when `count` processes of one host wanted it at the same moment."""
    from sklearn.linear_model import LogisticRegression

    frame = examples(100)
    register(LogisticRegression().fit(frame, frame["a"] > 0), "main.bench.wanted", frame, service.url)
    words = [sys.executable, "-c", FETCH, "models:/main.bench.wanted@champion", service.url]
    env = os.environ | {"TILTYARD_CACHE_DIR": str(folder / "cache")}
    started = [subprocess.Popen(words, stdin=subprocess.PIPE, env=env) for _ in range(count)]
    # All have asked what to fetch before the first one fetches.
    deadline = time.monotonic() + 300
    while service.logs.count('"path":"/api/tiltyard/v1/resolve"') < count:
        assert time.monotonic() < deadline, "not all processes asked what to fetch"
        time.sleep(0.1)
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
    for process in started:
        assert process.wait(300) == 0
    # When it has ended, all of its log is written.
    service.terminate()
    return dict(Counter(re.findall(r'"method":"GET","path":"/api/2\.0/mlflow-artifacts/artifacts/[^"]*/([^"/]+)"',
                                   service.logs)))  # fmt: skip


def driver_seconds(spark: Any, url: str, rounds: int) -> dict[str, float]:
    """The median seconds from the model's URI to a query that can start, ours and MLflow's, with all caches warm."""
    import mlflow
    from pyspark.sql import functions
    from sklearn.linear_model import LogisticRegression

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    frame = examples(100)
    register(LogisticRegression().fit(frame, (frame["a"] > 0).astype(int)), "main.bench.driver", frame, url)
    mlflow.set_registry_uri(url)
    mlflow.set_tracking_uri(url)
    table, uri = spark.createDataFrame(frame), "models:/main.bench.driver@champion"

    def ours() -> Any:
        return table.select(tiltyard.spark_udf(spark, uri, registry_url=url)())

    def theirs() -> Any:
        predict = mlflow.pyfunc.spark_udf(spark, uri, result_type="long", env_manager="local")
        return table.select(predict(functions.struct(*COLUMNS)))

    found: dict[str, list[float]] = {"ours": [], "mlflow": []}
    ways: dict[str, Callable[[], Any]] = {"ours": ours, "mlflow": theirs}
    for i in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if i:
                found[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in found.items()}


def seconds_by_policy(spark: Any, folder: Path, rows: int, rounds: int) -> dict[str, float]:
    """The median seconds for `rows` rows: none bad, and one in a hundred bad under each policy; 'fail' ends early."""
    from pyspark.errors import PythonException
    from pyspark.sql import functions
    from sklearn.linear_model import LogisticRegression

    frame = examples(2000)
    model = LogisticRegression().fit(frame, (frame["a"] > 0).astype(int))
    tiltyard.save_model(model, folder / "model", input_example=frame.head(2))
    source = spark.createDataFrame(frame).crossJoin(spark.range(rows // len(frame)).withColumnRenamed("id", "copy"))
    good = source.drop("copy").repartition(4).cache()
    bad = good.withColumn("c", functions.when(functions.rand(1) > 0.01, functions.col("c"))).cache()
    work = {"none bad, fail": (good, "fail"), "1 % bad, null": (bad, "null"), "1 % bad, column": (bad, "column")}
    found: dict[str, list[float]] = {name: [] for name in work}
    for i in range(rounds + 1):
        for name, (table, errors) in work.items():
            started = time.perf_counter()
            scored = score(table, str(folder / "model"), keep=[], errors=errors)
            scored.write.format("noop").mode("overwrite").save()
            if i:
                found[name].append(time.perf_counter() - started)
    counted = score(bad, str(folder / "model"), keep=[], errors="column").groupBy("prediction_error").count().collect()
    reasons = {row["prediction_error"]: row["count"] for row in counted}
    assert sum(reasons.values()) == good.count()
    assert 0.005 * rows < sum(count for reason, count in reasons.items() if reason) < 0.02 * rows
    # Last, for the Python workers of a failed job start anew.
    started = time.perf_counter()
    with pytest.raises(PythonException, match="contains NaN"):
        score(bad, str(folder / "model"), keep=[]).write.format("noop").mode("overwrite").save()
    found["1 % bad, fail"] = [time.perf_counter() - started]
    for table in (good, bad):
        table.unpersist()
    return {name: statistics.median(values) for name, values in found.items()}
