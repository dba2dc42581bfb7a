"""What `tiltyard score` looks at before Spark is there. No Spark is started here."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.fixtures.services import Service
from tiltyard.cli.score import score
from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists, ResourceDoesNotExist, TiltyardError
from tiltyard.spark.jobs.local_paths import check_local_places


@pytest.fixture(autouse=True)
def of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing says that a path without a scheme is elsewhere."""
    for name in ("HADOOP_CONF_DIR", "SPARK_CONF_DIR", "SPARK_REMOTE", "PYSPARK_GATEWAY_PORT"):
        monkeypatch.delenv(name, raising=False)


def check(source: str, target: str, mode: str = "errorifexists", master: str | None = None, **conf: str) -> None:
    check_local_places(source, target, mode=mode, master=master, conf=conf)


@pytest.mark.parametrize("form", ["{}", "file://{}", "file:{}"])
def test_a_missing_input_and_a_taken_output_are_told(tmp_path: Path, form: str) -> None:
    """By path or URI, in one line that names it; another mode takes an output that is there."""
    source, target = form.format(tmp_path / "in put"), form.format(tmp_path / "out")
    with pytest.raises(InvalidParameterValue, match=r"The input '.*in put' does not exist\.$"):
        check(source, target)
    (tmp_path / "in put").mkdir()
    check(source, target)
    (tmp_path / "out").mkdir()
    with pytest.raises(ResourceAlreadyExists, match="out' exists"):
        check(source, target)
    check(source, target, mode="overwrite")


@pytest.mark.parametrize("place", ["s3a://b/nowhere", "table:a.b.nowhere", "/no/where/*.parquet", "hdfs:///no/where"])
def test_what_this_machine_cannot_tell_is_left_to_spark(place: str) -> None:
    """Tables, patterns, other file systems."""
    check(place, place)


def test_paths_of_another_machine_are_left_to_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """A master elsewhere, another default file system, a configured Hadoop."""
    check("/no/where", "/no/where", master="spark://far:7077")
    check("/no/where", "/no/where", **{"spark.hadoop.fs.defaultFS": "hdfs://far"})
    monkeypatch.setenv("HADOOP_CONF_DIR", "/etc/hadoop")
    check("/no/where", "/no/where")


def test_alias_registry_and_input_come_before_spark(
    registry_service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing input, an unknown alias and a registry that is none end the command before Spark is started."""

    def start(**_: Any) -> None:
        raise AssertionError("Spark was started")

    monkeypatch.setattr("tiltyard.spark.jobs.session.open_session", start)
    (tmp_path / "in.parquet").mkdir()

    def run(source: str, model: str, url: str) -> BaseException | None:
        places = ["--input", str(tmp_path / source), "--output", str(tmp_path / "out")]
        return CliRunner().invoke(score, ["--model", model, "--registry-url", url, *places]).exception

    url = registry_service.url
    missing = run("nothing.parquet", "models:/m@champion", url)
    assert isinstance(missing, InvalidParameterValue) and "nothing.parquet' does not exist" in missing.message
    unknown = run("in.parquet", "models:/nobody@champion", url)
    assert isinstance(unknown, ResourceDoesNotExist | InvalidParameterValue) and "nobody" in unknown.message
    assert isinstance(run("in.parquet", "models:/m@champion", "ftp://x"), TiltyardError)
    assert isinstance(run("in.parquet", str(tmp_path / "model"), url), TiltyardError)
