"""The output of a batch job in its place: what a job that is killed, or another one beside it, leaves of it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tiltyard.errors import ResourceAlreadyExists
from tiltyard.spark.jobs.staged_output import StagedOutput
from tiltyard.spark.scoring.batch_size import MAX_BYTES, is_measured, unmeasured
from tiltyard.spark.scoring.executor_python import executors_python


class FilePath:
    """A path of Hadoop's, over the local disk."""

    def __init__(self, parent: Any, name: str | None = None) -> None:
        self.path = Path(str(parent)) / name if name is not None else Path(str(parent))

    def __str__(self) -> str:
        return str(self.path)

    toString = __str__

    def getName(self) -> str:
        return self.path.name

    def getParent(self) -> "FilePath":
        return FilePath(self.path.parent)


class Status:
    """What Hadoop tells of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def getPath(self) -> FilePath:
        return FilePath(self._path)

    def getModificationTime(self) -> int:
        return int(self._path.stat().st_mtime * 1000)

    def isDirectory(self) -> bool:
        return self._path.is_dir()


class FileSystem:
    """A file system that renames as Hadoop's do: into a directory that is there, and without changing its time.

    `before_rename` is called with each source and target.
    """

    def __init__(self) -> None:
        self.before_rename = lambda source, target: None

    def exists(self, path: FilePath) -> bool:
        return path.path.exists()

    def delete(self, path: FilePath, recursive: bool) -> bool:
        shutil.rmtree(path.path, ignore_errors=True)
        path.path.unlink(missing_ok=True) if path.path.is_file() else None
        return True

    def mkdirs(self, path: FilePath) -> bool:
        path.path.mkdir(parents=True, exist_ok=True)
        return True

    def listStatus(self, path: FilePath) -> list[Status]:
        return [Status(child) for child in sorted(path.path.iterdir())]

    def rename(self, source: FilePath, target: FilePath) -> bool:
        self.before_rename(source.path, target.path)
        into = target.path / source.path.name if target.path.is_dir() else target.path
        source.path.rename(into)
        return True


def target(path: Path, mode: str, file_system: FileSystem | None = None) -> StagedOutput:
    """A target over the local disk, without Java."""
    from unittest.mock import patch

    class Jvm:
        class org:
            class apache:
                class hadoop:
                    class fs:
                        Path = FilePath

    class Session:
        _jvm = Jvm

    with patch(
        "tiltyard.spark.jobs.staged_output._located", lambda spark, text: (file_system or FileSystem(), FilePath(text))
    ):
        return StagedOutput(Session, str(path), mode)


def write(made: StagedOutput, text: str) -> None:
    Path(made.staging).mkdir()
    (Path(made.staging) / "part").write_text(text)


def beside(path: Path) -> list[str]:
    return sorted(child.name for child in path.parent.iterdir() if child != path)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.spark.jobs.test_staged_output import FileSystem, target, write

files = FileSystem()
made = target(Path(sys.argv[1]), "overwrite", files)
made.check()
write(made, "new")

def die_in_between(source, path):
    if str(source) == made.staging:
        os.kill(os.getpid(), signal.SIGKILL)

files.before_rename = die_in_between
made.commit()
"""


@pytest.mark.parametrize("mode", ["overwrite", "append", "errorifexists"])
def test_a_driver_killed_between_the_two_renames_loses_nothing(tmp_path: Path, mode: str):
    """The next check of the same path, in any mode and however old it all is, has the old output in its place."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "part").write_text("old")
    os.utime(out, (1_000_000, 1_000_000))
    ended = subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False, cwd=Path(__file__).parents[3])
    assert ended.returncode == -signal.SIGKILL
    assert not out.exists()
    for path in tmp_path.iterdir():
        os.utime(path, (1_000_000, 1_000_000))
    # A job with another output does not touch it.
    target(tmp_path / "ou", "overwrite").check()
    again = target(out, mode)
    if mode == "errorifexists":
        with pytest.raises(ResourceAlreadyExists):
            again.check()
    else:
        again.check()
    assert (out / "part").read_text() == "old"
    target(out, "overwrite").check()
    assert beside(out) == []


def test_another_job_that_looks_between_the_two_renames_disturbs_nothing(tmp_path: Path):
    """It puts the old output back, as if the job had died; the job sets it aside again and puts its own in place."""
    out, files = tmp_path / "out", FileSystem()
    out.mkdir()
    made = target(out, "overwrite", files)
    write(made, "new")
    looks = []

    def look(source: Path, path: Path) -> None:
        if str(source) == made.staging and not looks:
            looks.append(True)
            target(out, "overwrite").check()

    files.before_rename = look
    made.commit()
    assert looks
    assert (out / "part").read_text() == "new"
    assert beside(out) == []


def test_a_replacement_that_fails_leaves_the_old_output(tmp_path: Path):
    """The file system refuses the second rename: the old output is in its place, and the error is told."""
    out, files = tmp_path / "out", FileSystem()
    out.mkdir()
    (out / "part").write_text("old")
    made = target(out, "overwrite", files)
    write(made, "new")

    def refuse(source: Path, path: Path) -> None:
        if str(source) == made.staging:
            raise OSError("no space")

    files.before_rename = refuse
    with pytest.raises(OSError, match="no space"):
        made.commit()
    made.abort()
    assert (out / "part").read_text() == "old"
    assert beside(out) == []


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_an_append_that_fails_takes_its_files_out_again(tmp_path: Path, failure: type[BaseException]):
    """After the second of three files could not be moved, for whatever reason, the output has the old files alone."""
    out, files = tmp_path / "out", FileSystem()
    out.mkdir()
    (out / "old").write_text("old")
    made = target(out, "append", files)
    Path(made.staging).mkdir()
    for name in ("a", "b", "c"):
        (Path(made.staging) / name).write_text(name)

    def refuse(source: Path, path: Path) -> None:
        if source.name == "b":
            raise failure("no space")

    files.before_rename = refuse
    with pytest.raises(failure, match="no space"):
        made.commit()
    assert [path.name for path in out.iterdir()] == ["old"]


def test_what_was_replaced_goes_with_the_next_job(tmp_path: Path):
    """A job killed after its output was in place, before the old one was removed: the next check removes it."""
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / ".out.tiltyard.old-1").mkdir()
    (tmp_path / ".other.tiltyard.old-1").mkdir()
    target(out, "append").check()
    assert beside(out) == [".other.tiltyard.old-1"]


def in_turns(*blocks: Any) -> list[Any]:
    """Enters the blocks one after the other, each in a thread of its own, and leaves them in the same order."""
    entered, leave = [], [threading.Event() for _ in blocks]
    threads = []
    for block, left in zip(blocks, leave, strict=True):
        inside = threading.Event()

        def run(block: Any = block, left: threading.Event = left, inside: threading.Event = inside) -> None:
            with block:
                entered.append(True)
                inside.set()
                left.wait(60)

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)
        # The second waits for the first, where they take turns.
        inside.wait(0.2)
    for thread, left in zip(threads, leave, strict=True):
        left.set()
        thread.join(60)
    assert len(entered) == len(blocks)
    return entered


def test_two_threads_leave_the_drivers_interpreter_as_it_was():
    """Functions for two environments are made at once: afterwards the driver has the interpreter of before."""

    class Context:
        pythonExec = "python3"

    class Session:
        _jvm = None
        sparkContext = Context()

    in_turns(executors_python(Session(), "./a/python"), executors_python(Session(), "./b/python"))  # type: ignore[arg-type]
    assert Context.pythonExec == Session.sparkContext.pythonExec == "python3"


def test_two_jobs_leave_the_setting_of_the_session_as_it_was(spark: Any):
    """Two jobs of one session overlap: it measures batches again when both have ended, and not before."""
    before = spark.conf.get(MAX_BYTES)
    in_turns(unmeasured(spark), unmeasured(spark))
    assert spark.conf.get(MAX_BYTES) == before
    first, second = unmeasured(spark), unmeasured(spark)
    with second:
        with first:
            pass
        assert not is_measured(spark)
    assert is_measured(spark)
