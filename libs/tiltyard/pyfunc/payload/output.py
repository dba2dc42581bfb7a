"""What a model returned, as the answer's JSON.

The answer is always valid RFC 8259: NaN, infinities and missing values are `null`. Bytes are base64 without
the line end that upstream appends.

Source: mlflow/pyfunc/scoring_server/__init__.py (predictions_to_json) at v3.17.2 for the shapes.
"""

import base64
import datetime as dt
import enum
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from tiltyard.errors import InternalError, quote
from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard.pyfunc.payload.chunks import CHUNK_VALUES, cells_of

_BASES = (bool, int, float, str, bytes, type(None))
_PLAIN = {str, bool, float, type(None)}
_SCALARS = (bool, int, float, str, enum.Enum)


def plain(value: Any) -> Any:  # noqa: PLR0911 - one return per kind of value
    """The text, number or bytes that `value` holds, whatever its class makes of it; other values as they are.

    A member of any enum is its value, a scalar of numpy is Python's; times stay what they are.
    """
    if type(value) in _BASES:
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, np.generic):
        return value.item() if value.dtype.kind in "biufUSO" else value
    # The methods of the plain types: those of the subclass may say something else, such as the member's name.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return bytes(memoryview(value))
    return value


class Unsayable(TypeError):
    """A value that JSON cannot say; `why` completes 'cannot be written: '."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def encode(predictions: Any, bounds: Bounds | None = None) -> bytes:
    """`{"predictions": …}` as UTF-8 JSON.

    A DataFrame becomes a list of row objects, a Series a list of one-key objects, an ndarray nested lists. Of what is
    written in pieces no more is written than the bounds allow.

    Raises:
        PayloadTooLarge: it is longer.
        InternalError: the model returned something that JSON cannot say, such as a set or a Decimal.
    """
    try:
        if isinstance(predictions, np.ndarray) and predictions.dtype.kind in "bif" and predictions.size <= CHUNK_VALUES:
            return _encoder.encode({"predictions": predictions.tolist()})
        if (pieces := _pieces(predictions)) is not None:
            return b"".join((b'{"predictions":[', *_texts(pieces, bounds), b"]}"))
        return _encoder.encode({"predictions": to_jsonable(predictions)})
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        return _otherwise(predictions, error)


def long_json(values: Any, bounds: Bounds | None = None) -> msgspec.Raw | None:
    """The JSON of many values, written in pieces, so that others get their turn; None for what one call may write.

    Raises: PayloadTooLarge, Unsayable.
    """
    pieces = _pieces(values)
    return None if pieces is None else msgspec.Raw(b"".join((b"[", *_texts(pieces, bounds), b"]")))


def _pieces(values: Any) -> Iterator[Any] | None:
    """The rows, some at a time, if they are many."""
    rows: Any = values
    if isinstance(values, np.ndarray):
        size = values.size
    elif isinstance(values, list | tuple):
        size = len(values) * cells_of(values)
    elif type(values).__module__.startswith("pandas.") and hasattr(values, "iloc"):
        size, rows = values.size, values.iloc
    else:
        return None
    if size <= CHUNK_VALUES:
        return None
    step = max(1, CHUNK_VALUES * len(values) // size)
    return (rows[at : at + step] for at in range(0, len(values), step))


def _texts(pieces: Iterator[Any], bounds: Bounds | None) -> Iterator[bytes]:
    """The text of each piece, a list, without its brackets. Raises: PayloadTooLarge: with it all are too long."""
    comma, size_bytes = b"", 0
    for piece in pieces:
        rows = to_jsonable(piece)
        try:
            text = _encoder.encode(rows)
        except UnicodeEncodeError:
            text = _encoder.encode(escaped(rows))
        size_bytes += len(text)
        if bounds is not None:
            bounds.check_answer(size_bytes)
        yield comma + text[1:-1]
        comma = b","


def _otherwise(predictions: Any, error: Exception) -> bytes:
    """The answer with escapes, if only that kept it from being written. Raises: InternalError."""
    if isinstance(error, UnicodeEncodeError):
        try:
            return _encoder.encode({"predictions": escaped(to_jsonable(predictions))})
        except Unsayable as unsayable:
            error = unsayable
    kind = type(predictions).__name__
    why = error.why if isinstance(error, Unsayable) else "it holds itself, or too many values in each other"
    why = "JSON has no such value" if why == f"it holds a '{kind}'" else why
    raise InternalError(f"The model's output of type '{kind}' cannot be written as JSON: {why}.") from None


def to_jsonable(value: Any) -> Any:  # noqa: PLR0911 - one return per kind of value
    """`value` in plain JSON values. Raises: Unsayable, a TypeError, for what JSON cannot say."""
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


def escaped(value: Any) -> Any:
    """`value` with texts of half a character as JSON's escapes, which alone can say them; UTF-8 cannot."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return msgspec.Raw(json.dumps(value).encode())
    if isinstance(value, dict):
        if any(escaped(name) is not name for name in value):
            raise Unsayable("the name of a value is no text of whole characters")
        return {name: escaped(item) for name, item in value.items()}
    return [escaped(item) for item in value] if isinstance(value, list | tuple) else value


def _array(value: "np.ndarray[Any, Any]") -> Any:
    if value.dtype.kind in "bif":
        return value.tolist()
    if value.dtype.kind == "M":
        return [_array(row) for row in value] if value.ndim > 1 else [to_jsonable(moment) for moment in value.flat]
    if value.dtype.names and value.ndim == 1:
        # Field by field: together they would become plain values that say less, such as times that become numbers.
        return list(map(list, zip(*(_array(value[name]) for name in value.dtype.names), strict=True)))
    return to_jsonable(value.tolist())


def _pandas(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, pd.Series):
        value = value.to_frame()
    if isinstance(value, pd.DataFrame):
        names = [_key(name) for name in value.columns]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise Unsayable(f"it has the column {quote(twice)} more than once")
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
        return to_jsonable(plain(value))
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return to_jsonable(dump())
    toarray = getattr(value, "toarray", None)
    if callable(toarray):
        return to_jsonable(toarray())
    raise Unsayable(f"it holds a '{type(value).__name__}'")


def _key(name: Any) -> str:
    if isinstance(name, str):
        return str(plain(name))
    if isinstance(name, bool) or name is None:
        return {True: "true", False: "false", None: "null"}[name]
    return str(plain(name))


_encoder = msgspec.json.Encoder()
