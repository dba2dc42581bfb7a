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
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tiltyard.errors import BadRequest, SchemaEnforcementFailed, quote
from tiltyard.pyfunc.data_types import AnyType, DataType, Name, Type, scalars_of
from tiltyard.pyfunc.enforcement.values import enforce_value, is_missing
from tiltyard.pyfunc.payload.casts import Coerce, Refused, Vector
from tiltyard.pyfunc.payload.casts.tensors import EXACT_DOUBLE
from tiltyard.pyfunc.payload.casts.times import cast_times, check_times
from tiltyard.pyfunc.payload.chunks import array_of, numbers_of, range_of, types_of
from tiltyard.pyfunc.schema import ColSpec

_INT_RANGE = {DataType.integer: (-(2**31), 2**31 - 1), DataType.long: (-(2**63), 2**63 - 1)}


def cast_column(  # noqa: PLR0911 - one return per kind of column
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
            import pandas as pd

            return pd.Series(numbers_of(list(values)), dtype=None if values else object).to_numpy()
        if not isinstance(kind, DataType):
            return _nested(values, kind, spec.required, strict=coerce == "strict")
        if kind is DataType.binary:
            return _binary(values, tf_form=tf_form, strict=coerce == "strict")
        if kind is DataType.string and tf_form:
            return object_array([_as_text(value) for value in values])
        if kind is DataType.datetime:
            return cast_times(values, strict=coerce == "strict")
        if coerce == "lenient" and kind is not DataType.string:
            return _lenient(values, kind, tf_form=tf_form)
        return _CASTS[kind](values)
    except Refused as refused:
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
    matrix = _exact_floats(rows, (len(rows), len(labels)), dtype)
    if matrix is not None:
        return matrix
    return _cast_each(([row[i] for row in rows] for i in range(len(labels))), dtype, labels, coerce)


def cast_columns(
    columns: Sequence[Sequence[Any]], dtype: str, labels: Sequence[Name], *, coerce: Coerce = "strict"
) -> Vector:
    """The same of columns of cells, one per label."""
    arrays = []
    for column in columns:
        array = _exact_floats(column, (len(column),), dtype)
        if array is None:
            return _cast_each(columns, dtype, labels, coerce)
        arrays.append(array)
    return np.stack(arrays, axis=1)


def _exact_floats(values: Sequence[Any], shape: tuple[int, ...], dtype: str) -> "Vector | None":
    """The values as floats of a dtype; None if they have another shape, or each has to be looked at."""
    try:
        array: Vector = array_of(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    if array.shape != shape:
        return None
    limit = EXACT_DOUBLE if dtype == "float64" else 2**24
    # NaN compares false, so a null is safe; a large number or an infinity is looked at one by one.
    with np.errstate(invalid="ignore"):
        if bool((np.abs(array) > limit).any()):
            return None
    return array if dtype == "float64" else array.astype(np.float32)


def _cast_each(columns: Iterable[Sequence[Any]], dtype: str, labels: Sequence[Name], coerce: Coerce) -> Vector:
    spec = ColSpec(DataType.double if dtype == "float64" else DataType.float)
    arrays = [cast_column(column, spec, label, coerce=coerce) for column, label in zip(columns, labels, strict=True)]
    return np.stack(arrays, axis=1)


def _as_text(value: Any) -> Any:
    """A number of a text column as text; what a row lacks stays missing."""
    return str(value) if type(value) in (int, float, bool) and not is_missing(value) else value


def object_array(values: Sequence[Any]) -> Vector:
    """The values as they are, one per cell."""
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def _integers(kind: DataType) -> Callable[[Sequence[Any]], Vector]:
    low, high = _INT_RANGE[kind]
    dtype = np.dtype(kind.dtype)

    def cast(values: Sequence[Any]) -> Vector:
        if types_of(values) != {int}:
            values = [_to_int(value, row) for row, value in enumerate(values)]
        least, largest = range_of(values) if values else (0, 0)
        if least < low or largest > high:
            row, value = next((i, v) for i, v in enumerate(values) if not low <= v <= high)
            raise Refused(row, f"{quote(value)} is out of range.")
        return array_of(values, dtype)

    return cast


def _to_int(value: Any, row: int) -> int:
    if isinstance(value, int):
        return int(value)
    if is_missing(value):
        raise Refused(row, "A null is not an integer; leave the column out if it is optional, or declare it as double.")
    if isinstance(value, float):
        if not value.is_integer():
            raise Refused(row, f"{quote(value)} has a fraction, which the cast would drop.")
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    raise Refused(row, f"{quote(value)} is not an integer.")


def _floats(kind: DataType) -> Callable[[Sequence[Any]], Vector]:
    single = kind is DataType.float

    def cast(values: Sequence[Any]) -> Vector:
        kinds = types_of(values)
        if not kinds <= {float, type(None)}:
            values = [_to_float(value, row, single=single) for row, value in enumerate(values)]
        array = array_of(values, np.float64)
        if not single:
            return array
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = array.astype(np.float32)
        overflow = np.isinf(narrow) & ~np.isinf(array)
        if overflow.any():
            row = int(np.argmax(overflow))
            raise Refused(row, f"{quote(values[row])} is out of range.")
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
            raise Refused(row, f"{quote(value)} cannot be held exactly.")
        return number
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            raise Refused(row, f"{quote(value)} is not a number.") from None
        if math.isinf(number) and "inf" not in value.lower():
            raise Refused(row, f"{quote(value)} is out of range.")
        return number
    raise Refused(row, f"{quote(value)} is not a number.")


def _booleans(values: Sequence[Any]) -> Vector:
    if types_of(values) <= {bool}:
        return array_of(values, bool)
    cells = [_to_bool(value, row) for row, value in enumerate(values)]
    # As in process: a column with nulls stays one of objects, so that a null does not become false.
    return object_array(cells) if None in cells else array_of(cells, bool)


def _to_bool(value: Any, row: int) -> bool | None:
    if is_missing(value):
        return None
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise Refused(row, f"{quote(value)} is not a boolean; only true, false, 1 and 0 are.")


def _binary(values: Sequence[Any], *, tf_form: bool, strict: bool) -> Vector:
    cells: list[bytes] = []
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise Refused(row, f"{quote(value)} is not text.")
        try:
            if tf_form:
                cells.append(value.encode("ascii"))
            elif strict:
                # MIME line ends are part of the encoding that upstream's own clients send.
                cells.append(base64.b64decode("".join(value.split()), validate=True))
            else:
                cells.append(base64.decodebytes(value.encode()))
        except (binascii.Error, ValueError):
            raise Refused(row, f"{quote(value)} is not valid {'ASCII' if tf_form else 'base64'}.") from None
    return object_array(cells)


def _nested(values: Sequence[Any], kind: Type, required: bool, *, strict: bool) -> Vector:
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        try:
            if strict and DataType.datetime in scalars_of(kind):
                check_times(value, kind)
            array[row] = enforce_value(None if is_missing(value) else value, kind, required, json=True)
        except SchemaEnforcementFailed as error:
            raise Refused(row, error.message) from None
    return array


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
        raise Refused(-1, "A value cannot be cast.") from None
    if column.ndim != 1:
        raise Refused(-1, "A list is not a value of the column.")
    return np.asarray(column)


_CASTS: dict[DataType, Callable[[Sequence[Any]], Vector]] = {
    DataType.boolean: _booleans,
    DataType.integer: _integers(DataType.integer),
    DataType.long: _integers(DataType.long),
    DataType.float: _floats(DataType.float),
    DataType.double: _floats(DataType.double),
    DataType.string: object_array,
}
