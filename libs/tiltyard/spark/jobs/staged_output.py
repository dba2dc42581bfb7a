"""Where a batch job writes: beside its target first, and into place in one step when it is whole."""

import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists
from tiltyard.spark.executors.column_names import escaped
from tiltyard.spark.jobs.failures import first_words

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger("tiltyard.spark")

# What a place begins with that is a table and not a path.
TABLE = "table:"
WRITE_MODES = ("errorifexists", "overwrite", "append")

# A staging directory this old was left by a job that died.
_STALE_S = 24 * 3600
# Another job may put an output where this one is about to; twice in a row is already a rare mishap.
_ATTEMPTS = 5


class StagedOutput:
    """An output directory on any file system that Spark's Hadoop libraries know.

    `overwrite` sets the old output aside and puts the new one in its place by two renames. A job that dies between the
    two leaves the old output aside, complete: the next `check` of the same path puts it back. A job that dies before
    leaves the target as it was, and a staging directory that a later job removes after a day. `append` moves the new
    files in one by one, each under a name of its own: a job that fails takes them out again, but one that is killed
    in the middle leaves those that it had moved. On object stores a rename is a copy, as slow as that and not atomic.

    .NAME.tiltyard-ID         staging of the job ID
    .NAME.tiltyard.old-ID     the output that the job ID set aside; of no use once its staging has become the output
    """

    def __init__(self, spark: Any, path: str, mode: str) -> None:
        self._new = spark._jvm.org.apache.hadoop.fs.Path
        self._fs, self._path = _located(spark, path)
        self._mode = mode
        self._parent = self._path.getParent()
        self._id = uuid.uuid4().hex
        self._staging_prefix = f".{self._path.getName()}.tiltyard-"
        self._old_prefix = f".{self._path.getName()}.tiltyard.old-"
        self._staging = self._new(self._parent, self._staging_prefix + self._id)
        self._old = self._new(self._parent, self._old_prefix + self._id)

    @property
    def location(self) -> str:
        """Where the output is, in full."""
        return str(self._path.toString())

    @property
    def staging(self) -> str:
        """Where the job writes."""
        return str(self._staging.toString())

    def check(self) -> None:
        """Nothing, if the job may write here. An output that a dead job had set aside is back in its place then.

        Raises:
            ResourceAlreadyExists: there is an output, and the mode is `errorifexists`.
        """
        beside = self._beside()
        self._put_back(beside)
        if self._mode == "errorifexists" and self._fs.exists(self._path):
            raise ResourceAlreadyExists(
                f"The output '{self._path.toString()}' exists. Choose another, or the mode overwrite or append."
            )
        with suppress(Exception):
            self._sweep(beside)

    def write(self, df: "DataFrame", output_format: str | None, partition_by: Sequence[str]) -> None:
        """Writes the rows of `df` beside the output."""
        _writer(df, output_format, partition_by).mode("errorifexists").save(self.staging)

    def commit(self) -> None:
        """Puts what was staged in place.

        Raises:
            ResourceAlreadyExists: meanwhile there is an output, and the mode is `errorifexists`.
            OSError: the file system refuses. The output is then as before.
        """
        for _ in range(_ATTEMPTS):
            if self._mode == "append" and self._fs.exists(self._path):
                self._append()
                return
            if self._mode == "errorifexists":
                self.check()
            if self._replace():
                return
        raise OSError(f"Other jobs keep writing '{self.location}'. Nothing of this one is there.")

    def abort(self) -> None:
        """Removes what was staged."""
        with suppress(Exception):
            # Without its staging the old output would count as replaced.
            if not self._fs.exists(self._old):
                self._fs.delete(self._staging, True)

    def _replace(self) -> bool:
        """Whether what was staged became the output; False if another job put one there meanwhile."""
        aside = self._mode == "overwrite" and self._fs.exists(self._path)
        if aside:
            self._fs.delete(self._old, True)
            self._rename(self._path, self._old)
        try:
            placed = self._place(self._staging)
        except BaseException:
            # Whatever ends the job here, an interrupt too: the old output comes back.
            if aside:
                with suppress(Exception):
                    self._place(self._old)
            raise
        if placed:
            self._fs.delete(self._old, True)
        return placed

    def _place(self, source: Any) -> bool:
        """Whether `source` became the output; False if there is one meanwhile, then `source` stays where it was."""
        if self._fs.exists(self._path):
            return False
        self._rename(source, self._path)
        # Where a directory is, a rename moves the source into it.
        inside = self._new(self._path, source.getName())
        if not self._fs.exists(inside):
            return True
        self._rename(inside, source)
        return False

    def _append(self) -> None:
        moved: list[Any] = []
        try:
            self._move_files(self._staging, self._path, moved)
        except BaseException:
            # Also when somebody interrupts the job: half of it must not stay.
            for at in moved:
                with suppress(Exception):
                    self._fs.delete(at, False)
            raise
        self._fs.delete(self._staging, True)

    def _move_files(self, source: Any, target: Any, moved: list[Any]) -> None:
        for status in self._fs.listStatus(source):
            name = status.getPath().getName()
            at = self._new(target, name)
            if status.isDirectory():
                self._fs.mkdirs(at)
                self._move_files(status.getPath(), at, moved)
            elif not name.startswith(("_", ".")):
                self._rename(status.getPath(), at)
                moved.append(at)

    def _rename(self, source: Any, target: Any) -> None:
        if not self._fs.rename(source, target):
            raise OSError(f"'{source.toString()}' could not be renamed to '{target.toString()}'.")

    def _beside(self) -> dict[str, Any]:
        """What lies beside the output under names of ours, by name."""
        if not self._fs.exists(self._parent):
            return {}
        found = {status.getPath().getName(): status for status in self._fs.listStatus(self._parent)}
        return {name: found[name] for name in found if name.startswith((self._staging_prefix, self._old_prefix))}

    def _put_back(self, beside: dict[str, Any]) -> None:
        """Has the output again, if a job died after it set it aside and before it put its own in place."""
        for name in sorted(beside):
            unfinished = self._staging_prefix + name.removeprefix(self._old_prefix) in beside
            if name.startswith(self._old_prefix) and unfinished and self._place(beside[name].getPath()):
                logger.warning(
                    "A job that was to overwrite '%s' ended in the middle; the output of before is back in its place.",
                    self.location,
                )

    def _sweep(self, beside: dict[str, Any]) -> None:
        for name, status in beside.items():
            if name.startswith(self._old_prefix):
                # With its staging gone it was replaced, whoever was to remove it. Its age says nothing.
                staging = self._staging_prefix + name.removeprefix(self._old_prefix)
                useless = staging not in beside and self._fs.exists(self._path)
            else:
                old = self._old_prefix + name.removeprefix(self._staging_prefix)
                useless = time.time() - status.getModificationTime() / 1000 > _STALE_S and old not in beside
            if useless:
                self._fs.delete(status.getPath(), True)


class DirectTarget:
    """An output that Spark itself puts in place: a table format with transactions, or a path behind Spark Connect."""

    def __init__(self, path: str, mode: str) -> None:
        self.staging = self.location = path
        self._mode = mode

    def check(self) -> None:
        """Nothing: Spark checks."""

    def write(self, df: "DataFrame", output_format: str | None, partition_by: Sequence[str]) -> None:
        """Writes the rows of `df`."""
        _writer(df, output_format, partition_by).mode(self._mode).save(self.location)

    def commit(self) -> None:
        """Nothing: Spark has committed."""

    def abort(self) -> None:
        """Nothing: Spark has cleaned up."""


class TableTarget(DirectTarget):
    """A table of Spark's catalog."""

    def __init__(self, spark: "SparkSession", name: str, mode: str) -> None:
        super().__init__(f"{TABLE}{name}", mode)
        self._spark = spark
        self._name = name

    def check(self) -> None:
        """Nothing, if the job may write here.

        Raises:
            ResourceAlreadyExists: there is the table, and the mode is `errorifexists`.
        """
        if self._mode == "errorifexists" and self._spark.catalog.tableExists(self._name):
            raise ResourceAlreadyExists(
                f"The table '{self._name}' exists. Choose another, or the mode overwrite or append."
            )

    def write(self, df: "DataFrame", output_format: str | None, partition_by: Sequence[str]) -> None:
        """Writes the rows of `df`; into a table that is there by the names of its columns.

        Raises:
            InvalidParameterValue: the table that is appended to has other columns.
        """
        if self._mode != "append" or not self._spark.catalog.tableExists(self._name):
            _writer(df, output_format, partition_by).mode(self._mode).saveAsTable(self._name)
            return
        columns = self._spark.table(self._name).columns
        if sorted(map(str.lower, columns)) != sorted(map(str.lower, df.columns)):
            raise InvalidParameterValue(
                f"The table '{self._name}' has the columns {columns}; the output has {df.columns}."
            )
        # By its own format, which the writer would have to be told.
        df.select(*map(escaped, columns)).write.insertInto(self._name)


def table_name(place: str) -> str | None:
    """The table that `table:NAME` names; None for a path."""
    return place.removeprefix(TABLE) if place.startswith(TABLE) else None


def _writer(df: "DataFrame", output_format: str | None, partition_by: Sequence[str]) -> Any:
    writer = df.write if output_format is None else df.write.format(output_format).options(header=True)
    return writer.partitionBy(*partition_by) if partition_by else writer


def qualified(spark: Any, path: str) -> str:
    """`path` in full, with its file system; as it is for a table, and where no driver knows (Spark Connect)."""
    known = hasattr(spark, "_jvm") and table_name(path) is None
    return str(_located(spark, path)[1].toString()) if known else path


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
