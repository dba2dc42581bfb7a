"""Stage 1: the values of an HTTP body, as read from JSON or CSV, made into typed arrays.

JSON has few types, so a value is cast to the one the signature names: `3.0` or `"3"` is an integer, `2` a
double, base64 text is binary. `strict` refuses a cast that would change the value (1.7 or 2**31 into an
integer, "false" into a boolean); `lenient` does what upstream's parser does, silently.

Source: mlflow/utils/proto_json_utils.py (cast_df_types_according_to_schema, convert_data_type) at v3.17.2.
"""

import base64
import binascii
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from tiltyard.errors import BadRequest, SchemaEnforcementFailed
from tiltyard.pyfunc.quote import quote
from tiltyard.pyfunc.schema import AnyType, ColSpec, DataType, Name, Type
from tiltyard.pyfunc.values import enforce_value, is_missing

Coerce: TypeAlias = Literal["strict", "lenient"]
Vector: TypeAlias = "np.ndarray[Any, Any]"

_INT_RANGE = {DataType.integer: (-(2**31), 2**31 - 1), DataType.long: (-(2**63), 2**63 - 1)}
# What pandas raises; the last when numbers stand among texts with and without an offset.
_UNREADABLE_DATE = (ValueError, TypeError, OverflowError, RuntimeError)
# Beyond it a double no longer holds every integer.
_EXACT_DOUBLE = 2**53


class _Refused(Exception):
    """One value cannot be cast; says which row and why."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row, self.why = row, why


def cast_column(
    values: Sequence[Any], spec: ColSpec, label: Name, *, coerce: Coerce = "strict", tf_form: bool = False
) -> Vector:
    """One column as an array of the dtype that pandas gives the type.

    Args:
        values: the cells, one per row, as JSON values.
        label: the column's name or position, for messages.
        tf_form: whether the cells came as `instances` or `inputs`: then numbers in a column of text become text,
            and binary cells are the bytes of the text itself instead of base64.

    Raises:
        BadRequest: a cell is not of the type, or (strict) the cast would change it; names column and row.
    """
    kind = spec.type
    try:
        if isinstance(kind, AnyType):
            return _inferred(values)
        if not isinstance(kind, DataType):
            return _nested(values, kind, spec.required)
        if kind is DataType.binary:
            return _binary(values, tf_form=tf_form, strict=coerce == "strict")
        if kind is DataType.string and tf_form:
            return object_array([str(value) if type(value) in (int, float, bool) else value for value in values])
        if coerce == "lenient" and kind is not DataType.string and kind is not DataType.datetime:
            return _lenient(values, kind, tf_form=tf_form)
        return _CASTS[kind](values)
    except _Refused as refused:
        where = f" Row {refused.row}:" if refused.row >= 0 else ""
        raise BadRequest(
            "Invalid input. Data is not compatible with model signature. "
            f"Failed to convert column {quote(label)} to type '{kind}'.{where} {refused.why}"
        ) from None


def cast_matrix(rows: Sequence[Any], dtype: str, labels: Sequence[Name], *, coerce: Coerce = "strict") -> Vector:
    """Rows of cells as one (rows, columns) array of a float dtype; every row has `len(labels)` cells.

    Raises:
        BadRequest: as `cast_column`.
    """
    matrix: Vector | None
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        matrix = None
    safe = matrix is not None and matrix.shape == (len(rows), len(labels))
    if matrix is not None and safe and matrix.size:
        limit = _EXACT_DOUBLE if dtype == "float64" else 2**24
        # NaN compares false, so a null is safe; a large number or an infinity is looked at one by one.
        with np.errstate(invalid="ignore"):
            safe = not bool((np.abs(matrix) > limit).any())
    if matrix is not None and safe:
        return matrix if dtype == "float64" else matrix.astype(np.float32)
    kind = DataType.double if dtype == "float64" else DataType.float
    columns = [
        cast_column([row[i] for row in rows], ColSpec(kind), label, coerce=coerce) for i, label in enumerate(labels)
    ]
    return np.stack(columns, axis=1)


def cast_tensor(data: Any, dtype: "np.dtype[Any]", name: Name | None, *, coerce: Coerce = "strict") -> Vector:
    """Nested lists (or one value) as a tensor of `dtype`.

    Raises:
        BadRequest: ragged, not of the dtype, or (strict) the cast would change a value.
    """
    where = "" if name is None else f" for input {quote(name)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if coerce == "strict" and dtype.kind in "iufb":
                return _exact_tensor(np.array(data), data, dtype)
            return np.array(data, dtype=dtype)
    except _Refused as refused:
        why = refused.why
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        # numpy's own text names the offending value alone: "could not convert string to float: 'a'".
        why = str(error)[:200]
    raise BadRequest(f"Invalid input. Failed to convert data{where} to a tensor of type '{dtype}'. {why}")


def object_array(values: Sequence[Any]) -> Vector:
    """The values as they are, one per cell."""
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def _exact_tensor(raw: Vector, data: Any, dtype: "np.dtype[Any]") -> Vector:
    if raw.dtype.kind == "O" and _depth_is_ragged(raw):
        raise _Refused(-1, "The nested lists do not have one shape.")
    if raw.dtype.kind in "USO":
        # Text and nulls: numpy parses them, and refuses those that are not of the dtype.
        result = np.array(data, dtype=dtype)
        if raw.dtype.kind == "O" and dtype.kind in "iub" and any(value is None for value in raw.flat):
            raise _Refused(-1, f"A null is not of type '{dtype}'.")
        if dtype.kind == "b":
            raise _Refused(-1, "Only true, false, 1 and 0 are booleans.")
        return result
    with np.errstate(over="ignore", invalid="ignore"):
        result = raw.astype(dtype)
        changed = _changed(raw, result)
    if changed.any():
        raise _Refused(-1, f"{quote(raw[changed].flat[0].item())} would be changed by the cast.")
    return result


def _changed(raw: Vector, result: Vector) -> Vector:
    """Which numbers of `raw` are another number in `result`; rounding of a decimal does not count."""
    kinds = raw.dtype.kind + result.dtype.kind
    if raw.dtype == result.dtype or kinds[0] == "b":
        return np.zeros(raw.shape, dtype=bool)
    if kinds[1] == "b":
        return np.asarray((raw != 0) & (raw != 1))
    if kinds == "ff":
        return np.asarray(np.isinf(result) & ~np.isinf(raw))
    if kinds[1] == "f":
        limit = 2**24 if result.dtype.itemsize < 8 else _EXACT_DOUBLE
        changed = np.asarray((raw > limit) | (raw < -limit))
        for i in np.flatnonzero(changed):
            changed.flat[i] = int(result.flat[i]) != int(raw.flat[i])
        return changed
    info = np.iinfo(result.dtype)
    outside = (raw < info.min) | (raw > info.max)
    return np.asarray(outside | (np.trunc(raw) != raw)) if kinds[0] == "f" else np.asarray(outside)


def _depth_is_ragged(raw: Vector) -> bool:
    return any(isinstance(value, list | dict) for value in raw.flat)


def _integers(kind: DataType) -> Callable[[Sequence[Any]], Vector]:
    low, high = _INT_RANGE[kind]
    dtype = np.dtype(kind.dtype)

    def cast(values: Sequence[Any]) -> Vector:
        if set(map(type, values)) != {int}:
            values = [_to_int(value, row) for row, value in enumerate(values)]
        if values and (min(values) < low or max(values) > high):
            row, value = next((i, v) for i, v in enumerate(values) if not low <= v <= high)
            raise _Refused(row, f"{quote(value)} is out of range.")
        return np.array(values, dtype=dtype)

    return cast


def _to_int(value: Any, row: int) -> int:
    if isinstance(value, int):
        return int(value)
    if is_missing(value):
        raise _Refused(row, "A null is not an integer.")
    if isinstance(value, float):
        if not value.is_integer():
            raise _Refused(row, f"{quote(value)} has a fraction, which the cast would drop.")
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    raise _Refused(row, f"{quote(value)} is not an integer.")


def _floats(kind: DataType) -> Callable[[Sequence[Any]], Vector]:
    single = kind is DataType.float

    def cast(values: Sequence[Any]) -> Vector:
        kinds = set(map(type, values))
        if not kinds <= {float, type(None)}:
            values = [_to_float(value, row, single=single) for row, value in enumerate(values)]
        array = np.array(values, dtype=np.float64)
        if not single:
            return array
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = array.astype(np.float32)
        overflow = np.isinf(narrow) & ~np.isinf(array)
        if overflow.any():
            row = int(np.argmax(overflow))
            raise _Refused(row, f"{quote(values[row])} is out of range.")
        return narrow

    return cast


def _to_float(value: Any, row: int, *, single: bool) -> float:
    if isinstance(value, float):
        return value
    if is_missing(value):
        return math.nan
    if isinstance(value, int):
        try:
            number = float(np.float32(value)) if single else float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number) or int(number) != value:
            raise _Refused(row, f"{quote(value)} cannot be held exactly.")
        return number
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            raise _Refused(row, f"{quote(value)} is not a number.") from None
        if math.isinf(number) and "inf" not in value.lower():
            raise _Refused(row, f"{quote(value)} is out of range.")
        return number
    raise _Refused(row, f"{quote(value)} is not a number.")


def _booleans(values: Sequence[Any]) -> Vector:
    if set(map(type, values)) <= {bool}:
        return np.array(values, dtype=bool)
    cells = [_to_bool(value, row) for row, value in enumerate(values)]
    # As in process: a column with nulls stays one of objects, so that a null does not become false.
    return object_array(cells) if None in cells else np.array(cells, dtype=bool)


def _to_bool(value: Any, row: int) -> bool | None:
    if is_missing(value):
        return None
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise _Refused(row, f"{quote(value)} is not a boolean; only true, false, 1 and 0 are.")


def _binary(values: Sequence[Any], *, tf_form: bool, strict: bool) -> Vector:
    cells: list[bytes] = []
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise _Refused(row, f"{quote(value)} is not text.")
        try:
            if tf_form:
                cells.append(value.encode("ascii"))
            elif strict:
                # MIME line ends are part of the encoding that upstream's own clients send.
                cells.append(base64.b64decode("".join(value.split()), validate=True))
            else:
                cells.append(base64.decodebytes(value.encode()))
        except (binascii.Error, ValueError):
            raise _Refused(row, f"{quote(value)} is not valid {'ASCII' if tf_form else 'base64'}.") from None
    return object_array(cells)


def _datetimes(values: Sequence[Any]) -> Vector:
    import pandas as pd

    for row, value in enumerate(values):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (isinstance(value, str) or whole or is_missing(value)):
            raise _Refused(row, f"{quote(value)} is not a date or time.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = pd.to_datetime(pd.Series(list(values), dtype=object).infer_objects())
    except _UNREADABLE_DATE:
        wrong = next((row for row, value in enumerate(values) if not _is_moment(value)), None)
        if wrong is None:
            raise _Refused(
                -1, "The dates and times are not of one form: with and without a time, or an offset."
            ) from None
        raise _Refused(wrong, f"{quote(values[wrong])} is not an ISO 8601 date or time, or is out of range.") from None
    if parsed.dtype.kind != "M" or isinstance(parsed.dtype, pd.DatetimeTZDtype):
        raise _Refused(-1, "A time with a UTC offset is not supported; send times without one.")
    return np.asarray(parsed.to_numpy(dtype="datetime64[ns]"))


def _is_moment(value: Any) -> bool:
    import pandas as pd

    try:
        pd.to_datetime(value)
    except _UNREADABLE_DATE:
        return False
    return True


def _nested(values: Sequence[Any], kind: Type, required: bool) -> Vector:
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        try:
            array[row] = enforce_value(None if is_missing(value) else value, kind, required, json=True)
        except SchemaEnforcementFailed as error:
            raise _Refused(row, error.message) from None
    return array


def _inferred(values: Sequence[Any]) -> Vector:
    import pandas as pd

    return pd.Series(list(values), dtype=None if values else object).to_numpy()


def _lenient(values: Sequence[Any], kind: DataType, *, tf_form: bool) -> Vector:
    import pandas as pd

    dtype = np.dtype(kind.dtype)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            # Upstream's two parsers differ: numpy refuses an overflow that pandas wraps.
            column = (
                np.array(list(values), dtype=dtype) if tf_form else pd.Series(list(values)).astype(dtype).to_numpy()
            )
    except (ValueError, TypeError, OverflowError):
        raise _Refused(-1, "A value cannot be cast.") from None
    if column.ndim != 1:
        raise _Refused(-1, "A list is not a value of the column.")
    return np.asarray(column)


_CASTS: dict[DataType, Callable[[Sequence[Any]], Vector]] = {
    DataType.boolean: _booleans,
    DataType.integer: _integers(DataType.integer),
    DataType.long: _integers(DataType.long),
    DataType.float: _floats(DataType.float),
    DataType.double: _floats(DataType.double),
    DataType.string: object_array,
    DataType.datetime: _datetimes,
}
