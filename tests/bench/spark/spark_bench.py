"""Rows per second of batch scoring beside the ways a user would try without it. Run as a module for the table alone.

`ours` is `score` with the predictions alone kept, as the `mapIn…` ways keep them.
`ours, spark_udf` is the function of columns.

All ways run in one Spark session, one after the other in each round, into a sink that throws rows away: once as Spark
comes, and once without the measuring of batches, for all alike. So `tiltyard score` runs where rows are numbers.
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tiltyard


def of_release(name: str, *modules: str) -> Any:
    """A function of the library, from the first of these modules that the measured release has."""
    for module in modules:
        with suppress(ModuleNotFoundError):
            return getattr(import_module(module), name)
    raise ModuleNotFoundError(f"{name} is in none of {', '.join(modules)}")


unmeasured = of_release("unmeasured", "tiltyard.spark.scoring.batch_size", "tiltyard.spark.batch_size")
open_session = of_release("open_session", "tiltyard.spark.jobs.session", "tiltyard.spark.session")
apply = of_release("apply", "tiltyard.spark.scoring.score", "tiltyard.spark.scoring")

Action = Callable[[Any], Any]
SETTINGS: dict[str, Callable[[Any], AbstractContextManager[None]]] = {
    "as Spark comes": lambda _spark: nullcontext(),
    "batches not measured": unmeasured,
}


@dataclass(frozen=True)
class Work:
    """A model and the table it scores; `goals` are ratios of ours to another way."""

    name: str
    estimator: Any
    example: pd.DataFrame
    label: Any
    rows: int
    goals: dict[str, float]


def narrow(rows: int) -> Work:
    """Four doubles and a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(2000, 4)), columns=list("abcd"))
    goals = {"mapInArrow": 1.2, "mlflow.spark_udf": 1.8}
    return Work("4 doubles, LogisticRegression", LogisticRegression(), frame, frame.sum(axis=1) > 0, rows, goals)


def wide(rows: int) -> Work:
    """Two hundred doubles and a ridge regression."""
    from sklearn.linear_model import Ridge

    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(2000, 200)), columns=[f"c{i}" for i in range(200)])
    return Work("200 doubles, Ridge", Ridge(), frame, frame.sum(axis=1), rows, {"mapInPandas": 1.0})


def mixed(rows: int) -> Work:
    """Ten doubles, three longs and three texts through a column transformer."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(2000, 10)), columns=[f"d{i}" for i in range(10)])
    for i in range(3):
        frame[f"l{i}"] = random.integers(0, 100, 2000)
    for i in range(3):
        frame[f"t{i}"] = random.choice(["red", "green", "blue"], 2000)
    texts = [f"t{i}" for i in range(3)]
    encode = make_column_transformer((OneHotEncoder(), texts), remainder=StandardScaler())
    label = frame["d0"] > 0
    return Work("mixed pipeline, 16 columns", make_pipeline(encode, LogisticRegression()), frame, label, rows,
                {"mapInArrow": 0.95})  # fmt: skip


def table_of(spark: Any, work: Work) -> Any:
    """The rows, made once and kept in memory."""
    from pyspark.sql import functions

    repeats = -(-work.rows // len(work.example))
    rows = spark.createDataFrame(work.example).crossJoin(spark.range(repeats).withColumnRenamed("id", "copy"))
    table = rows.drop(functions.col("copy")).repartition(4).cache()
    table.count()
    return table


def ways(spark: Any, work: Work, directory: Path) -> dict[str, Action]:
    """The ways to score, by name: each from a table to a table with predictions."""
    import mlflow
    from pyspark.sql import functions

    predictions = work.estimator.predict(work.example)
    # Spark keeps one type per column, whatever label the estimator gives.
    result_type = "double" if predictions.dtype.kind == "f" else "long"
    tiltyard.save_model(
        work.estimator, directory / "ours", signature=tiltyard.infer_signature(work.example, predictions)
    )
    mlflow.sklearn.save_model(
        work.estimator,
        directory / "mlflow",
        signature=mlflow.models.infer_signature(work.example, predictions),
        serialization_format="cloudpickle",
        pip_requirements=[],
    )
    estimator = spark.sparkContext.broadcast(work.estimator)

    def bare_arrow(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            answer = estimator.value.predict(batch.to_pandas())
            yield pa.RecordBatch.from_arrays([pa.array(answer)], names=["prediction"])

    def bare_pandas(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            yield pd.DataFrame({"prediction": estimator.value.predict(frame)})

    names = [functions.col(name) for name in work.example.columns]
    as_column = tiltyard.spark_udf(spark, str(directory / "ours"))
    theirs = mlflow.pyfunc.spark_udf(spark, str(directory / "mlflow"), result_type=result_type, env_manager="local")
    return {
        "ours": lambda table: apply(table, as_column, keep=[]),
        "ours, spark_udf": lambda table: table.select(as_column()),
        "mapInArrow": lambda table: table.mapInArrow(bare_arrow, f"prediction {result_type}"),
        "mapInPandas": lambda table: table.mapInPandas(bare_pandas, f"prediction {result_type}"),
        "mlflow.spark_udf": lambda table: table.select(theirs(functions.struct(*names))),
    }


@dataclass(frozen=True)
class Measured:
    """What was found for one work, by way: rows per second in each round, and how many rows got a prediction."""

    rows: int
    speeds: dict[str, list[float]]
    predicted: dict[str, int]


def measure(spark: Any, work: Work, rounds: int, only: str = "") -> dict[str, Measured]:
    """What was found by the settings: each way in each round, after one that warms up and counts the predictions.

    `only` is what the names of the ways must begin with.
    """
    work.estimator.fit(work.example, np.asarray(work.label, dtype=np.int64 if work.label.dtype == bool else None))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        every = ways(spark, work, Path(folder))
        actions = {name: action for name, action in every.items() if name.startswith(only)}
        table = table_of(spark, work)
        rows = table.count()
        for setting, entered in SETTINGS.items():
            with entered(spark):
                predicted = {
                    name: action(table).toDF("p").where("p is not null").count() for name, action in actions.items()
                }
                found[setting] = Measured(rows, _speeds(actions, table, rows, rounds), predicted)
        table.unpersist()
    return found


def _speeds(actions: dict[str, Action], table: Any, rows: int, rounds: int) -> dict[str, list[float]]:
    speeds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, action in actions.items():
            started = time.perf_counter()
            action(table).write.format("noop").mode("overwrite").save()
            speeds.setdefault(name, []).append(rows / (time.perf_counter() - started))
    return speeds


def report(work: Work, setting: str, found: Measured) -> None:
    """Prints the speeds, and the ratios of ours to the others by the medians, with their goals."""
    speeds = found.speeds
    ours = statistics.median(speeds["ours"])
    print(f"\n{work.name}, {setting}, {found.rows:,} rows, {len(speeds['ours'])} rounds")
    for name, values in speeds.items():
        median, wanted = statistics.median(values), work.goals.get(name)
        ratio = ours / median
        goal = f" (goal {wanted:g}: {'held' if ratio >= wanted else 'MISSED'})" if wanted else ""
        spread = f"{min(values):>12,.0f} … {max(values):>12,.0f}"
        print(f"  {name:<17} {median:>12,.0f} rows/s  ({spread})   ours is {ratio:.2f} x{goal}")


def open_bench_session() -> Any:
    """A session of two local cores."""
    # Neither side is helped by settings: what Spark sends by default, both get.
    conf = {"spark.sql.execution.arrow.maxRecordsPerBatch": "10000", "spark.driver.memory": "3g"}
    spark = open_session(app_name="bench", master="local[2]", conf=conf)
    spark.sparkContext.setLogLevel("OFF")
    return spark


def run(spark: Any, scale: float = 1.0, rounds: int = 5) -> dict[str, Measured]:
    """What was found for all work, by its name and the setting, once it is printed; `scale` shrinks the tables."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    found = {}
    for work in (narrow(int(5_000_000 * scale)), wide(int(300_000 * scale)), mixed(int(1_000_000 * scale))):
        for setting, measured in measure(spark, work, rounds).items():
            found[f"{work.name}, {setting}"] = measured
            report(work, setting, measured)
    return found


def run_ours(spark: Any, scale: float, rounds: int) -> None:
    """Prints the median rows per second of our ways alone, one line for each work and way, the figure after a tab."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    for work in (narrow(int(5_000_000 * scale)), wide(int(300_000 * scale)), mixed(int(1_000_000 * scale))):
        for setting, measured in measure(spark, work, rounds, only="ours").items():
            for way, speeds in measured.speeds.items():
                print(f"{work.name}, {way}, {setting}\t{statistics.median(speeds):.0f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", action="store_true", help="our ways alone, a line each")
    parser.add_argument("--scale", type=float, default=1.0, help="of the tables' full size (default 1)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    given = parser.parse_args()
    session = open_bench_session()
    (run_ours if given.ours else run)(session, given.scale, given.rounds)
    session.stop()
