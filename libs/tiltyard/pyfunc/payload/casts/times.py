"""Dates and times in request bodies: ISO 8601 texts, in columns and inside of nested values."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tiltyard.errors import SchemaEnforcementFailed, quote
from tiltyard.pyfunc.data_types import Array, DataType, Map, Object, Type
from tiltyard.pyfunc.enforcement.values import is_missing
from tiltyard.pyfunc.payload.casts import Refused, Vector

# What pandas raises; the last when numbers stand among texts with and without an offset.
_UNREADABLE = (ValueError, TypeError, OverflowError, RuntimeError)
# The year first: then the month cannot be taken for the day.
_BY_YEAR = re.compile(r"[0-9]{4}")
_NO_MOMENT = ("NaT", "nan", "NaN", "null")


def cast_times(values: Sequence[Any], *, strict: bool) -> Vector:
    """The values of a column as datetime64[ns]. Raises: Refused."""
    import pandas as pd

    for row, value in enumerate(values):
        if why := not_a_moment(value, strict=strict):
            raise Refused(row, why)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            column = pd.Series(list(values), dtype=object).infer_objects()
            parsed = pd.to_datetime(column, format="ISO8601") if strict else pd.to_datetime(column)
    except _UNREADABLE:
        wrong = next((row for row, value in enumerate(values) if not _is_moment(value, strict=strict)), None)
        if wrong is None:
            raise Refused(
                -1, "The dates and times are not of one form: with and without a time, or an offset."
            ) from None
        raise Refused(wrong, f"{quote(values[wrong])} is not an ISO 8601 date or time, or is out of range.") from None
    if parsed.dtype.kind != "M" or isinstance(parsed.dtype, pd.DatetimeTZDtype):
        raise Refused(-1, "A time with a UTC offset is not supported; send times without one.")
    return np.asarray(parsed.to_numpy(dtype="datetime64[ns]"))


def not_a_moment(value: Any, *, strict: bool) -> str | None:
    """Why a JSON value cannot be a date or time; None if it is a text that may be one, or is missing.

    `strict` refuses numbers, which may count seconds, milliseconds or nanoseconds, and texts such as '01/02/2024'
    and 'today', which may be more than one day.
    """
    if is_missing(value):
        return None
    if isinstance(value, str):
        text = value.strip()
        by_year = not text or _BY_YEAR.match(text) is not None or text in _NO_MOMENT
        return None if by_year or not strict else f"{quote(value)} is not an ISO 8601 date or time."
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not strict and isinstance(value, int):
            return None
        return (
            f"{quote(value)} is a number, expected a text such as '2024-01-31T10:00:00': a number does not say what "
            "it counts."
        )
    return f"{quote(value)} is not a date or time."


def _is_moment(value: Any, *, strict: bool) -> bool:
    import pandas as pd

    try:
        pd.to_datetime(value, format="ISO8601") if strict else pd.to_datetime(value)
    except _UNREADABLE:
        return False
    return True


def check_times(value: Any, kind: Type) -> None:
    """Nothing, if the times inside a value are told as they are in a column. Raises: SchemaEnforcementFailed."""
    if kind is DataType.datetime:
        if why := not_a_moment(value, strict=True):
            raise SchemaEnforcementFailed(why)
    elif isinstance(kind, Array) and isinstance(value, list):
        for item in value:
            check_times(item, kind.items)
    elif isinstance(kind, Map) and isinstance(value, dict):
        for item in value.values():
            check_times(item, kind.values)
    elif isinstance(kind, Object) and isinstance(value, dict):
        for entry in kind.properties:
            check_times(value.get(entry.name), entry.type)
