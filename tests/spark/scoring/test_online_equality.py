"""Online and batch agree: the same rows through `/invocations` and through Spark, equal output or equal refusal."""

import datetime as dt
import json
import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import types as T

from tests.fixtures.services import Service
from tests.spark.conftest import MIXED, NUMBERS, invoke, register
from tiltyard.pyfunc.data_types import DataType
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.schema import ColSpec, Schema
from tiltyard.spark import score

ECHO = "main.batch.echo"
SPARK_TYPES: dict[str, T.DataType] = {
    "key": T.LongType(),
    "big": T.LongType(),
    "small": T.IntegerType(),
    "ratio": T.DoubleType(),
    "weight": T.FloatType(),
    "text": T.StringType(),
    "flag": T.BooleanType(),
    "at": T.TimestampNTZType(),
    "moment": T.TimestampType(),
    "day": T.DateType(),
}
KINDS = {"small": DataType.integer, "ratio": DataType.double, "weight": DataType.float, "text": DataType.string,
         "flag": DataType.boolean, "at": DataType.datetime, "moment": DataType.datetime,
         "day": DataType.datetime}  # fmt: skip
INPUTS = Schema(
    (
        ColSpec(DataType.long, "key"),
        ColSpec(DataType.long, "big"),
        *(ColSpec(kind, name, required=False) for name, kind in KINDS.items()),
    )
)
TEXTS = ["", " ", "null", "NaN", "1", "true", "größe", "日本", "a\nb", 'quote"', "2026-01-01", "\U0001f980"]


def echo() -> Any:
    """A model that tells of each row what it was given: the columns that are there, their types and values."""

    class Echo:  # within the function, so that it travels by value
        def predict(self, model_input: Any) -> list[str]:
            def said(name: str, kind: str, value: Any) -> str:
                return f"{name}:{kind}={value!r}"

            columns = [[said(name, str(values.dtype), value) for value in values.tolist()]
                       for name, values in model_input.items()]  # fmt: skip
            return [" ".join(row) for row in zip(*columns, strict=True)]

    return Echo()


def generated(seed: int) -> tuple[list[str], list[list[Any]]]:
    """Column names, some optional ones left out and in any order, and rows of them with nulls here and there."""
    chance = random.Random(seed)
    day = dt.datetime(2026, 3, 29)

    def moment() -> dt.datetime:
        return day + dt.timedelta(days=chance.randint(-20000, 20000), microseconds=chance.randint(0, 10**9))

    near = [2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 0]
    makers = {
        "key": lambda: chance.randint(0, 10**6),
        "big": lambda: chance.choice(near) if chance.random() < 0.5 else 2**53 + chance.randint(-50, 50),
        "small": lambda: chance.choice([0, 1, -1, 2**31 - 1, -(2**31), chance.randint(-999, 999)]),
        "ratio": lambda: chance.choice([0.1, -0.0, 1e308, 5e-324, 2.0**53 + 2, chance.gauss(0, 1)]),
        "weight": lambda: float(np.float32(chance.gauss(0, 1000))),
        "text": lambda: chance.choice(TEXTS),
        "flag": lambda: chance.random() < 0.5,
        "at": moment,
        "moment": moment,
        "day": lambda: moment().date(),
    }
    names = [name for name in makers if name in ("key", "big") or chance.random() < 0.8]
    chance.shuffle(names)
    # A column with a gap is another column to pandas than one without.
    gaps = {name: chance.choice([0.0, 0.0, 0.2, 1.0]) if name in KINDS else 0.0 for name in names}
    rows = [[None if chance.random() < gaps[name] else makers[name]() for name in names] for _ in range(40)]
    return names, rows


def online(url: str, names: list[str], rows: list[list[Any]]) -> list[str] | None:
    """The predictions of the scoring service; None if it refuses the request as bad."""
    split = {"columns": names, "data": rows}
    body = json.dumps({"dataframe_split": split}, default=lambda value: value.isoformat()).encode()
    request = urllib.request.Request(f"{url}/invocations", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            answers: list[str] = json.load(response)["predictions"]
            return answers
    except urllib.error.HTTPError as error:
        assert error.code == 400
        return None


def batch(spark: Any, registry_url: str, names: list[str], rows: list[list[Any]]) -> list[str] | None:
    """The predictions of a Spark job over one batch of these rows; None if it fails for the model's signature."""
    table = T.StructType([T.StructField(name, SPARK_TYPES[name]) for name in names])
    df = spark.createDataFrame(rows, table).coalesce(1)
    try:
        scored = score(df, f"models:/{ECHO}@champion", keep=["key"], registry_url=registry_url).collect()
    except PySparkException as error:
        assert "SchemaEnforcementFailed" in str(error)
        return None
    return [row["prediction"] for row in scored]


@pytest.fixture(scope="module")
def service(registry_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A scoring service with all three models, each under its short name."""
    example = pd.DataFrame({"key": [1], "big": [2]})
    signature = Signature(INPUTS, Schema((ColSpec(DataType.string),)))
    register(echo(), ECHO, example, registry_url, signature=signature)
    models = [f"--model={name.rpartition('.')[2]}=models:/{name}@champion" for name in (NUMBERS, MIXED, ECHO)]
    folder: Path = tmp_path_factory.mktemp("batch-serving")
    started = Service("serving", "--registry-url", registry_url, *models, log=folder / "serving.log").start()
    yield started
    started.terminate()


def test_predictions_equal_those_of_invocations(
    spark: Any, service: Service, registry_url: str, flowers: pd.DataFrame, customers: pd.DataFrame
) -> None:
    """The same thousand rows through `/invocations` and through Spark give equal predictions, numbers and mixed."""
    for name, frame in ((NUMBERS, flowers), (MIXED, customers)):
        keyed = frame.assign(key=np.arange(len(frame)))
        df = spark.createDataFrame(keyed).repartition(3)
        scored = score(df, f"models:/{name}@champion", registry_url=registry_url).toPandas().sort_values("key")
        of_service = invoke(f"{service.url}/serving-endpoints/{name.rpartition('.')[2]}", frame)
        assert scored["prediction"].tolist() == of_service, name


def test_a_model_is_given_the_same_rows_online_and_in_batch(spark: Any, service: Service, registry_url: str) -> None:
    """Generated rows reach the model in equal columns, types and values, to the last bit, or reach it neither way.

    They have nulls, absent optional columns, dates and times, odd texts, booleans and integers around 2**53.
    """
    accepted, refused = 0, 0
    for seed in range(12):
        names, rows = generated(seed)
        answers = batch(spark, registry_url, names, rows)
        assert answers == online(f"{service.url}/serving-endpoints/echo", names, rows), (seed, names)
        accepted, refused = accepted + (answers is not None), refused + (answers is None)
    assert min(accepted, refused) >= 2, (accepted, refused)
