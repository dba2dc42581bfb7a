"""`score`: a whole DataFrame with the predictions of one model version."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.data_types import Name
from tiltyard.pyfunc.schema import Schema
from tiltyard.spark.executors.column_names import escaped, ignores_case, match_names
from tiltyard.spark.scoring.batch_size import always_fits, is_measured
from tiltyard.spark.scoring.column_checks import check_columns
from tiltyard.spark.scoring.scoring_function import ScoringFunction
from tiltyard.spark.scoring.udf import spark_udf
from tiltyard.spark.scoring.whole_rows import can_map, map_rows, quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType as SparkType


LINEAGE = ("model_name", "model_version", "model_digest", "model_run_id")


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
    env: str | None = None,
    registry_url: str | None = None,
    accept_unverified: bool = False,
) -> "DataFrame":
    """`df` with the predictions of one exact version in `output_col`.

    Columns are matched to the signature by name, in any case where Spark ignores it; without a signature every column
    is passed. Where few columns are
    kept the rows go through Python whole, which is quickest; a filter on the result is then not moved before the
    model, so filter `df` itself.

    Args:
        keep: the columns of `df` that the result has, in this order; all of them by default.
        errors: what becomes of a row that cannot be scored: 'fail' ends the job, 'null' gives a null prediction,
            'column' does so too and puts the reason into the column `<output_col>_error`.
        lineage: adds the columns `model_name`, `model_version`, `model_digest` and `model_run_id`.
        result_type, params, env, registry_url, accept_unverified: see `spark_udf`.

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
        env=env,
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
    unmeasured: bool = False,
) -> "DataFrame":
    """`df` with `function` applied to the columns that its model takes. See `score`.

    `unmeasured` says that it will be run where Spark does not measure batches; see `tiltyard.spark.scoring.batch_size`.
    """
    kept = _kept(df, keep)
    added = [output_col, f"{output_col}_error"] if function.errors == "column" else [output_col]
    same = str.lower if ignores_case(df.sparkSession) else str
    have = {same(name) for name in kept}
    taken = [name for name in (*added, *(LINEAGE if lineage else ())) if same(name) in have]
    if taken or same(output_col) in map(same, df.columns):
        raise InvalidParameterValue(
            f"The input has a column '{(taken or [output_col])[0]}' already; rename it, or choose another output."
        )
    inputs = _inputs(df, function.inputs)
    unmeasured = unmeasured or (not is_measured(df.sparkSession) and need_not_measure(df, function, kept))
    if can_map(df.schema, kept, unmeasured=unmeasured):
        scored = map_rows(df, function, inputs, kept, added, unmeasured=unmeasured)
    else:
        whole = df.withColumn(output_col, function.named(inputs))
        parts = [quoted(output_col)]
        if function.errors == "column":
            parts = [quoted(output_col).getField(part) for part in ("value", "error")]
        scored = whole.select(*map(escaped, kept), *(part.alias(name) for part, name in zip(parts, added, strict=True)))
    return scored.select("*", *lineage_of(function)) if lineage else scored


def need_not_measure(df: "DataFrame", function: ScoringFunction, keep: Sequence[str] | None = None) -> bool:
    """Whether no batch of `df` can be too large, so that an action of our own may run `unmeasured`."""
    sent = {*_inputs(df, function.inputs), *_kept(df, keep)}
    return always_fits(df.sparkSession, [df.schema[name].dataType for name in sent])


def lineage_of(function: ScoringFunction) -> "list[Column]":
    """The columns `LINEAGE`, which say what scored a row."""
    from pyspark.sql import functions

    reference = function.reference
    values = (
        functions.lit(reference.name).cast("string"),
        functions.lit(reference.version).cast("int"),
        functions.lit(function.digest),
        functions.lit(function.run_id).cast("string"),
    )
    return [value.alias(name) for value, name in zip(values, LINEAGE, strict=True)]


def _kept(df: "DataFrame", keep: Sequence[str] | None) -> list[str]:
    """The columns of `df` that are kept, as they are spelled there."""
    if keep is None:
        return list(df.columns)
    same = str.lower if ignores_case(df.sparkSession) else str
    spelled = {same(name): name for name in df.columns} | {name: name for name in df.columns}
    unknown = [name for name in keep if name not in spelled and same(name) not in spelled]
    if unknown:
        raise InvalidParameterValue(f"'keep' names columns that the input lacks: {unknown}. It has {df.columns}.")
    return [spelled[name] if name in df.columns else spelled[same(name)] for name in keep]


def _inputs(df: "DataFrame", inputs: Schema | None) -> dict[str, Name]:
    """The columns of `df` that the model takes, each with the model's name for it."""
    if inputs is None or not inputs.is_named:
        return {name: name for name in df.columns}
    names = match_names(df.columns, inputs.names, ignore_case=ignores_case(df.sparkSession))
    meant = dict(zip(df.columns, names, strict=True))
    if inputs.tensors:
        return _in_order(meant, inputs) if set(inputs.names) <= set(meant.values()) else meant
    check_columns(df.schema, inputs, meant)
    return _in_order(meant, inputs)


def _in_order(meant: dict[str, Name], inputs: Schema) -> dict[str, Name]:
    """The columns that the signature knows, in its order."""
    columns = {name: column for column, name in meant.items()}
    return {columns[name]: name for name in inputs.names if name in columns}
