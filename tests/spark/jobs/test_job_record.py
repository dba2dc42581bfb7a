"""The record that a batch job leaves on its version, and what a registry that is away means for the job."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import tiltyard
from tests.fixtures.services import Service, StartService
from tests.spark.conftest import register
from tiltyard.errors import InvalidParameterValue
from tiltyard.spark import batch_job
from tiltyard.spark.jobs import job_record
from tiltyard.spark.jobs.job_record import JobRecord
from tiltyard.spark.jobs.path_job import prepare_job
from tiltyard.wire.v1.batch_jobs import BatchJob

NAME = "main.batch.recorded"
CHAMPION = f"models:/{NAME}@champion"


@pytest.fixture(scope="module")
def own_model(registry_url: str, flowers: pd.DataFrame) -> str:
    """The registry's address, once there is a model whose jobs nobody else adds to."""
    register(LogisticRegression().fit(flowers, (flowers["b"] > 0).astype(int)), NAME, flowers, registry_url)
    return registry_url


def jobs_of(url: str, name: str = NAME) -> list[BatchJob]:
    with tiltyard.Client(url) as client:
        return client.list_batch_jobs(name, 1).batch_jobs


def test_a_job_from_path_to_path_is_recorded(spark: Any, own_model: str, flowers: pd.DataFrame, tmp_path: Path) -> None:
    """The version shows where the rows came from and went, how many they were, and how long it took."""
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    flowers.to_parquet(source)
    summary = prepare_job(spark, CHAMPION, str(source), str(target), registry_url=own_model).run()
    job = jobs_of(own_model)[0]
    assert job.job_id == summary.job_id
    assert (job.status, job.row_count, job.null_count, job.message) == ("SUCCEEDED", 1000, 0, None)
    assert (job.input, job.output) == (source.as_uri().replace("///", "/"), target.as_uri().replace("///", "/"))
    assert 0 < (job.duration_ms or 0) <= 1000 * summary.duration_s + 1000
    empty = prepare_job(spark, CHAMPION, str(source), str(target), mode="overwrite", where="b > 1e9",
                        registry_url=own_model).run()  # fmt: skip
    assert empty.rows == 0
    assert empty.duration_s < 20


def test_a_job_that_fails_says_why(spark: Any, own_model: str, flowers: pd.DataFrame, tmp_path: Path) -> None:
    """The record of a job that a bad row ended has the row's error in one line, and no rows."""
    source = tmp_path / "in.parquet"
    flowers.assign(c=float("nan")).to_parquet(source)
    job = prepare_job(spark, CHAMPION, str(source), str(tmp_path / "out"), registry_url=own_model)
    with pytest.raises(Exception, match="contains NaN"):
        job.run()
    recorded = jobs_of(own_model)[0]
    assert (recorded.status, recorded.row_count) == ("FAILED", None)
    assert (recorded.message or "").startswith("ValueError: Input X contains NaN")


def test_a_job_of_ones_own_is_recorded(spark: Any, own_model: str, flowers: pd.DataFrame, tmp_path: Path) -> None:
    """A block tells of itself: running within, succeeded behind, and of a DataFrame that nobody wrote no rows."""
    df = spark.createDataFrame(flowers)
    target = str(tmp_path / "out")
    with batch_job(spark, CHAMPION, input="jdbc:x", output=target, errors="null", registry_url=own_model) as job:
        assert jobs_of(own_model)[0].status == "RUNNING"
        job.score(df, lineage=True).write.parquet(target)
        with pytest.raises(InvalidParameterValue, match="one DataFrame"):
            job.score(df)
    done = jobs_of(own_model)[0]
    assert (done.status, done.row_count, done.input, done.output) == ("SUCCEEDED", 1000, "jdbc:x", target)
    with pytest.raises(ZeroDivisionError), batch_job(spark, CHAMPION, registry_url=own_model) as job:
        job.score(df)
        raise ZeroDivisionError("the job's own code")
    failed = jobs_of(own_model)[0]
    assert (failed.status, failed.row_count, failed.message) == ("FAILED", None, "the job's own code")


def test_a_registry_that_is_away_fails_no_job(
    spark: Any, registry: StartService, flowers: pd.DataFrame, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Killed once the version is resolved, the registry hears of nothing; the rows are there, with a warning."""
    monkeypatch.setattr(job_record, "START_RETRY_S", 0.2)
    monkeypatch.setattr(job_record, "END_RETRY_S", 0.2)
    service: Service = registry()
    register(LogisticRegression().fit(flowers, flowers["b"] > 0), NAME, flowers, service.url)
    flowers.to_parquet(tmp_path / "in.parquet")
    job = prepare_job(
        spark, CHAMPION, str(tmp_path / "in.parquet"), str(tmp_path / "out"), registry_url=service.url
    )  # fmt: skip
    service.kill()
    with caplog.at_level(logging.WARNING, "tiltyard.spark"):
        assert job.run().rows == len(flowers)
    assert len(pd.read_parquet(tmp_path / "out")) == len(flowers)
    assert "could not be told that the batch job is SUCCEEDED" in caplog.text
    # Back again, it takes a whole record from one message: a job's end needs no start before it.
    service.start()
    with tiltyard.Client(service.url), JobRecord(job.function.reference, input="s3a://KEY:SECRET@lake/in") as record:
        record.row_count = 7
    [told] = jobs_of(service.url)
    assert (told.status, told.row_count, told.input) == ("SUCCEEDED", 7, "s3a://lake/in")


def test_a_directory_has_nobody_to_tell(spark: Any, flowers: pd.DataFrame, tmp_path: Path) -> None:
    """A model that no registry knows is scored without a record."""
    model = LogisticRegression().fit(flowers, (flowers["b"] > 0).astype(int))
    tiltyard.save_model(model, tmp_path / "model", input_example=flowers.head(2))
    with batch_job(spark, str(tmp_path / "model")) as job:
        assert job.score(spark.createDataFrame(flowers.head(5))).count() == 5
    assert job.record.job_id is None
