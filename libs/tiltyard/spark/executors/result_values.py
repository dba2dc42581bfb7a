"""One column of plain values that a model gave, in the Arrow type that was asked for."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.payload.output import plain

_NUMPY_KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "U": "text", "M": "time"}
_ARROW_KINDS = (
    (pa.types.is_null, "missing"),
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_integer, "integer"),
    (pa.types.is_floating, "number"),
    (pa.types.is_decimal, "number"),
    (pa.types.is_string, "text"),
    (pa.types.is_timestamp, "time"),
    (pa.types.is_date, "time"),
)


def is_missing(value: Any) -> bool:
    """Whether a value stands for nothing: None, NaN, NaT, pandas' NA or a masked one."""
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return type(value).__name__ in ("NAType", "NaTType")


def kind_of(values: Any) -> str:
    """'boolean', 'integer', 'number', 'text', 'time' or 'other'; 'missing' where nothing says."""
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return _NUMPY_KINDS.get(dtype.kind, "other")
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return "other"
    try:
        kind = _to_arrow(values).type
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return "other"
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return next((name for is_it, name in _ARROW_KINDS if is_it(kind)), "other")


def cast(values: Any, target: pa.DataType, time_zone: str) -> pa.Array:
    """The column in `target`'s type; nothing is lost silently, but a float may be rounded to a narrower float.

    Raises:
        InvalidParameterValue: a value does not fit.
    """
    try:
        if pa.types.is_string(target):
            return _texts(values)
        array = _to_arrow(values)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_timestamp(target) and not pa.types.is_null(array.type):
            return _instants(array, target, time_zone)
        if pa.types.is_boolean(target) and not (pa.types.is_boolean(array.type) or pa.types.is_null(array.type)):
            raise mismatch(array.type, target)
        if pa.types.is_string(array.type):
            raise mismatch(array.type, target)
        if pa.types.is_decimal(array.type) and pa.types.is_floating(target):
            array = array.cast(pa.string())
        return array.cast(target)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise mismatch(getattr(values, "dtype", type(values).__name__), target) from None


def mismatch(got: Any, target: pa.DataType) -> InvalidParameterValue:
    """What to say of a column that does not fit."""
    return InvalidParameterValue(
        f"The model did not produce any values compatible with the requested type '{target}': it gave '{got}'. "
        "Consider requesting the udf with 'string' or 'array<string>'."
    )


def _to_arrow(values: Any) -> pa.Array:
    """The values as Arrow has them, what is missing as null."""
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, mask=np.ma.getmaskarray(values) | pd.isna(values.data), from_pandas=True)
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biufM":
        # Also one that is not in one piece.
        return pa.array(np.ascontiguousarray(values), from_pandas=True)
    if isinstance(values, pd.Series) and values.dtype != object:
        found = pa.array(values, from_pandas=True)
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    listed = list(values)
    if not set(map(type, listed)) <= {float, int, str, type(None)}:
        listed = [plain(value) for value in listed]
    try:
        return pa.array(listed, from_pandas=True)
    except pa.ArrowInvalid:
        # A list of integers and floats is one of numbers.
        if not all(isinstance(value, int | float | None) for value in listed):
            raise
        return pa.array([None if value is None else float(value) for value in listed], from_pandas=True)


def _texts(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray) and values.dtype.kind == "U" and not isinstance(values, np.ma.MaskedArray):
        return pa.array(np.ascontiguousarray(values), pa.string())
    cells = values.astype(object) if isinstance(values, np.ndarray | pd.Series) else values
    return pa.array([None if is_missing(value) else str(plain(value)) for value in cells], pa.string())


def _instants(array: pa.Array, target: pa.DataType, time_zone: str) -> pa.Array:
    """Instants, of wall-clock times in the session's zone where they have no zone of their own."""
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(array.type):
        raise mismatch(array.type, target)
    if target.tz is None or array.type.tz is not None:
        return array.cast(target, safe=False)
    series = array.to_pandas(coerce_temporal_nanoseconds=False)
    # An hour that comes twice in a year is the later one, as in Spark; one that never comes begins with the next.
    zoned = series.dt.tz_localize(time_zone, ambiguous=False, nonexistent="shift_forward")
    return pa.array(zoned, from_pandas=True).cast(target, safe=False)
