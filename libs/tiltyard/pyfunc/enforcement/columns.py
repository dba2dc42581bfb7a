"""Stage 2 for one pandas column of a scalar type: which conversions are safe.

Source: mlflow/models/utils.py (_enforce_mlflow_datatype) at v3.17.2.
"""

from typing import Any

import numpy as np
import pandas as pd

from tiltyard.errors import SchemaEnforcementFailed, quote
from tiltyard.pyfunc.data_types import DataType

_NUMPY: dict[DataType, "np.dtype[Any]"] = {
    kind: np.dtype({DataType.string: "str", DataType.binary: "bytes"}.get(kind, kind.dtype)) for kind in DataType
}
DTYPES: dict[DataType, "np.dtype[Any]"] = {kind: np.dtype(kind.dtype) for kind in DataType}
_OBJECT = np.dtype(object)
_INT64 = np.dtype("int64")


def enforce_column(name: Any, values: "pd.Series[Any]", kind: DataType) -> "pd.Series[Any]":
    """`values` in the type of the column, if that loses nothing.

    Allowed: anything in an object column as string; a wider type of the same family (int32 to long, float
    to double); int32 to double; int64 to float or double when every value is 0, 1 or null; unsigned to a
    larger signed; any datetime precision; object to datetime; decimals and numeric text to double.

    Raises:
        SchemaEnforcementFailed: any other pair of types.
    """
    if values.dtype == _OBJECT and kind not in (DataType.binary, DataType.string):
        values = values.infer_objects()
    dtype: Any = values.dtype
    if isinstance(dtype, pd.StringDtype) and kind in (DataType.string, DataType.binary):
        return values
    if dtype == DTYPES[kind]:
        return values
    if kind is DataType.datetime:
        return _datetime(name, values)
    if dtype == _OBJECT:
        if kind is DataType.boolean:
            # Converting would turn None into False.
            return values
        if kind is DataType.double:
            return _to_double(name, values)
    elif _is_wider(dtype, _NUMPY[kind]) or _is_flags(values, kind):
        try:
            return values.astype(_NUMPY[kind])
        except (TypeError, ValueError):
            raise _refusal(name, values, kind) from None
    raise _refusal(name, values, kind)


def _datetime(name: Any, values: "pd.Series[Any]") -> "pd.Series[Any]":
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        raise SchemaEnforcementFailed(
            f"Please ensure that the input data of datetime column {quote(name)} only contains "
            "timezone-naive datetime objects."
        )
    if values.dtype.kind not in "MO":
        raise _refusal(name, values, DataType.datetime)
    try:
        return values.astype(_NUMPY[DataType.datetime])
    except (TypeError, ValueError, OverflowError):
        raise SchemaEnforcementFailed(
            f"Failed to convert column {quote(name)} from type {values.dtype} to datetime."
        ) from None


def _to_double(name: Any, values: "pd.Series[Any]") -> "pd.Series[Any]":
    try:
        return pd.to_numeric(values).astype(_NUMPY[DataType.double])
    except (TypeError, ValueError, OverflowError):
        raise SchemaEnforcementFailed(
            f"Failed to convert column {quote(name)} from type {values.dtype} to double."
        ) from None


def _is_wider(source: Any, target: "np.dtype[Any]") -> bool:
    size = getattr(source, "itemsize", 0)
    if source.kind == target.kind:
        return bool(0 < size <= target.itemsize)
    if source.kind == "u" and target.kind == "i":
        return bool(0 < size < target.itemsize)
    # An integer of up to 48 bits fits into the 53 of a double.
    return bool(source.kind in "iu" and target == np.float64 and 0 < size <= 6)


def _is_flags(values: "pd.Series[Any]", kind: DataType) -> bool:
    if values.dtype != _INT64 or kind not in (DataType.float, DataType.double):
        return False
    numbers = values.to_numpy()
    return bool(((numbers == 0) | (numbers == 1)).all())


def _refusal(name: Any, values: "pd.Series[Any]", kind: DataType) -> SchemaEnforcementFailed:
    target = _NUMPY[kind]
    hint = ""
    if values.dtype == np.float64 and target.kind in "iu" and values.hasnans and _all_whole(values):
        hint = (
            " Hint: the type mismatch is likely caused by missing values. Integer columns in python can not "
            "represent missing values and are therefore encoded as floats. Infer the signature from data that "
            "includes missing values, or declare the column as double."
        )
    return SchemaEnforcementFailed(
        f"Incompatible input types for column {name if name != '' else 'unnamed'}. "
        f"Can not safely convert {values.dtype} to {target}.{hint}"
    )


def _all_whole(values: "pd.Series[Any]") -> bool:
    numbers = values.dropna().to_numpy()
    return bool(np.isfinite(numbers).all() and (numbers == np.trunc(numbers)).all())
