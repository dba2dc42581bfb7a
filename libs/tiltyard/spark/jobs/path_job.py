"""The nightly job: from a path or table to a path or table with one exact version of a model."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.spark.jobs.failures import first_words, quiet
from tiltyard.spark.jobs.formats import TRANSACTIONAL, check_available, format_of
from tiltyard.spark.jobs.job_record import JobRecord
from tiltyard.spark.jobs.progress import Progress
from tiltyard.spark.jobs.staged_output import DirectTarget, StagedOutput, TableTarget, check_mode, qualified, table_name
from tiltyard.spark.jobs.summary import JobSummary, RowCounter, spread
from tiltyard.spark.scoring.batch_size import unmeasured
from tiltyard.spark.scoring.score import apply, need_not_measure
from tiltyard.spark.scoring.scoring_function import ScoringFunction
from tiltyard.spark.scoring.udf import spark_udf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Spark tells of what it counted a moment after it has written.
_COUNT_WAIT_S = 60.0
# It warns of every path that begins with a dot, as those do where a job writes before it is done.
_READER = "org.apache.spark.sql.execution.datasources.DataSource"


@dataclass(frozen=True)
class PathJob:
    """A job that was checked and can be started.

    `source` is where the rows come from, for the record; `unmeasured` whether Spark need not measure its batches.
    """

    spark: "SparkSession"
    function: ScoringFunction
    source: str
    scored: "DataFrame"
    output_col: str
    output_format: str | None
    mode: str
    target: StagedOutput | DirectTarget
    partition_by: Sequence[str] = ()
    unmeasured: bool = False

    def run(self, show_progress: Callable[[str], None] | None = None) -> JobSummary:
        """Scores and writes, and says what was done; the registry is told before and after.

        Whatever Spark raises passes; the output is then as before.
        """
        started = time.perf_counter()
        counter = RowCounter(self.scored, self.output_col)
        staged = isinstance(self.target, StagedOutput)
        with JobRecord(self.function.reference, input=self.source, output=self.target.location) as record:
            self._describe(f"Score with {self.function.model_uri} ({self.function.digest[:19]})")
            try:
                quickly = unmeasured(self.spark) if self.unmeasured else nullcontext()
                with quickly, Progress(self.spark, show_progress):
                    self.target.write(counter.counted, self.output_format, self.partition_by)
                    rows, nulls = record.row_count, record.null_count = counter.figures(wait_s=_COUNT_WAIT_S) or (0, 0)
                    # What was staged is this job's alone; in place it could stand beside older rows.
                    counts = None if self.mode == "append" and not staged else self._spread()
                self.target.commit()
            except BaseException:
                self.target.abort()
                raise
            finally:
                self._describe(None)
        return JobSummary(
            self.function.model_uri,
            self.function.digest,
            rows,
            nulls,
            time.perf_counter() - started,
            counts,
            record.job_id,
        )

    def _spread(self) -> dict[str, int] | None:
        table = table_name(self.target.staging)
        if table is not None or self.output_format is None:
            return spread(self.spark.table(str(table)), self.output_col)
        reader = self.spark.read.format(self.output_format).options(header=True)
        if self.output_format not in TRANSACTIONAL:
            reader = reader.schema(self.scored.schema)
        with quiet(self.spark, _READER):
            return spread(reader.load(self.target.staging), self.output_col)

    def _describe(self, text: str | None) -> None:
        # Spark Connect has no job descriptions.
        if hasattr(self.spark, "_jvm"):
            context: Any = self.spark.sparkContext
            context.setLocalProperty("spark.job.description", text)


def prepare_job(
    spark: "SparkSession",
    model_uri: str,
    input_path: str,
    output_path: str,
    *,
    input_format: str | None = None,
    output_format: str | None = None,
    mode: str = "errorifexists",
    output_col: str = "prediction",
    keep: Sequence[str] | None = None,
    partition_by: Sequence[str] = (),
    result_type: str | None = None,
    where: str | None = None,
    errors: str = "fail",
    lineage: bool = False,
    registry_url: str | None = None,
    accept_unverified: bool = False,
) -> PathJob:
    """The job that scores what lies at `input_path` into `output_path`, with one exact version fixed now.

    A path may also be `table:NAME`, a table of Spark's catalog.

    Raises:
        InvalidParameterValue: it could not work: formats, places, columns, types. Nothing has been written.
        ResourceAlreadyExists: the output exists and `mode` is `errorifexists`.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    check_mode(mode)
    # A table has its format, and Spark one for new tables.
    written_as = output_format if table_name(output_path) else format_of(output_path, output_format)
    read_as = None if table_name(input_path) else format_of(input_path, input_format)
    for name in dict.fromkeys((read_as, written_as)):
        check_available(spark, name)
    target = _target(spark, output_path, written_as, mode)
    target.check()
    try:
        df = _read(spark, input_path, read_as)
        if where is not None:
            df = df.where(where)
        df.schema  # noqa: B018 - Connect looks at the input only when it must
    except (PySparkException, Py4JJavaError) as error:
        raise InvalidParameterValue(f"The input '{input_path}' cannot be read: {first_words(error)}") from None
    function = spark_udf(
        spark, model_uri, result_type, errors=errors, registry_url=registry_url, accept_unverified=accept_unverified
    )
    keep = keep or None
    quickly = need_not_measure(df, function, keep)
    scored = apply(df, function, output_col=output_col, keep=keep, lineage=lineage, unmeasured=quickly)
    unknown = [name for name in partition_by if name not in scored.columns]
    if unknown:
        raise InvalidParameterValue(f"'partition_by' names columns that the output lacks: {unknown}.")
    source = qualified(spark, input_path)
    return PathJob(spark, function, source, scored, output_col, written_as, mode, target, tuple(partition_by), quickly)


def _target(spark: "SparkSession", place: str, written_as: str | None, mode: str) -> StagedOutput | DirectTarget:
    if (table := table_name(place)) is not None:
        return TableTarget(spark, table, mode)
    direct = written_as in TRANSACTIONAL or not hasattr(spark, "_jvm")
    return DirectTarget(place, mode) if direct else StagedOutput(spark, place, mode)


def _read(spark: "SparkSession", place: str, read_as: str | None) -> "DataFrame":
    if read_as is None:
        return spark.table(str(table_name(place)))
    return spark.read.format(read_as).options(header=True, inferSchema=True).load(place)
