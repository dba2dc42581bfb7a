"""Spark measures a batch only where it could be too large."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql.types import DoubleType, StringType

from tests.spark.conftest import NUMBERS
from tiltyard.spark.jobs.path_job import prepare_job
from tiltyard.spark.scoring import batch_size
from tiltyard.spark.scoring.batch_size import MAX_BYTES, MAX_ROWS, always_fits, is_measured, unmeasured


@pytest.mark.parametrize(
    ("schema", "rows", "fits"),
    [
        ("a double, b int, c date, d boolean, e decimal(38, 2)", "10000", True),
        (", ".join(f"c{i} double" for i in range(200)), "10000", True),
        # 50,000 x 200 x 9 bytes are more than 64 MiB.
        (", ".join(f"c{i} double" for i in range(200)), "50000", False),
        ("a double, b string", "10000", False),
        ("a array<double>", "10000", False),
        ("a double", "0", False),
    ],
)
def test_a_batch_fits_when_the_fullest_one_does(spark: Any, schema: str, rows: str, fits: bool) -> None:
    """Known for rows of fixed width alone, and only when their number is bounded."""
    before = spark.conf.get(MAX_ROWS)
    spark.conf.set(MAX_ROWS, rows)
    try:
        types = [field.dataType for field in spark.createDataFrame([], schema).schema]
        assert always_fits(spark, types) is fits
    finally:
        spark.conf.set(MAX_ROWS, before)


def test_spark_measures_unless_it_is_told_not_to(spark: Any) -> None:
    """So it comes, without any setting."""
    assert is_measured(spark.newSession())
    with unmeasured(spark):
        assert not is_measured(spark)


def test_an_older_spark_has_nothing_to_be_told(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the bound is no setting nothing is measured, nothing is set, and rows of fixed width fit."""
    monkeypatch.setattr(batch_size, "MAX_BYTES", "spark.sql.execution.arrow.notYetThere")
    with unmeasured(spark):
        assert not is_measured(spark)
    assert always_fits(spark, [DoubleType()])
    assert not always_fits(spark, [StringType()])


def test_the_session_is_afterwards_as_before(spark: Any) -> None:
    """Whether the block ends well or not; a limit of one's own comes back too."""
    before = spark.conf.get(MAX_BYTES)
    for limit in (before, "32m"):
        spark.conf.set(MAX_BYTES, limit)
        with pytest.raises(ValueError, match="of the block"), unmeasured(spark):
            assert not is_measured(spark)
            raise ValueError("of the block")
        assert is_measured(spark)
        assert spark.conf.get(MAX_BYTES) == limit
    spark.conf.set(MAX_BYTES, before)


@pytest.mark.parametrize("text", [False, True], ids=["numbers", "with texts"])
def test_a_job_measures_only_texts(
    spark: Any, registry_url: str, flowers: pd.DataFrame, tmp_path: Path, text: bool
) -> None:
    """A job of numbers runs unmeasured, one that keeps texts does not; both leave the session as it was."""
    (flowers.assign(note="x") if text else flowers).to_parquet(tmp_path / "in.parquet")
    before = spark.conf.get(MAX_BYTES)
    uri = f"models:/{NUMBERS}@champion"
    job = prepare_job(
        spark, uri, str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet"), registry_url=registry_url
    )
    assert job.unmeasured is not text
    assert job.run().rows == len(flowers)
    assert spark.conf.get(MAX_BYTES) == before
    assert len(spark.read.parquet(str(tmp_path / "out.parquet")).columns) == len(flowers.columns) + text + 1
