"""What a scoring UDF returns: the type asked for, or the one that the model's output signature implies."""

from typing import TYPE_CHECKING

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.data_types import Array, DataType, Map, Object, Type
from tiltyard.pyfunc.schema import Schema, TensorSpec

if TYPE_CHECKING:
    from pyspark.sql.types import DataType as SparkType

# Column types of a signature, and Spark's name for each.
_SPARK_NAMES = {
    DataType.boolean: "boolean",
    DataType.integer: "int",
    DataType.long: "bigint",
    DataType.float: "float",
    DataType.double: "double",
    DataType.string: "string",
    DataType.binary: "binary",
    DataType.datetime: "timestamp",
}
_NUMPY_KINDS = {
    "b": "boolean",
    "i": "bigint",
    "u": "bigint",
    "f": "double",
    "U": "string",
    "S": "binary",
    "O": "string",
}
_NUMPY_SMALL = {"int32": "int", "int16": "int", "int8": "int", "float32": "float"}
_ALLOWED = "int, long, float, double, string, boolean, or an array, struct or map of any of these"


def parse_result_type(result_type: "str | SparkType") -> "SparkType":
    """The Spark type that `result_type` names: DDL text such as 'double' or 'array<float>', or the type itself.

    Raises:
        InvalidParameterValue: it is not a type, or one that predictions cannot have.
    """
    from pyspark.sql.types import DataType as SparkDataType

    if isinstance(result_type, SparkDataType):
        parsed = result_type
    else:
        text = {"bool": "boolean", "long": "bigint"}.get(result_type.strip().lower(), result_type)
        parsed = _plain(text) or _parse_ddl(text)
    if not _is_allowed(parsed):
        raise InvalidParameterValue(f"Invalid 'spark_udf' result type: {parsed.simpleString()}. Expected {_ALLOWED}.")
    return parsed


def _plain(text: str) -> "SparkType | None":
    """The types that nearly all models have, without asking the JVM or a server."""
    from pyspark.sql import types as T

    if text.startswith("array<") and text.endswith(">") and (element := _plain(text[len("array<") : -1])) is not None:
        return T.ArrayType(element)
    plain = {"boolean": T.BooleanType, "int": T.IntegerType, "bigint": T.LongType, "float": T.FloatType}
    kind = (plain | {"double": T.DoubleType, "string": T.StringType}).get(text)
    return None if kind is None else kind()


def _parse_ddl(text: str) -> "SparkType":
    # Spark parses DDL in the JVM, or on the server: the session that is active does it.
    from pyspark.errors import PySparkException
    from pyspark.sql.types import DataType as SparkDataType
    from pyspark.sql.types import StructType

    try:
        parsed = SparkDataType.fromDDL(text)
    except (PySparkException, AssertionError, ValueError):
        raise InvalidParameterValue(f"Invalid 'spark_udf' result type: '{text[:200]}'. Expected {_ALLOWED}.") from None
    # 'a double, b long' without the word struct reads as a struct, too; a lone word never does.
    if isinstance(parsed, StructType) and not parsed.fields:
        raise InvalidParameterValue(f"Invalid 'spark_udf' result type: '{text[:200]}' has no fields.")
    return parsed


def _is_allowed(spark_type: "SparkType") -> bool:
    from pyspark.sql import types as T

    if isinstance(spark_type, T.ArrayType):
        return _is_allowed(spark_type.elementType)
    if isinstance(spark_type, T.StructType):
        return all(_is_allowed(field.dataType) for field in spark_type.fields)
    if isinstance(spark_type, T.MapType):
        return isinstance(spark_type.keyType, T.StringType) and _is_allowed(spark_type.valueType)
    return isinstance(
        spark_type,
        T.IntegerType | T.LongType | T.FloatType | T.DoubleType | T.StringType | T.BooleanType,
    )


def inferred_type(outputs: Schema | None) -> "SparkType":
    """The Spark type of the predictions that an output schema describes; see `result_type_of`.

    Raises:
        InvalidParameterValue: Spark has no type for it, so `result_type` must be given.
    """
    text = result_type_of(outputs)
    return _plain(text) or _parse_ddl(text)


def result_type_of(outputs: Schema | None) -> str:
    """The DDL of the predictions that an output schema describes; `double` when there is none.

    One column or a flat tensor is a scalar, several columns a struct with their names, a matrix an array per row.

    Raises:
        InvalidParameterValue: Spark has no type for it, so `result_type` must be given.
    """
    if outputs is None:
        return "double"
    if outputs.tensors:
        return _of_tensors(outputs.tensors)
    columns = outputs.columns
    if len(columns) == 1:
        return _ddl(columns[0].type)
    fields = [f"`{_quoted(column.name or i)}`: {_ddl(column.type)}" for i, column in enumerate(columns)]
    return f"struct<{', '.join(fields)}>"


def _of_tensors(tensors: tuple[TensorSpec, ...]) -> str:
    if len(tensors) == 1:
        return _of_tensor(tensors[0])
    fields = [f"`{_quoted(spec.name or i)}`: {_of_tensor(spec)}" for i, spec in enumerate(tensors)]
    return f"struct<{', '.join(fields)}>"


def _of_tensor(spec: TensorSpec) -> str:
    import numpy as np

    dtype = np.dtype(spec.dtype)
    element = _NUMPY_SMALL.get(dtype.name) or _NUMPY_KINDS.get(dtype.kind)
    if element is None or len(spec.shape) > 2:
        raise InvalidParameterValue(
            f"The model's output {spec} has no Spark type of its own; give 'result_type', one of {_ALLOWED}."
        )
    return element if len(spec.shape) < 2 else f"array<{element}>"


def _ddl(kind: Type) -> str:
    if isinstance(kind, DataType):
        return _SPARK_NAMES[kind]
    if isinstance(kind, Array):
        return f"array<{_ddl(kind.items)}>"
    if isinstance(kind, Map):
        return f"map<string, {_ddl(kind.values)}>"
    if isinstance(kind, Object):
        return "struct<" + ", ".join(f"`{_quoted(p.name)}`: {_ddl(p.type)}" for p in kind.properties) + ">"
    raise InvalidParameterValue("An output column of type 'any' has no Spark type; give 'result_type'.")


def _quoted(name: str | int) -> str:
    return str(name).replace("`", "``")


def check_result_type(result_type: "SparkType", outputs: Schema | None) -> None:
    """Nothing, if outputs of that schema can come in `result_type`, as far as types tell.

    Raises:
        InvalidParameterValue: they cannot; the message names both.
    """
    from pyspark.sql import types as T

    if outputs is None:
        return
    refusal = f"The result type '{result_type.simpleString()}' does not fit the model's output {outputs}: "
    if isinstance(result_type, T.StructType):
        have = [str(name) for name in outputs.names]
        if len(outputs.columns) == 1 and isinstance(kind := outputs.columns[0].type, Object):
            # A single column of objects is a struct itself.
            have += [entry.name for entry in kind.properties]
        missing = [name for name in result_type.fieldNames() if name not in have]
        # Without names in the signature, a DataFrame may still have some.
        if missing and (outputs.is_named or outputs.tensors) and not _has_open_names(outputs):
            raise InvalidParameterValue(f"{refusal}it has no {missing}.")
        return
    element: SparkType = result_type
    while isinstance(element, T.ArrayType):
        element = element.elementType
    kinds = {_kind(column.type) for column in outputs.columns} | {
        _NUMPY_KINDS.get(_numpy_kind(spec), "any") for spec in outputs.tensors
    }
    if isinstance(element, T.StringType) or "any" in kinds:
        return
    if isinstance(element, T.BooleanType):
        if "boolean" not in kinds:
            raise InvalidParameterValue(f"{refusal}nothing in it is boolean.")
    elif kinds <= {"string", "binary", "timestamp"}:
        raise InvalidParameterValue(f"{refusal}nothing in it is a number.")


def _has_open_names(outputs: Schema) -> bool:
    """Whether a single column may be a struct of names that the signature does not tell."""
    return len(outputs.columns) == 1 and not isinstance(outputs.columns[0].type, DataType | Object)


def _kind(kind: Type) -> str:
    if isinstance(kind, Array):
        return _kind(kind.items)
    return _SPARK_NAMES[kind] if isinstance(kind, DataType) else "any"


def _numpy_kind(spec: TensorSpec) -> str:
    import numpy as np

    kind = np.dtype(spec.dtype).kind
    # Texts and whatever else are objects.
    return "" if kind == "O" else kind
