"""`tiltyard score` as an operator runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.fixtures.java import SHORT_LIFE
from tests.fixtures.processes import GuardedProcess
from tests.spark.conftest import NUMBERS
from tiltyard.cli.score import score as command
from tiltyard.cli.submit import submit_line

# One `tiltyard` after another, each ending as a process would; they share the Java that the first one starts.
COMMANDS = """
import json, os, sys
from tiltyard.cli import main
ends = os.fdopen(int(sys.argv[1]), "w")
for line in sys.stdin:
    try:
        main(json.loads(line), prog_name="tiltyard")
    except SystemExit as end:
        sys.stdout.flush()
        print(end.code, file=ends, flush=True)
"""

ENVIRONMENT = {"TILTYARD_MASTER": "local[2]", "PYTHONUNBUFFERED": "1"}

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Done]]:
    """Gives a function that runs `tiltyard score` with these arguments, and gives its end and what it wrote."""
    written = [tmp_path_factory.mktemp("commands") / name for name in ("stdout", "stderr")]
    reading, writing = os.pipe()
    with written[0].open("wb") as output, written[1].open("wb") as errors:
        process = GuardedProcess(
            [sys.executable, "-c", COMMANDS, str(writing)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            pass_fds=[writing],
            env=os.environ | SHORT_LIFE | ENVIRONMENT,
        )
    os.close(writing)

    def run(*arguments: str) -> Done:
        before = [path.stat().st_size for path in written]
        assert process.stdin is not None
        process.stdin.write(json.dumps(["score", *arguments]).encode() + b"\n")
        process.stdin.flush()
        status = ends.readline()
        said = [path.read_bytes()[start:].decode() for path, start in zip(written, before, strict=True)]
        assert status, said
        return Done(arguments, int(status), *said)

    with os.fdopen(reading) as ends:
        yield run
        process.communicate(timeout=60)


def test_a_job_scores_a_path_into_a_path(
    score: Callable[..., Done], registry_url: str, flowers: pd.DataFrame, tmp_path: Path
):
    """The output has every row, its prediction and its lineage; the summary says what was done."""
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    flowers.to_parquet(source)
    uri = f"models:/{NUMBERS}@champion"
    run = score(
        *("--model", uri, "--input", str(source), "--output", str(target)),
        *("--registry-url", registry_url, "--lineage", "--select", "b,c", "--conf", "spark.sql.shuffle.partitions=2"),
    )
    assert run.returncode == 0, run.stderr
    scored = pd.read_parquet(target)
    assert len(scored) == len(flowers)
    assert list(scored.columns)[:3] == ["b", "c", "prediction"]
    assert set(scored["model_version"]) == {1}
    assert f"models:/{NUMBERS}/1" in run.stdout
    assert "1,000" in run.stdout
    # Nothing is said of the folder where the rows are before they are in place.
    assert ".out.parquet" not in run.stderr


def test_a_job_that_cannot_work_says_why_and_fails(
    score: Callable[..., Done], registry_url: str, flowers: pd.DataFrame, tmp_path: Path
):
    """Missing columns end the command with status 1 and one clear line, and nothing is written."""
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    flowers.drop(columns="d").to_parquet(source)
    uri = f"models:/{NUMBERS}@champion"
    run = score(*("--model", uri, "--input", str(source), "--output", str(target)), *("--registry-url", registry_url))
    assert run.returncode == 1
    assert "lacks columns that the model requires: ['d']" in run.stderr
    assert "Traceback" not in run.stderr
    assert not target.exists()


def test_a_format_without_its_package_is_refused(
    score: Callable[..., Done], registry_url: str, flowers: pd.DataFrame, tmp_path: Path
):
    """The command ends with status 1 before the job, says which setting brings the package, and writes nothing."""
    source, target = tmp_path / "in.parquet", tmp_path / "out"
    flowers.to_parquet(source)
    places = ("--input", str(source), "--output", str(target), "--output-format", "delta")
    run = score("--model", f"models:/{NUMBERS}@champion", *places, "--registry-url", registry_url)
    assert run.returncode == 1, run.stderr
    assert "The format 'delta' needs a package" in run.stderr
    assert "--conf spark.jars.packages=io.delta:delta-spark_2.13:VERSION" in run.stderr
    assert "Traceback" not in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_submitted_job_that_fails_has_a_status_of_its_own(registry_url: str, flowers: pd.DataFrame, tmp_path: Path):
    """The spark-submit line is shown and run; a row that cannot be scored ends in status 3, one line and no output."""
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    flowers.assign(d=float("nan")).to_parquet(source)
    arguments = ["--submit", "--master", "local[1]", "--conf", "spark.ui.enabled=false", "--registry-url", registry_url]
    arguments += ["--model", f"models:/{NUMBERS}@champion", "--input", str(source), "--output", str(target)]
    run = subprocess.run(
        [sys.executable, "-m", "tiltyard.cli", "score", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | SHORT_LIFE | ENVIRONMENT,
    )
    assert run.returncode == 3, run.stderr
    assert "bin/spark-submit --master 'local[1]' --conf spark.ui.enabled=false" in run.stderr
    assert registry_url not in run.stderr
    # spark-submit sends all that the program says to its own standard output.
    assert "Error: The job failed: ValueError: Input X contains NaN" in run.stdout
    assert "Traceback" not in run.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_the_submitted_line_has_every_option():
    """What was given, by flag or variable, and what is so by default is said to the submitted command; no address."""
    given = ["--model=models:/m@champion", "--input=in put", "--output=out", "--select=a,b", "--lineage",
             "--master=spark://far:7077", "--conf=spark.cores.max=4", "--registry-url=http://u:secret@r"]  # fmt: skip
    context = command.make_context("score", list(given))
    line = submit_line(context, context.params["master"], context.params["conf"])
    cut = line.index("score")
    assert line[1 : cut - 1] == ["--master", "spark://far:7077", "--conf", "spark.cores.max=4"]
    again = command.make_context("score", line[cut + 1 :]).params
    told = ("master", "conf", "registry_url")
    assert {k: v for k, v in again.items() if k not in told} == {
        k: v for k, v in context.params.items() if k not in told
    }
    assert "secret" not in " ".join(line)
