"""Scoring a whole DataFrame, and the nightly job from a path to a path."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.schema import Schema
from tiltyard.spark.udf import ScoringFunction, spark_udf

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType as SparkType

_FORMATS = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
FORMATS = tuple(dict.fromkeys(_FORMATS.values()))
WRITE_MODES = ("errorifexists", "overwrite", "append")

# Where the predictions have at most this many different values, the summary counts them.
_MAX_CLASSES = 20


def score(
    df: "DataFrame",
    model_uri: str,
    *,
    output_col: str = "prediction",
    result_type: "str | SparkType | None" = None,
    params: dict[str, Any] | None = None,
    lineage: bool = False,
    registry_url: str | None = None,
    accept_unverified: bool = False,
) -> "DataFrame":
    """`df` with the predictions of one exact version in `output_col`.

    Columns are matched to the signature by name; without a signature every column is passed. With `lineage`, the
    columns `model_name`, `model_version` and `model_digest` say what scored each row.

    Raises:
        InvalidParameterValue: `df` lacks columns that the model requires, or `output_col` is taken. Nothing has been
            started.
    """
    function = spark_udf(
        df.sparkSession,
        model_uri,
        result_type,
        params,
        registry_url=registry_url,
        accept_unverified=accept_unverified,
    )
    return apply(df, function, output_col=output_col, lineage=lineage)


def apply(
    df: "DataFrame", function: ScoringFunction, *, output_col: str = "prediction", lineage: bool = False
) -> "DataFrame":
    """`df` with `function` applied to the columns that its model takes. See `score`."""
    from pyspark.sql import functions

    if output_col in df.columns:
        raise InvalidParameterValue(f"The input has a column '{output_col}' already; choose another output column.")
    scored = df.withColumn(output_col, function(_arguments(df, function.inputs)))
    if lineage:
        reference = function.reference
        scored = scored.withColumns(
            {
                "model_name": functions.lit(reference.name).cast("string"),
                "model_version": functions.lit(reference.version).cast("int"),
                "model_digest": functions.lit(function.digest),
            }
        )
    return scored


def _arguments(df: "DataFrame", inputs: Schema | None) -> "Column":
    from pyspark.sql import functions

    if inputs is None or not inputs.is_named:
        return functions.struct(*(_column(name) for name in df.columns))
    if inputs.tensors:
        names = [str(name) for name in inputs.names]
        wanted = names if set(names) <= set(df.columns) else df.columns
        return functions.struct(*(_column(name) for name in wanted))
    missing = [name for name in inputs.required_names if name not in df.columns]
    if missing:
        raise InvalidParameterValue(
            f"The input lacks columns that the model requires: {missing}. The model takes {inputs}; "
            f"the input has {df.columns}."
        )
    return functions.struct(*(_column(str(name)) for name in inputs.names if name in df.columns))


def _column(name: str) -> "Column":
    from pyspark.sql import functions

    return functions.col(f"`{name.replace('`', '``')}`")


@dataclass(frozen=True)
class JobSummary:
    """What a batch job did. `counts` has the predictions by value when there are few different ones."""

    model_uri: str
    digest: str
    rows: int
    null_predictions: int
    duration_s: float
    counts: dict[str, int] | None

    @property
    def rows_per_s(self) -> float:
        """Rows per second, reading and writing included."""
        return self.rows / self.duration_s if self.duration_s > 0 else 0.0


def format_of(path: str, given: str | None) -> str:
    """The data format of `path`: the one given, else by the file's ending, else parquet.

    Raises:
        InvalidParameterValue: the format given is not one of `FORMATS`.
    """
    if given is not None:
        if given not in FORMATS:
            raise InvalidParameterValue(f"Invalid format '{given}'. Expected one of {', '.join(FORMATS)}.")
        return given
    stem = path.rstrip("/").lower()
    return next((name for ending, name in _FORMATS.items() if stem.endswith(ending)), "parquet")


def score_path(
    spark: "SparkSession",
    model_uri: str,
    input_path: str,
    output_path: str,
    *,
    input_format: str | None = None,
    output_format: str | None = None,
    mode: str = "errorifexists",
    output_col: str = "prediction",
    result_type: str | None = None,
    where: str | None = None,
    lineage: bool = False,
    registry_url: str | None = None,
    accept_unverified: bool = False,
) -> JobSummary:
    """Scores what lies at `input_path` into `output_path` with one exact version, and says what was done."""
    from pyspark.sql import Observation, functions

    started = time.perf_counter()
    reader = spark.read.format(format_of(input_path, input_format))
    df = reader.options(header=True, inferSchema=True).load(input_path)
    if where is not None:
        df = df.where(where)
    function = spark_udf(spark, model_uri, result_type, registry_url=registry_url, accept_unverified=accept_unverified)
    scored = apply(df, function, output_col=output_col, lineage=lineage)
    observation = Observation("tiltyard")
    prediction = _column(output_col)
    counted = scored.observe(
        observation,
        functions.count(functions.lit(1)).alias("rows"),
        functions.count_if(prediction.isNull()).alias("nulls"),
    )
    spark.sparkContext.setJobDescription(f"Score {function.model_uri}") if hasattr(spark, "_jsc") else None
    counted.write.format(format_of(output_path, output_format)).mode(mode).options(header=True).save(output_path)
    figures = observation.get
    duration_s = time.perf_counter() - started
    written = spark.read.format(format_of(output_path, output_format)).options(header=True).load(output_path)
    return JobSummary(
        function.model_uri,
        function.digest,
        int(figures["rows"]),
        int(figures["nulls"]),
        duration_s,
        _class_counts(written, output_col),
    )


def _class_counts(written: "DataFrame", output_col: str) -> dict[str, int] | None:
    from pyspark.sql.types import AtomicType, DoubleType, FloatType

    kind = written.schema[output_col].dataType
    if not isinstance(kind, AtomicType) or isinstance(kind, DoubleType | FloatType):
        return None
    rows = written.groupBy(_column(output_col).alias("value")).count().orderBy("value").take(_MAX_CLASSES + 1)
    if len(rows) > _MAX_CLASSES:
        return None
    return {str(row["value"]): int(row["count"]) for row in rows}
