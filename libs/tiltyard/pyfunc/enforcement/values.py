"""Stage 2 for one value of a nested type: array, object, map, any, and the scalars inside them.

Source: mlflow/models/utils.py (_enforce_type and below) at v3.17.2.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tiltyard.errors import SchemaEnforcementFailed, name_list, quote
from tiltyard.pyfunc.data_types import AnyType, Array, DataType, Map, Object, Type

_EXACT: dict[DataType, type] = {
    DataType.boolean: bool,
    DataType.long: int,
    DataType.double: float,
    DataType.string: str,
}
# What pandas makes of one of those.
_PLAIN: dict[DataType, Any] = {
    DataType.boolean: np.bool_,
    DataType.long: np.int64,
    DataType.double: np.float64,
    DataType.string: str,
}
_JSON_NUMBERS: dict[DataType, Any] = {
    DataType.integer: np.int32,
    DataType.float: np.float32,
    DataType.double: np.float64,
}
_INT64 = range(-(2**63), 2**63)
_EXACT_DOUBLES = range(-(2**53), 2**53 + 1)


def enforce_value(data: Any, kind: Type, required: bool = True, *, json: bool = False) -> Any:
    """`data` as the model takes it for `kind`; containers are new, never changed in place.

    `json` says that the value was read from JSON, which has one kind of number: then a number that the
    type can hold exactly is taken (2 for a double, 5 for a 32-bit integer, any decimal for a float).

    Raises:
        SchemaEnforcementFailed: the value, or one inside it, is not of the type.
    """
    if isinstance(kind, DataType):
        return _scalar(data, kind, required, json)
    if isinstance(kind, Array):
        return _array(data, kind, required, json)
    if isinstance(kind, Object):
        return _object(data, kind, required, json)
    if isinstance(kind, Map):
        return _map(data, kind, required, json)
    return data


def is_missing(value: Any) -> bool:
    """Whether a single value stands for 'nothing': None, NaN, NaT or pandas' NA."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _scalar(data: Any, kind: DataType, required: bool, json: bool) -> Any:
    if not required and is_missing(data):
        return None
    if not np.isscalar(data):
        raise SchemaEnforcementFailed(f"Expected data to be scalar, got {type(data).__name__}")
    if json and (number := _json_number(data, kind)) is not None:
        return number
    if type(data) is _EXACT.get(kind) and (type(data) is not int or data in _INT64):
        # A column for each value, as below, takes a hundred times as long.
        return _PLAIN[kind](data)
    if type(data) in (str, bytes) and kind in (DataType.boolean, DataType.binary):
        # A column of objects stays one.
        return data
    if type(data) is str and kind in (DataType.integer, DataType.long, DataType.float):
        raise _no_scalar(data, kind)
    import pandas as pd

    from tiltyard.pyfunc.enforcement.columns import enforce_column

    try:
        return enforce_column("", pd.Series(data), kind)[0]
    except (SchemaEnforcementFailed, TypeError, ValueError, OverflowError):
        raise _no_scalar(data, kind) from None


def _no_scalar(data: Any, kind: DataType) -> SchemaEnforcementFailed:
    return SchemaEnforcementFailed(f"Failed to enforce schema of data {quote(data)} with dtype `{kind}`")


def _array(data: Any, kind: Array, required: bool, json: bool) -> Any:
    if not required or isinstance(kind.items, AnyType):
        empty = data == [] if isinstance(data, list) else isinstance(data, np.ndarray) and data.size == 0
        if data is None or empty:
            return data
    if not isinstance(data, list | np.ndarray) or (isinstance(data, np.ndarray) and data.ndim == 0):
        raise SchemaEnforcementFailed(f"Expected data to be list or numpy array, got {type(data).__name__}")
    items = _items(data, kind.items, json) if isinstance(kind.items, DataType) else None
    if items is None:
        items = [enforce_value(item, kind.items, required, json=json) for item in data]
    if isinstance(data, list):
        return items.tolist() if isinstance(items, np.ndarray) else items
    return items if isinstance(items, np.ndarray) else np.array(items)


def _items(data: Any, kind: DataType, json: bool) -> Any:  # noqa: PLR0911 - one per way to be typed
    """The items of an array of scalars; typed as pandas would type a column of them."""
    if len(data) == 0:
        return data
    if isinstance(data, list):
        if kind is DataType.binary and set(map(type, data)) <= {str, bytes}:
            # As below, without a column for each list.
            return _binary(data)
        exact = _EXACT.get(kind)
        if (
            exact is not None
            and set(map(type, data)) == {exact}
            and (exact is not int or (min(data) in _INT64 and max(data) in _INT64))
        ):
            return list(data)
        if (
            json
            and kind is DataType.double
            and all(type(item) is float or (type(item) is int and item in _EXACT_DOUBLES) for item in data)
        ):
            return list(map(float, data))
        if json:
            numbers = [_json_number(item, kind) for item in data]
            if None not in numbers:
                return [number.item() for number in numbers]
    import pandas as pd

    from tiltyard.pyfunc.enforcement.columns import enforce_column

    try:
        column = enforce_column("", pd.Series(data), kind)
        if kind is DataType.string:
            texts = [_text(item) for item in column]
            return texts if isinstance(data, list) else np.array(texts, dtype=object if None in texts else str)
        if kind is DataType.binary:
            return _binary(column.tolist())
        return column.to_numpy(dtype=np.dtype(kind.dtype))
    except (TypeError, ValueError, OverflowError):
        raise SchemaEnforcementFailed(f"Array items cannot be converted to `{kind}`") from None


def _text(item: Any) -> str | None:
    """An item of an array of text. Upstream writes the text 'None' for a null, which stays a null with us."""
    if is_missing(item):
        return None
    return item.decode("ascii") if isinstance(item, bytes) else str(item)


def _json_number(value: Any, kind: DataType) -> Any:
    """`value` in the type if it is a JSON number that the type can hold, else None."""
    target = _JSON_NUMBERS.get(kind)
    if target is None or type(value) not in (int, float) or (kind is DataType.integer and type(value) is float):
        return None
    try:
        if target is np.float32:
            with np.errstate(over="ignore"):
                number = target(value)
        else:
            number = target(value)
    except OverflowError:
        return None
    exact = math.isfinite(number) and (type(value) is float or int(number) == value)
    return number if exact else None


def _binary(items: list[Any]) -> list[bytes]:
    result = []
    for item in items:
        if isinstance(item, bytes | bytearray):
            result.append(bytes(item))
        elif isinstance(item, str) and item.isascii():
            result.append(item.encode())
        else:
            raise SchemaEnforcementFailed(f"Array item {quote(item)} is not bytes")
    return result


def _object(data: Any, kind: Object, required: bool, json: bool) -> Any:
    if not required and (data is None or data == {}):
        return data
    if not isinstance(data, Mapping):
        raise SchemaEnforcementFailed(
            f"Failed to enforce schema with type '{kind}'. Expected data to be dictionary, got {type(data).__name__}"
        )
    missing = [entry.name for entry in kind.properties if entry.required and entry.name not in data]
    if missing:
        raise SchemaEnforcementFailed(f"Missing required properties: {name_list(missing)}")
    unknown = [name for name in data if name not in kind.by_name]
    if unknown:
        raise SchemaEnforcementFailed(f"Invalid properties not defined in the schema found: {name_list(unknown)}")
    result = {}
    for name, value in data.items():
        entry = kind.by_name[name]
        try:
            result[name] = enforce_value(value, entry.type, entry.required, json=json)
        except SchemaEnforcementFailed as error:
            raise SchemaEnforcementFailed(
                f"Failed to enforce schema for key `{name}`. Expected type {entry.type}, "
                f"received type {type(value).__name__}. {error.message}"
            ) from None
    return result


def _map(data: Any, kind: Map, required: bool, json: bool) -> Any:
    if (not required or isinstance(kind.values, AnyType)) and (data is None or data == {}):
        return data
    if not isinstance(data, Mapping):
        raise SchemaEnforcementFailed(f"Expected data to be a dict, got {type(data).__name__}")
    if not all(isinstance(key, str) for key in data):
        raise SchemaEnforcementFailed("Expected all keys in the map type data are string type.")
    return {key: enforce_value(value, kind.values, required, json=json) for key, value in data.items()}
