"""What happens beside a running job: the alias moves."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.dummy import DummyClassifier

from tests.spark.conftest import register
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
        while not Path(f"{mark}.waiting").exists():
            time.sleep(0.02)
        promote(1)
        mark.touch()
        rows = job.result()
    assert len(rows) == len(flowers)
    assert {(row["prediction"], row["model_version"]) for row in rows} == {(0, 1)}
