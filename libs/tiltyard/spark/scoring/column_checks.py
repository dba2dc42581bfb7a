"""What can be told before a job starts: whether the columns of a table can be what a model takes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.data_types import DataType, Name
from tiltyard.pyfunc.schema import Schema

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

_INTEGER_TARGETS = frozenset({DataType.integer, DataType.long, DataType.double})
_NUMBERS = frozenset({DataType.integer, DataType.long, DataType.float, DataType.double})
_ALL = frozenset(DataType)

# By Spark type, the signature types that strict enforcement lets through for some value. A bigint column passes as
# double where it has nulls or only 0 and 1, and text as double where it spells numbers: the rows decide there.
POSSIBLE: dict[str, frozenset[DataType]] = {
    "tinyint": _INTEGER_TARGETS,
    "smallint": _INTEGER_TARGETS,
    "int": _INTEGER_TARGETS,
    "bigint": frozenset({DataType.long, DataType.float, DataType.double}),
    "float": frozenset({DataType.float, DataType.double}),
    "double": frozenset({DataType.double}),
    "decimal": frozenset({DataType.double}),
    "date": frozenset({DataType.datetime}),
    "timestamp": frozenset({DataType.datetime}),
    "timestamp_ntz": frozenset({DataType.datetime}),
    "boolean": _ALL - {DataType.integer, DataType.long, DataType.float, DataType.datetime},
    "string": _ALL - {DataType.integer, DataType.long, DataType.float},
    "array": _ALL - _NUMBERS - {DataType.datetime},
    "struct": _ALL - _NUMBERS - {DataType.datetime},
    "map": _ALL - _NUMBERS - {DataType.datetime},
}


def check_columns(table: "StructType", inputs: Schema, meant: Mapping[str, Name]) -> None:
    """Nothing, if `table` has the columns that the model requires, in types that its signature can take.

    `meant` has the model's name for each column of `table`.

    Raises:
        InvalidParameterValue: a column is missing, or no value of its type passes; both sides are named.
    """
    columns = {name: column for column, name in meant.items()}
    missing = [name for name in inputs.required_names if name not in columns]
    if missing:
        raise InvalidParameterValue(
            f"The input lacks columns that the model requires: {missing}. The model takes {inputs}; "
            f"the input has {table.fieldNames()}."
        )
    wrong = []
    for spec in inputs.columns:
        column = columns.get(spec.name if spec.name is not None else "")
        if column is None or not isinstance(spec.type, DataType):
            continue
        spark_type = table[column].dataType
        possible = POSSIBLE.get(spark_type.typeName(), POSSIBLE.get(spark_type.simpleString(), _ALL))
        if spec.type not in possible:
            wrong.append(f"column '{column}' is {spark_type.simpleString()}, the model takes {spec.type}")
    if wrong:
        raise InvalidParameterValue(
            f"The input's types do not fit the model's signature: {'; '.join(wrong)}. "
            "Nothing is cast silently: cast the columns in the query, where a loss can be seen."
        )
