"""Streams that follow an alias: one version per micro-batch, the rows say which."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from tests.fixtures.services import StartService
from tests.spark.conftest import register
from tiltyard.errors import InvalidParameterValue
from tiltyard.spark import foreach_batch

NAME = "main.batch.followed"


def test_each_micro_batch_has_the_version_of_its_moment(
    spark: Any, registry: StartService, flowers: pd.DataFrame, tmp_path: Path
):
    """The alias is moved between micro-batches: per batch it is followed, per query it is not; a registry that is
    away changes nothing."""
    service = registry()
    label = (flowers.sum(axis=1) > 0).astype(int)

    def promote(constant: int) -> None:
        model = DummyClassifier(strategy="constant", constant=constant).fit(flowers, label)
        register(model, NAME, flowers, service.url)

    promote(0)
    seen: list[Any] = []

    def write(scored: Any, _batch_id: int) -> None:
        rows = scored.select("prediction", "model_version").distinct().collect()
        seen.append([(row["prediction"], row["model_version"]) for row in rows])

    options: dict[str, Any] = {"registry_url": service.url, "keep": ["b"]}
    following = foreach_batch(f"models:/{NAME}@champion", write, **options)
    pinned = foreach_batch(f"models:/{NAME}@champion", write, refresh="per-query", **options)
    batch = spark.createDataFrame(flowers.head(20))
    following(batch, 0)
    pinned(batch, 0)
    promote(1)
    following(batch, 1)
    pinned(batch, 1)
    service.kill()
    following(batch, 2)
    assert seen == [[(0, 1)], [(0, 1)], [(1, 2)], [(0, 1)], [(1, 2)]]
    flowers.head(20).to_parquet(tmp_path / "rows.parquet")
    stream = spark.readStream.schema(batch.schema).option("pathGlobFilter", "*.parquet").parquet(str(tmp_path))
    query = stream.writeStream.foreachBatch(following).trigger(availableNow=True)
    assert query.option("checkpointLocation", str(tmp_path / "checkpoint")).start().awaitTermination(100)
    assert seen[-1] == [(1, 2)]
    assert len(seen) == 6


def test_an_unknown_refresh_is_refused_at_once():
    """Before any query is there."""
    with pytest.raises(InvalidParameterValue, match="refresh"):
        foreach_batch("models:/m@champion", print, refresh="hourly")  # type: ignore[arg-type]
