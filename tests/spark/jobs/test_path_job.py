"""The job from a path to a path: what it writes, and what a job that fails or dies leaves behind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tests.spark.conftest import NUMBERS
from tiltyard.cli.score import score
from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists
from tiltyard.spark.jobs.failures import last_words
from tiltyard.spark.jobs.path_job import prepare_job
from tiltyard.spark.jobs.staged_output import StagedOutput
from tiltyard.spark.jobs.summary import spread

CHAMPION = f"models:/{NUMBERS}@champion"


@pytest.fixture(scope="module")
def source(flowers: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("source") / "in.parquet"
    flowers.assign(day=np.where(np.arange(len(flowers)) % 2, "mon", "tue")).to_parquet(path)
    return str(path)


def score_path(*places: Any, **options: Any) -> Any:
    return prepare_job(*places, **options).run()


def left_beside(target: Path) -> list[str]:
    return [path.name for path in target.parent.iterdir() if path != target]


def test_modes_replace_append_or_refuse(spark: Any, registry_url: str, source: str, tmp_path: Path):
    """The second run refuses, appends or replaces as the mode says, and nothing is left beside the output."""
    target = tmp_path / "out.parquet"

    def run(mode: str, **options: Any) -> Any:
        return score_path(spark, CHAMPION, source, str(target), mode=mode, registry_url=registry_url, **options)

    first = run("errorifexists", keep=["day", "b"], partition_by=["day"])
    assert (first.rows, first.null_predictions, sum((first.counts or {}).values())) == (1000, 0, 1000)
    assert {path.name for path in target.iterdir()} >= {"day=mon", "day=tue"}
    with pytest.raises(ResourceAlreadyExists, match="exists"):
        run("errorifexists")
    assert sum((run("append", keep=["day", "b"], partition_by=["day"]).counts or {}).values()) == 1000
    assert spark.read.parquet(str(target)).count() == 2000
    run("overwrite", where="day = 'mon'")
    assert spark.read.parquet(str(target)).count() == 500
    assert left_beside(target) == []


def test_tables_are_read_and_written(spark: Any, registry_url: str, flowers: pd.DataFrame, tmp_path: Path):
    """From a table to a table: made, refused when it is there, appended to by the names of its columns, replaced."""
    spark.sql(f"create database scored location '{tmp_path / 'scored'}'")
    try:
        spark.createDataFrame(flowers).write.saveAsTable("scored.flowers")

        def run(mode: str, source: str = "table:scored.flowers", **options: Any) -> Any:
            return score_path(
                *(spark, CHAMPION, source, "table:scored.out"),
                **{"mode": mode, "registry_url": registry_url, "keep": ["b"], **options},
            )

        first = run("errorifexists")
        assert (first.rows, sum((first.counts or {}).values())) == (1000, 1000)
        with pytest.raises(ResourceAlreadyExists, match=r"table 'scored\.out' exists"):
            run("errorifexists")
        run("append")
        assert spark.table("scored.out").count() == 2000
        with pytest.raises(InvalidParameterValue, match=r"has the columns \['b', 'prediction'\]"):
            run("append", keep=["c"])
        run("overwrite", where="b > 0")
        assert spark.table("scored.out").count() == int((flowers["b"] > 0).sum())
        with pytest.raises(InvalidParameterValue, match=r"'table:scored\.nothing' cannot be read"):
            run("overwrite", source="table:scored.nothing")
    finally:
        spark.sql("drop database scored cascade")


def test_the_summary_comes_as_json(
    spark: Any, registry_url: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One line on the standard output with what was done; the exact version, and where the rows are."""

    class Kept:
        def __getattr__(self, name: str) -> Any:
            return getattr(spark, name)

        def stop(self) -> None:
            """Not yet."""

    monkeypatch.setattr("tiltyard.spark.jobs.session.open_session", lambda **_: Kept())
    target = str(tmp_path / "out.parquet")
    words = ["--model", CHAMPION, "--input", source, "--output", target, "--registry-url", registry_url, "--json"]
    run = CliRunner().invoke(score, words, catch_exceptions=False)
    told = json.loads(run.stdout)
    assert (told["model_uri"], told["output"], told["rows"]) == (f"models:/{NUMBERS}/1", target, 1000)
    assert (told["null_predictions"], sum(told["counts"].values())) == (0, 1000)
    assert told["digest"].startswith("sha256:") and told["rows_per_s"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"input_format": "delta"}, "spark.jars.packages=io.delta:delta-spark"),
        ({"output_format": "delta"}, "spark.jars.packages=io.delta:delta-spark"),
        ({"input_path": "nosuch://bucket/in"}, "'nosuch://bucket/in' cannot be read: .*nosuch"),
        ({"output_path": "nosuch://bucket/out"}, "'nosuch://bucket/out' cannot be used: .*nosuch"),
    ],
)
def test_what_this_spark_lacks_is_said_before_the_job(
    spark: Any, registry_url: str, source: str, tmp_path: Path, options: dict[str, str], words: str
):
    """A format or a file system without its package is refused in one line, whether it is read or written."""
    given: dict[str, Any] = {"input_path": source, "output_path": str(tmp_path / "out"), **options}
    with pytest.raises(InvalidParameterValue, match=words) as refused:
        prepare_job(spark, CHAMPION, **given, registry_url=registry_url)
    assert "\n" not in refused.value.message
    assert not list(tmp_path.iterdir())


def test_a_job_that_fails_leaves_the_output_as_it_was(spark: Any, registry_url: str, flowers: Any, tmp_path: Path):
    """After a bad row killed the job the old output is whole; the error is one line that names it."""
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    flowers.to_parquet(source)
    score_path(spark, CHAMPION, str(source), str(target), registry_url=registry_url)
    before = sorted(path.name for path in target.iterdir())
    flowers.assign(c=np.nan).to_parquet(source)
    job = prepare_job(spark, CHAMPION, str(source), str(target), mode="overwrite", registry_url=registry_url)
    with pytest.raises(Exception, match="contains NaN") as failed:
        job.run()
    assert last_words(failed.value).startswith("ValueError: Input X contains NaN")
    assert sorted(path.name for path in target.iterdir()) == before
    assert sorted(left_beside(target)) == ["in.parquet"]


def test_what_cannot_work_is_refused_before_anything_is_written(
    spark: Any, registry_url: str, source: str, tmp_path: Path
):
    """Unknown columns, formats, modes and unreadable inputs are refused, and no directory appears."""
    target = tmp_path / "out"
    for options in (
        {"where": "no_such_column > 1"},
        {"partition_by": ["nowhere"]},
        {"keep": ["nothing"]},
        {"output_format": "xml"},
        {"mode": "replace"},
        {"result_type": "boolean"},
    ):
        with pytest.raises(InvalidParameterValue):
            prepare_job(spark, CHAMPION, source, str(target), registry_url=registry_url, **options)
    with pytest.raises(InvalidParameterValue, match="cannot be read"):
        prepare_job(spark, CHAMPION, str(tmp_path / "absent.parquet"), str(target), registry_url=registry_url)
    assert list(tmp_path.iterdir()) == []


def test_staging_that_a_dead_job_left_goes_after_a_day(spark: Any, tmp_path: Path):
    """Fresh staging may belong to a running job and stays; old staging is removed by the next job."""
    import os

    old, fresh = tmp_path / ".out.tiltyard-1", tmp_path / ".out.tiltyard-2"
    for path in (old, fresh):
        path.mkdir()
    os.utime(old, (1_000_000, 1_000_000))
    StagedOutput(spark, str(tmp_path / "out"), "overwrite").check()
    assert [path.name for path in tmp_path.iterdir()] == [fresh.name]


def test_numbers_are_counted_by_range_and_few_values_one_by_one(spark: Any):
    """Many different numbers fall into ten ranges, NaN and infinity into none; few are counted each; lists not."""
    many = spark.createDataFrame([(float(i),) for i in range(101)] + [(float("nan"),), (float("inf"),)], "p double")
    counts = spread(many, "p")
    assert counts is not None
    assert next(iter(counts.items())) == ("0 … 10", 10)
    assert (len(counts), sum(counts.values())) == (10, 101)
    assert spread(many.selectExpr("p < 50 as p"), "p") == {"False": 53, "True": 50}
    assert spread(many.selectExpr("array(p) as p"), "p") is None
