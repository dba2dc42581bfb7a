"""The signature that data shows: what upstream's `infer_signature` would say about it.

Source: mlflow/types/utils.py (_infer_schema) and mlflow/models/signature.py (infer_signature) at v3.17.2.
"""

import datetime as dt
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.errors import InvalidParameterValue, TiltyardError, quote
from tiltyard.pyfunc.data_types import AnyType, Array, DataType, Map, Object, Property, Type
from tiltyard.pyfunc.enforcement.params import ParamSchema, ParamSpec
from tiltyard.pyfunc.enforcement.tensors import clean_dtype, is_sparse
from tiltyard.pyfunc.enforcement.values import is_missing
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec

_log = logging.getLogger(__name__)

_SCALARS: dict[type, DataType] = {
    bool: DataType.boolean,
    np.bool_: DataType.boolean,
    int: DataType.long,
    np.int64: DataType.long,
    np.int32: DataType.integer,
    float: DataType.double,
    np.float64: DataType.double,
    np.float32: DataType.float,
    str: DataType.string,
    np.str_: DataType.string,
    bytes: DataType.binary,
    np.bytes_: DataType.binary,
    bytearray: DataType.binary,
    dt.date: DataType.datetime,
    dt.datetime: DataType.datetime,
    np.datetime64: DataType.datetime,
    pd.Timestamp: DataType.datetime,
}


def infer_signature(model_input: Any = None, model_output: Any = None, params: Any = None) -> Signature:
    """The signature of a model that takes `model_input`, gives `model_output` and has `params` as defaults.

    Frames give columns, ndarrays and dicts of them give tensors with a free first dimension; a column that
    holds a missing value is optional. Data that cannot be described is one column of any type.

    Raises:
        InvalidParameterValue: params that have no type.
    """
    return Signature(
        inputs=None if model_input is None else _schema_or_any(model_input, "inputs"),
        outputs=None if model_output is None else _schema_or_any(model_output, "outputs"),
        params=infer_params(params) if params else None,
    )


def infer_schema(data: Any) -> Schema:  # noqa: PLR0911 - one return per kind of data
    """The schema of `data`. Raises: InvalidParameterValue if it has no common types."""
    if isinstance(data, list):
        return _schema_of_list(data)
    if isinstance(data, Mapping):
        return _schema_of_mapping(data)
    if isinstance(data, pd.Series):
        return Schema((_column(data, data.name),))
    if isinstance(data, pd.DataFrame):
        return Schema(tuple(_column(data[name], name) for name in data.columns))
    if isinstance(data, np.ndarray):
        return Schema((_tensor(data, data.dtype, None),))
    if is_sparse(data):
        return Schema((_tensor(data, data.data.dtype, None),))
    return Schema((ColSpec(_known(infer_type(data))),))


def infer_params(params: Any) -> ParamSchema:
    """The params schema of default values. Raises: InvalidParameterValue."""
    if not isinstance(params, Mapping):
        raise InvalidParameterValue(f"Expected parameters to be dict, got {type(params).__name__}")
    return ParamSchema(tuple(_param(str(name), value) for name, value in params.items()))


def infer_type(data: Any) -> Type | None:
    """The type of one value: `any` for nothing, None for an empty ndarray.

    Raises:
        InvalidParameterValue: the value, or one inside it, has no type, or a list mixes types.
    """
    if is_missing(data) or (isinstance(data, list | dict) and not data):
        return AnyType()
    if isinstance(data, dict):
        kinds = [(str(name), _known(infer_type(value))) for name, value in data.items()]
        return Object(tuple(Property(name, kind, required=not isinstance(kind, AnyType)) for name, kind in kinds))
    if isinstance(data, list | np.ndarray):
        return _array(data)
    kind = _SCALARS.get(type(data))
    if kind is None:
        raise InvalidParameterValue(f"Data {quote(data)} is not one of the supported types.")
    return kind


def numpy_type(dtype: Any) -> DataType:
    """The column type of a numpy or pandas dtype other than object. Raises: InvalidParameterValue."""
    size = getattr(dtype, "itemsize", 0)
    signed = dtype.kind == "i"
    if dtype.kind == "b":
        return DataType.boolean
    if dtype.kind in "iu" and (size < 4 or (signed and size == 4)):
        return DataType.integer
    if dtype.kind in "iu" and (size < 8 or (signed and size == 8)):
        return DataType.long
    if dtype.kind == "f" and size <= 8:
        return DataType.float if size <= 4 else DataType.double
    kind = {"U": DataType.string, "S": DataType.binary, "M": DataType.datetime}.get(dtype.kind)
    if kind is None:
        raise InvalidParameterValue(f"Unsupported numpy data type '{dtype}', kind '{dtype.kind}'")
    return kind


def _schema_or_any(data: Any, what: str) -> Schema:
    try:
        return infer_schema(data)
    except TiltyardError as error:
        _log.warning("Failed to infer the schema of %s, it is set to any type: %s", what, error.message)
        return Schema((ColSpec(AnyType()),))


def _schema_of_list(data: list[Any]) -> Schema:
    if not data:
        # As releases before types for nothing did.
        return Schema((ColSpec(DataType.string),))
    if not all(isinstance(row, dict) for row in data):
        return Schema((ColSpec(_items(data)),))
    names = dict.fromkeys(name for row in data for name in row)
    return Schema(
        tuple(
            ColSpec(
                _items([row[name] for row in data if name in row]),
                name,
                all(row.get(name) is not None for row in data),
            )
            for name in names
        )
    )


def _schema_of_mapping(data: Mapping[Any, Any]) -> Schema:
    if all(isinstance(value, np.ndarray) for value in data.values()):
        return Schema(tuple(_tensor(value, value.dtype, name) for name, value in data.items()))
    if any(not isinstance(name, str) for name in data):
        raise InvalidParameterValue("The dictionary keys are not all strings.")
    return Schema(tuple(ColSpec(_known(infer_type(value)), name, _required(value)) for name, value in data.items()))


def _column(column: "pd.Series[Any]", name: Any) -> ColSpec:
    if not isinstance(column, pd.Series):
        raise InvalidParameterValue(f"The column {quote(name)} comes more than once.")
    if name is not None and not isinstance(name, str | int):
        name = str(name)
    required = not any(is_missing(value) for value in column)
    if isinstance(name, np.integer):
        name = int(name)
    if column.dtype.kind == "O":
        column = column.infer_objects()
    if column.dtype.kind != "O":
        return ColSpec(numpy_type(column.dtype), name, required)
    try:
        return ColSpec(_items(column.to_list()), name, required)
    except InvalidParameterValue:
        # Text beside other values is called text, as it was before values had types.
        if pd.api.types.is_string_dtype(column):
            return ColSpec(DataType.string, name, required)
        raise


def _tensor(data: Any, dtype: Any, name: Any) -> TensorSpec:
    if not data.shape:
        raise InvalidParameterValue("An array without dimensions has no tensor schema.")
    return TensorSpec(clean_dtype(dtype).name, (-1, *map(int, data.shape[1:])), name)


def _items(data: Any) -> Type:
    kind = infer_type(data)
    if isinstance(kind, Array):
        return kind.items
    if isinstance(kind, AnyType):
        return kind
    raise InvalidParameterValue("The data must include at least one value.")


def _known(kind: Type | None) -> Type:
    if kind is None:
        raise InvalidParameterValue("A numpy array must include at least one value.")
    return kind


def _array(data: Any) -> Array | None:
    merged: Type | None = None
    for item in data:
        kind = infer_type(item)
        if kind is not None:
            merged = kind if merged is None else merge_types(merged, kind)
    return None if merged is None else Array(merged)


def _required(value: Any) -> bool:
    return not any(map(is_missing, value if isinstance(value, list) else [value]))


def _param(name: str, value: Any) -> ParamSpec:
    if isinstance(value, dict):
        kind = infer_type(value)
        if isinstance(kind, Object):
            return ParamSpec(name, kind, value)
    elif isinstance(value, list | np.ndarray):
        if np.ndim(value) == 1:
            return ParamSpec(name, _param_type(name, value), list(value), (-1,))
    elif np.isscalar(value) or isinstance(value, dt.date):
        return ParamSpec(name, _param_type(name, [value]), value)
    raise InvalidParameterValue(f"Param {quote(name)}: expected a scalar, a flat list or a dict, got {quote(value)}.")


def _param_type(name: str, values: Any) -> DataType:
    if all(_SCALARS.get(type(value)) is DataType.datetime for value in values):
        return DataType.datetime
    try:
        return numpy_type(np.array(values).dtype)
    except (ValueError, TypeError):
        raise InvalidParameterValue(f"Param {quote(name)}: the values have no common type.") from None


def merge_types(first: Type, second: Type) -> Type:
    """The type both values have. Raises: InvalidParameterValue if there is none."""
    if first == second and not isinstance(first, AnyType):
        return first
    if isinstance(first, AnyType):
        return second if isinstance(second, AnyType | DataType) else _with_nothing(second)
    if isinstance(second, AnyType):
        return _with_nothing(first)
    if isinstance(first, Object) and isinstance(second, Object):
        return _merge_objects(first, second)
    if isinstance(first, Array) and isinstance(second, Array) and first.spark_vector == second.spark_vector:
        return Array(merge_types(first.items, second.items), first.spark_vector)
    if isinstance(first, Map) and isinstance(second, Map):
        return Map(merge_types(first.values, second.values))
    raise InvalidParameterValue(
        "Expected all values in the list to be of the same type. To specify a model signature with a list containing "
        "elements of multiple types, define the signature with an array of any type."
    )


def _with_nothing(kind: Type) -> Type:
    """`kind` when one of the values was nothing: an object's properties may then all be absent."""
    if isinstance(kind, Object):
        return Object(tuple(Property(entry.name, entry.type, required=False) for entry in kind.properties))
    return kind


def _merge_objects(first: Object, second: Object) -> Object:
    merged = []
    for name in {**first.by_name, **second.by_name}:
        one, other = first.by_name.get(name), second.by_name.get(name)
        if one is not None and other is not None:
            merged.append(Property(name, merge_types(one.type, other.type), one.required and other.required))
        elif present := one or other:
            merged.append(Property(name, present.type, required=False))
    return Object(tuple(merged))
