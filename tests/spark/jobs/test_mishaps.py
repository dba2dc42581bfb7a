"""What happens beside a running job: the alias moves, a byte of the host's cache flips."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

import tiltyard
from tests.fixtures.services import Service
from tests.fixtures.waiting import wait_until
from tests.spark.conftest import register
from tiltyard.cache.model_cache import ModelCache
from tiltyard.spark import score


def waiting_for(mark: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """A step of a job that lets its rows through once the file is there, and says with another one that it waits."""

    def hold(batches: Iterator[Any]) -> Iterator[Any]:
        Path(f"{mark}.waiting").touch()
        deadline = time.monotonic() + 100
        while not Path(mark).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        yield from batches

    return hold


def test_a_promotion_in_the_middle_of_a_job(
    spark: Any, registry_url: str, flowers: pd.DataFrame, tmp_path: Path
) -> None:
    """A job whose tasks run while the alias moves scores every row with the version it began with."""
    name, mark = "main.batch.promoted", tmp_path / "promoted"
    label = (flowers.sum(axis=1) > 0).astype(int)

    def promote(constant: int) -> None:
        model = DummyClassifier(strategy="constant", constant=constant).fit(flowers, label)
        register(model, name, flowers, registry_url)

    promote(0)
    df = spark.createDataFrame(flowers).repartition(4)
    held = df.mapInArrow(waiting_for(str(mark)), df.schema)
    scored = score(held, f"models:/{name}@champion", keep=["b"], lineage=True, registry_url=registry_url)
    with ThreadPoolExecutor(1) as thread:
        job = thread.submit(lambda: scored.select("prediction", "model_version").collect())
        wait_until(Path(f"{mark}.waiting").exists)
        promote(1)
        mark.touch()
        rows = job.result()
    assert len(rows) == len(flowers)
    assert {(row["prediction"], row["model_version"]) for row in rows} == {(0, 1)}


def cache_of_the_worker(batches: Iterator[Any]) -> Iterator[Any]:
    """A step of a job that gives one row: where its Python worker keeps models."""
    for _ in batches:
        pass
    yield pa.RecordBatch.from_pydict({"root": [str(ModelCache().root)]})


def test_a_flipped_byte_in_the_cache_of_a_host(
    spark: Any, registry_service: Service, registry_url: str, flowers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An executor refuses what its host's cache holds, fetches it again, once, and the job has the right answers."""
    monkeypatch.setattr("tiltyard.spark.scoring.udf.MAX_CARRIED_BYTES", 0)
    name = "main.batch.rotten"
    model = LogisticRegression(C=0.123).fit(flowers, (flowers["c"] > 0).astype(int))
    register(model, name, flowers, registry_url)
    df = spark.createDataFrame(flowers)
    root = ModelCache().root
    # The driver of a local Spark and its workers are one host, so one cache.
    assert {row["root"] for row in df.mapInArrow(cache_of_the_worker, "root string").collect()} == {str(root)}
    predict = tiltyard.spark_udf(spark, f"models:/{name}@champion", registry_url=registry_url)
    (stored,) = (root / "models" / predict.digest.removeprefix("sha256:")).rglob("model.skops")
    whole = stored.read_bytes()
    rotten = bytearray(whole)
    rotten[len(rotten) // 2] ^= 1
    stored.write_bytes(rotten)
    rows = df.select("c", predict().alias("p")).toPandas()
    expected = pd.Series(model.predict(flowers), index=flowers["c"])
    assert (rows["p"].to_numpy() == expected.loc[rows["c"]].to_numpy()).all()
    assert stored.read_bytes() == whole
    path = f"{predict.reference.location.partition(':')[2]}/model.skops"
    sent = f'"method":"GET","path":"/api/2.0/mlflow-artifacts/artifacts{path}"'
    wait_until(lambda: registry_service.logs.count(sent) >= 2)
    # Once to the driver, and once for both workers.
    assert registry_service.logs.count(sent) == 2
