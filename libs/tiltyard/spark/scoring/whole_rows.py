"""Whole rows through Python: quicker than a function of columns where few columns are kept.

Beside a function of columns Spark keeps every row in a queue and joins it with its prediction afterwards. Where
little is kept, sending that to Python and back costs less.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tiltyard.pyfunc.data_types import Name
from tiltyard.spark.executors.column_names import escaped
from tiltyard.spark.executors.scorer import TableScorer
from tiltyard.spark.scoring.batch_size import is_measured
from tiltyard.spark.scoring.scoring_function import ScoringFunction

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType

# Measured: with more columns the queue is as quick, where Spark measures batches. Where it does not, rows are quicker.
MAX_KEPT = 3

_WHOLE = ("boolean", "tinyint", "smallint", "int", "bigint", "string", "binary")
_PLAIN = frozenset({*_WHOLE, "float", "double", "decimal", "date", "timestamp", "timestamp_ntz"})


def can_map(table: "StructType", kept: Sequence[str], *, unmeasured: bool) -> bool:
    """Whether rows should go through Python whole, and would come back as they went."""
    if len(set(kept)) < len(kept) or (len(kept) > MAX_KEPT and not unmeasured):
        return False
    return all(table[name].dataType.simpleString().partition("(")[0] in _PLAIN for name in kept)


def map_rows(
    df: "DataFrame",
    function: ScoringFunction,
    inputs: Mapping[str, Name],
    kept: Sequence[str],
    added: Sequence[str],
    *,
    unmeasured: bool,
) -> "DataFrame":
    """The columns `kept` of `df`, and `added`: the predictions of `function` from the columns `inputs`.

    `inputs` has the model's name for each column.
    """
    from pyspark.sql.types import StringType, StructField, StructType

    from tiltyard.spark.executors.column_packing import Packing

    sent = list(dict.fromkeys((*inputs, *kept)))
    packs = not unmeasured and is_measured(df.sparkSession)
    packing = Packing.of([df.schema[name].dataType.simpleString() if packs else "" for name in sent])
    schema = StructType([df.schema[name] for name in kept])
    for name, kind in zip(added, (function.result_type, StringType()), strict=False):
        schema = schema.add(StructField(name, kind))
    body = function.over_rows(list(inputs.values()), [sent.index(name) for name in kept], schema.names, packing)
    if packing.groups or any(set(name) & set(".`") for name in sent):
        # By their places: PySpark looks for a name with a dot inside another column.
        columns = packing.pack([quoted(name) for name in sent])
        table = df.select(*(column.alias(f"c{place}") for place, column in enumerate(columns)))
    else:
        # Under their own names and in their own order where that is all there is: then Spark need not copy them.
        table = df if sent == df.columns else df.select(*map(escaped, sent))
    with function.on_executors():
        return table.mapInArrow(_mapping(body), schema)


def _mapping(body: TableScorer) -> "Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]":
    def predict(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        return body(batches)

    return predict


def quoted(name: str) -> "Column":
    """The column of that name, whatever characters it has."""
    from pyspark.sql import functions

    return functions.col(escaped(name))
