"""What a model returned, as the answer's JSON.

The answer is always valid RFC 8259: NaN, infinities and missing values are `null`. Bytes are base64 without
the line end that upstream appends.

Source: mlflow/pyfunc/scoring_server/__init__.py (predictions_to_json) at v3.17.2 for the shapes.
"""

import base64
import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from tiltyard.errors import InternalError

_PLAIN = {str, bool, float, type(None)}
_SCALARS = (bool, int, float, str)


def encode(predictions: Any) -> bytes:
    """`{"predictions": …}` as UTF-8 JSON.

    A DataFrame becomes a list of row objects, a Series a list of one-key objects, an ndarray nested lists.

    Raises:
        InternalError: the model returned something that JSON cannot say, such as a set or a Decimal.
    """
    try:
        return _encoder.encode({"predictions": to_jsonable(predictions)})
    except (TypeError, ValueError, RecursionError, OverflowError):
        raise InternalError(
            f"The model's output of type '{type(predictions).__name__}' cannot be written as JSON."
        ) from None


def to_jsonable(value: Any) -> Any:  # noqa: PLR0911 - one return per kind of value
    """`value` in plain JSON values. Raises: TypeError for what JSON cannot say."""
    kind = type(value)
    if kind in _PLAIN:
        # The encoder writes NaN and infinities as null.
        return value
    if kind is int:
        # The encoder stops at 64 bits; JSON does not.
        return value if -(2**63) <= value < 2**63 else msgspec.Raw(str(value).encode())
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, Mapping):
        return {_key(name): to_jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        if set(map(type, value)) <= _PLAIN:
            return value
        return [to_jsonable(item) for item in value]
    if kind.__module__.startswith("pandas."):
        return _pandas(value)
    return _scalar(value)


def _array(value: "np.ndarray[Any, Any]") -> Any:
    if value.dtype.kind in "bif":
        return value.tolist()
    if value.dtype.kind == "M":
        return [_array(row) for row in value] if value.ndim > 1 else [_scalar(moment) for moment in value.flat]
    return to_jsonable(value.tolist())


def _pandas(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, pd.Series):
        value = value.to_frame()
    if isinstance(value, pd.DataFrame):
        names = [_key(name) for name in value.columns]
        columns = [_column(value.iloc[:, i]) for i in range(len(names))]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(value, pd.Index | pd.api.extensions.ExtensionArray):
        return [to_jsonable(item) for item in value]
    return _scalar(value)


def _column(column: Any) -> list[Any]:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "bif":
        plain: list[Any] = column.to_numpy().tolist()
        return plain
    return [to_jsonable(item) for item in column]


def _scalar(value: Any) -> Any:  # noqa: PLR0911 - one return per kind of value
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(np.datetime_as_string(value))
    if isinstance(value, np.generic):
        return to_jsonable(value.item())
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, _SCALARS):
        # Subclasses, such as an enum of texts, as what they extend.
        return next(base(value) for base in _SCALARS if isinstance(value, base))
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return to_jsonable(dump())
    toarray = getattr(value, "toarray", None)
    if callable(toarray):
        return to_jsonable(toarray())
    raise TypeError(f"cannot encode {type(value).__name__}")


def _key(name: Any) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, bool) or name is None:
        return {True: "true", False: "false", None: "null"}[name]
    return str(name)


_encoder = msgspec.json.Encoder()
