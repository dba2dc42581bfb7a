"""`batch_job`: a job of one's own, with one exact version, that the registry shows on that version."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.spark.jobs.job_record import JobRecord
from tiltyard.spark.jobs.summary import RowCounter
from tiltyard.spark.scoring.score import apply
from tiltyard.spark.scoring.scoring_function import ScoringFunction
from tiltyard.spark.scoring.udf import spark_udf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# A block that wrote nothing is left after this.
_COUNT_WAIT_S = 3.0


class BatchJob:
    """A running job. Attributes: `function`, which scores; `record`, which is told."""

    def __init__(self, function: ScoringFunction, record: JobRecord) -> None:
        self.function = function
        self.record = record
        self._counter: RowCounter | None = None

    def score(self, df: "DataFrame", *, output_col: str = "prediction", **options: Any) -> "DataFrame":
        """`df` with the predictions of the job's version, as `tiltyard.spark.score` gives it.

        The rows of the first action on it are those that the record counts.

        Raises:
            InvalidParameterValue: see `tiltyard.spark.score`; or it is called twice.
        """
        if self._counter is not None:
            raise InvalidParameterValue("A batch job scores one DataFrame. Open another for the next one.")
        scored = apply(df, self.function, output_col=output_col, **options)
        self._counter = RowCounter(scored, output_col)
        return self._counter.counted

    def count(self, *, wait_s: float = 0.0) -> None:
        """Puts what was counted into the record, if an action ended."""
        if self._counter is not None and (found := self._counter.figures(wait_s=wait_s)) is not None:
            self.record.row_count, self.record.null_count = found


@contextmanager
def batch_job(
    spark: "SparkSession", model_uri: str, *, input: str | None = None, output: str | None = None, **options: Any
) -> Iterator[BatchJob]:
    """A job with one exact version of `model_uri`, fixed on entry, and told to the registry on entry and on exit.

        with tiltyard.spark.batch_job(spark, "models:/m@champion", input=source, output=target) as job:
            job.score(spark.read.parquet(source), lineage=True).write.parquet(target)

    A registry that is away is a warning. `input` and `output` are what the record shows; user and password in them
    are left out. `options` as `tiltyard.spark_udf` takes them.

    Raises:
        InvalidParameterValue: see `tiltyard.spark_udf`; nothing has been started.
    """
    function = spark_udf(spark, model_uri, **options)
    with JobRecord(function.reference, input=input, output=output) as record:
        job = BatchJob(function, record)
        yield job
        job.count(wait_s=_COUNT_WAIT_S)
