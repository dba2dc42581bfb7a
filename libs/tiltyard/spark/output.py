"""Where a batch job writes: beside its target first, and into place in one step when it is whole."""

import time
import uuid
from contextlib import suppress
from typing import Any

from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists
from tiltyard.spark.failure import first_words

WRITE_MODES = ("errorifexists", "overwrite", "append")

# A staging directory this old was left by a job that died.
_STALE_S = 24 * 3600


class Target:
    """An output directory on any file system that Spark's Hadoop libraries know.

    A job that dies leaves the target as it was, and a staging directory that a later job removes after a day.
    `overwrite` puts the old output aside and the new one in its place by two renames. `append` moves the new files in
    one by one, each under a name of its own. On object stores a rename is a copy, there as slow as that and not atomic.
    """

    def __init__(self, spark: Any, path: str, mode: str) -> None:
        self._new = spark._jvm.org.apache.hadoop.fs.Path
        self._fs, self._path = _located(spark, path)
        self._mode = mode
        self._parent = self._path.getParent()
        self._prefix = f".{self._path.getName()}.tiltyard-"
        self._staging = self._beside()

    @property
    def location(self) -> str:
        """Where the output is, in full."""
        return str(self._path.toString())

    @property
    def staging(self) -> str:
        """Where the job writes."""
        return str(self._staging.toString())

    def check(self) -> None:
        """Nothing, if the job may write here.

        Raises:
            ResourceAlreadyExists: there is an output, and the mode is `errorifexists`.
        """
        if self._mode == "errorifexists" and self._fs.exists(self._path):
            raise ResourceAlreadyExists(
                f"The output '{self._path.toString()}' exists. Choose another, or the mode overwrite or append."
            )
        with suppress(Exception):
            self._sweep()

    def commit(self) -> None:
        """Puts what was staged in place."""
        if self._mode == "append" and self._fs.exists(self._path):
            self._move_files(self._staging, self._path)
            self._fs.delete(self._staging, True)
            return
        self.check()
        if not self._fs.exists(self._path):
            self._rename(self._staging, self._path)
            return
        old = self._beside()
        self._rename(self._path, old)
        try:
            self._rename(self._staging, self._path)
        except Exception:
            self._rename(old, self._path)
            raise
        self._fs.delete(old, True)

    def abort(self) -> None:
        """Removes what was staged."""
        with suppress(Exception):
            self._fs.delete(self._staging, True)

    def _move_files(self, source: Any, target: Any) -> None:
        for status in self._fs.listStatus(source):
            name = status.getPath().getName()
            at = self._new(target, name)
            if status.isDirectory():
                self._fs.mkdirs(at)
                self._move_files(status.getPath(), at)
            elif not name.startswith(("_", ".")):
                self._rename(status.getPath(), at)

    def _rename(self, source: Any, target: Any) -> None:
        if not self._fs.rename(source, target):
            raise OSError(f"'{source.toString()}' could not be renamed to '{target.toString()}'.")

    def _beside(self) -> Any:
        return self._new(self._parent, f"{self._prefix}{uuid.uuid4().hex}")

    def _sweep(self) -> None:
        for status in self._fs.listStatus(self._parent):
            old = time.time() - status.getModificationTime() / 1000 > _STALE_S
            if old and status.getPath().getName().startswith(self._prefix):
                self._fs.delete(status.getPath(), True)


class DirectTarget:
    """An output that Spark itself puts in place: a table format with transactions, or a path behind Spark Connect."""

    def __init__(self, path: str) -> None:
        self.staging = self.location = path

    def check(self) -> None:
        """Nothing: Spark checks."""

    def commit(self) -> None:
        """Nothing: Spark has committed."""

    def abort(self) -> None:
        """Nothing: Spark has cleaned up."""


def qualified(spark: Any, path: str) -> str:
    """`path` in full, with its file system; as it is where no driver knows (Spark Connect)."""
    return str(_located(spark, path)[1].toString()) if hasattr(spark, "_jvm") else path


def _located(spark: Any, path: str) -> tuple[Any, Any]:
    """The Hadoop file system of `path`, and the path in full.

    Raises:
        InvalidParameterValue: Spark knows no such file system, or cannot reach it.
    """
    from py4j.protocol import Py4JJavaError

    try:
        short = spark._jvm.org.apache.hadoop.fs.Path(path)
        file_system = short.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
        return file_system, file_system.makeQualified(short)
    except Py4JJavaError as error:
        raise InvalidParameterValue(f"The path '{path}' cannot be used: {first_words(error)}") from None


def check_mode(mode: str) -> None:
    """Raises: InvalidParameterValue: it is none of `WRITE_MODES`."""
    if mode not in WRITE_MODES:
        raise InvalidParameterValue(f"Invalid mode '{mode}'. Expected one of {', '.join(WRITE_MODES)}.")
