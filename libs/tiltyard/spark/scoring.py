"""`score`: a whole DataFrame with the predictions of one model version."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.schema import Schema
from tiltyard.spark.checks import check_columns
from tiltyard.spark.udf import ScoringFunction, spark_udf

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType as SparkType


def score(
    df: "DataFrame",
    model_uri: str,
    *,
    output_col: str = "prediction",
    keep: Sequence[str] | None = None,
    result_type: "str | SparkType | None" = None,
    params: dict[str, Any] | None = None,
    errors: str = "fail",
    lineage: bool = False,
    registry_url: str | None = None,
    accept_unverified: bool = False,
) -> "DataFrame":
    """`df` with the predictions of one exact version in `output_col`.

    Columns are matched to the signature by name; without a signature every column is passed.

    Args:
        keep: the columns of `df` that the result has, in this order; all of them by default.
        errors: what becomes of a row that cannot be scored: 'fail' ends the job, 'null' gives a null prediction,
            'column' does so too and puts the reason into the column `<output_col>_error`.
        lineage: adds the columns `model_name`, `model_version`, `model_digest` and `model_run_id`.
        result_type, params, registry_url, accept_unverified: see `spark_udf`.

    Raises:
        InvalidParameterValue: `df` lacks columns that the model requires, has them in types that never fit, or
            has a column of a name that is to be added. Nothing has been started.
    """
    function = spark_udf(
        df.sparkSession,
        model_uri,
        result_type,
        params=params,
        errors=errors,
        registry_url=registry_url,
        accept_unverified=accept_unverified,
    )
    return apply(df, function, output_col=output_col, keep=keep, lineage=lineage)


def apply(
    df: "DataFrame",
    function: ScoringFunction,
    *,
    output_col: str = "prediction",
    keep: Sequence[str] | None = None,
    lineage: bool = False,
) -> "DataFrame":
    """`df` with `function` applied to the columns that its model takes. See `score`."""
    kept = list(df.columns if keep is None else keep)
    unknown = [name for name in kept if name not in df.columns]
    if unknown:
        raise InvalidParameterValue(f"'keep' names columns that the input lacks: {unknown}. It has {df.columns}.")
    added: dict[str, Column] = {output_col: quoted(output_col)}
    if function.errors == "column":
        added = {
            output_col: quoted(output_col).getField("value"),
            f"{output_col}_error": quoted(output_col).getField("error"),
        }
    if lineage:
        added |= lineage_of(function)
    taken = [name for name in added if name in kept]
    if taken or output_col in df.columns:
        raise InvalidParameterValue(
            f"The input has a column '{(taken or [output_col])[0]}' already; rename it, or choose another output."
        )
    scored = df.withColumn(output_col, function.named(_arguments(df, function.inputs)))
    return scored.select(*map(quoted, kept), *(column.alias(name) for name, column in added.items()))


def lineage_of(function: ScoringFunction) -> "dict[str, Column]":
    """The columns that say what scored a row."""
    from pyspark.sql import functions

    reference = function.reference
    return {
        "model_name": functions.lit(reference.name).cast("string"),
        "model_version": functions.lit(reference.version).cast("int"),
        "model_digest": functions.lit(function.digest),
        "model_run_id": functions.lit(function.run_id).cast("string"),
    }


def quoted(name: str) -> "Column":
    """The column of that name, whatever characters it has."""
    from pyspark.sql import functions

    return functions.col(f"`{name.replace('`', '``')}`")


def _arguments(df: "DataFrame", inputs: Schema | None) -> "Mapping[str, Column]":
    if inputs is None or not inputs.is_named:
        return {name: quoted(name) for name in df.columns}
    if inputs.tensors:
        names = [str(name) for name in inputs.names]
        return {name: quoted(name) for name in (names if set(names) <= set(df.columns) else df.columns)}
    check_columns(df.schema, inputs)
    return {str(name): quoted(str(name)) for name in inputs.names if name in df.columns}
