"""Model inputs and outputs as msgpack: read by another Python with other versions of numpy and pandas.

They travel as whole messages over a connected socket. Nothing is pickled, so neither side can make the other run code.
Values keep their types; a value that no answer could say arrives as one that cannot be encoded either, with the name of
its type.
"""

import datetime as dt
import decimal
import enum
import socket
import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from tiltyard.pyfunc.payload.output import plain

_LENGTH = struct.Struct("!Q")

_PLAIN = {str, bytes, bool, float, type(None)}
_BASES = (int, float, str, bytes, enum.Enum)
_INT64 = 2**63
_RAW_KINDS = "biufcmMSUV"

_ARRAY, _FRAME, _SERIES, _INDEX, _EXTENSION, _SCALAR, _BIG, _TUPLE = range(1, 9)
_DATE, _TIME, _STAMP, _DECIMAL, _MISSING, _OPAQUE, _PAIRS = range(9, 16)
_MASKED, _RECORDS, _CATEGORIES = range(16, 19)


def encode(value: Any) -> bytes:
    """`value` for the other side."""
    return _encoder.encode(_pack(value))


def decode(message: bytes | bytearray) -> Any:
    """What the other side encoded. Arrays are writable and own their memory."""
    return _decoder.decode(message)


def _pack(value: Any) -> Any:  # noqa: PLR0911, PLR0912 - one return per kind of value
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        return value if -_INT64 <= value < _INT64 else _ext(_BIG, str(value))
    if kind is list:
        kinds = set(map(type, value))
        if kinds <= _PLAIN or (kinds == {int} and -_INT64 <= min(value) <= max(value) < _INT64):
            return value
        return [_pack(item) for item in value]
    if kind is dict:
        if set(map(type, value)) <= {str}:
            return {name: _pack(item) for name, item in value.items()}
        return _ext(_PAIRS, [[_pack(name), _pack(item)] for name, item in value.items()])
    if isinstance(value, np.ndarray):
        return _pack_array(value)
    if isinstance(value, pd.DataFrame):
        return _pack_frame(value)
    if isinstance(value, pd.Series):
        return _ext(_SERIES, [_pack(value.name), _pack_index(value.index), _pack(_values(value))])
    if isinstance(value, pd.Index):
        return _ext(_INDEX, _pack_index(value))
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return _pack_extension(value)
    if value is pd.NaT or value is pd.NA:
        return _ext(_MISSING, value is pd.NaT)
    if isinstance(value, np.generic):
        return _ext(_SCALAR, _pack_array(np.asarray(value)))
    if isinstance(value, tuple):
        return _ext(_TUPLE, [_pack(item) for item in value])
    if isinstance(value, pd.Timestamp):
        return _ext(_STAMP, value.isoformat())
    if isinstance(value, dt.date):
        return _ext(_DATE, [isinstance(value, dt.datetime), value.isoformat()])
    if isinstance(value, dt.time):
        return _ext(_TIME, value.isoformat())
    if isinstance(value, decimal.Decimal):
        return _ext(_DECIMAL, str(value))
    return _pack_other(value)


def _pack_other(value: Any) -> Any:
    """What extends a plain kind, as that; what says itself in plain values, as those."""
    if isinstance(value, _BASES):
        return _pack(plain(value))
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Mapping):
        return _pack(dict(value))
    if isinstance(value, list):
        return [_pack(item) for item in value]
    for name in ("model_dump", "toarray"):
        if callable(method := getattr(value, name, None)):
            return _pack(method())
    return _ext(_OPAQUE, type(value).__name__)


def _pack_array(array: "np.ndarray[Any, Any]") -> Any:
    if isinstance(array, np.ma.MaskedArray):
        return _ext(_MASKED, [_pack_array(np.asarray(array)), _pack_array(np.ma.getmaskarray(array))])
    if array.dtype.names:
        fields = [[name, _pack_array(array[name])] for name in array.dtype.names]
        return _ext(_RECORDS, [list(array.shape), fields])
    if array.dtype.kind in _RAW_KINDS and not array.dtype.hasobject:
        # Written as rows even if it lies in columns, which a DataFrame's matrix does.
        fortran = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
        flat = array.T if fortran else array
        return _ext(_ARRAY, [array.dtype.str, list(flat.shape), fortran, np.ascontiguousarray(flat).tobytes()])
    return _ext(_ARRAY, ["O", list(array.shape), False, [_pack(item) for item in array.ravel().tolist()]])


def _pack_frame(frame: pd.DataFrame) -> Any:
    labels = _pack_index(frame.columns)
    index = _pack_index(frame.index)
    dtypes = set(frame.dtypes)
    if len(dtypes) == 1 and isinstance(dtype := dtypes.pop(), np.dtype) and dtype.kind in "biuf":
        return _ext(_FRAME, [labels, index, _pack_array(frame.to_numpy()), None])
    return _ext(_FRAME, [labels, index, None, [_pack(_values(frame.iloc[:, i])) for i in range(frame.shape[1])]])


def _pack_index(index: "pd.Index[Any]") -> Any:
    if isinstance(index, pd.RangeIndex):
        return [_pack(index.name), [index.start, index.stop, index.step], None]
    if isinstance(index, pd.MultiIndex):
        return [[_pack(name) for name in index.names], None, [_pack(label) for label in index.tolist()]]
    return [_pack(index.name), None, _pack(_values(index))]


def _values(column: Any) -> Any:
    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array


def _pack_extension(array: Any) -> Any:
    if isinstance(array, pd.Categorical):
        # With the categories that no value has, and their order: both are part of what a model sees.
        return _ext(_CATEGORIES, [_pack_index(array.categories), _pack_array(np.asarray(array.codes)), array.ordered])
    return _ext(_EXTENSION, [str(array.dtype), [None if item is pd.NA else _pack(item) for item in array]])


def _ext(code: int, content: Any) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, _encoder.encode(content))


def _array(content: list[Any]) -> Any:
    dtype, shape, fortran, data = content
    if dtype == "O":
        array = np.empty(len(data), dtype=object)
        array[:] = data
        return array.reshape(shape)
    # A copy: models may write into what they are given.
    flat = np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape).copy()
    return flat.T if fortran else flat


def _frame(content: list[Any]) -> Any:
    labels, index, matrix, columns = content
    rows = _index(index)
    if matrix is not None:
        return pd.DataFrame(matrix, index=rows, columns=_index(labels), copy=False)
    frame = pd.DataFrame(dict(enumerate(columns)), index=rows)
    frame.columns = _index(labels)
    return frame


def _index(content: list[Any]) -> Any:
    name, bounds, values = content
    if bounds is not None:
        first, end, step = bounds
        return pd.RangeIndex(first, end, step, name=name)
    if isinstance(name, list):
        return pd.MultiIndex.from_tuples(values, names=name)
    return pd.Index(values, name=name)


def _series(content: list[Any]) -> Any:
    name, index, values = content
    return pd.Series(values, index=_index(index), name=name)


def _date(content: list[Any]) -> Any:
    timed, text = content
    return dt.datetime.fromisoformat(text) if timed else dt.date.fromisoformat(text)


def _records(content: list[Any]) -> Any:
    shape, fields = content
    array = np.empty(shape, dtype=[(name, values.dtype, values.shape[len(shape) :]) for name, values in fields])
    for name, values in fields:
        array[name] = values
    return array


def _categories(content: list[Any]) -> Any:
    categories, codes, ordered = content
    return pd.Categorical.from_codes(codes, categories=_index(categories), ordered=ordered)


_READ: dict[int, Any] = {
    _ARRAY: _array,
    _FRAME: _frame,
    _SERIES: _series,
    _INDEX: _index,
    _EXTENSION: lambda content: pd.array(content[1], dtype=content[0]),
    _SCALAR: lambda array: array[()],
    _BIG: int,
    _TUPLE: tuple,
    _DATE: _date,
    _TIME: dt.time.fromisoformat,
    _STAMP: pd.Timestamp,
    _DECIMAL: decimal.Decimal,
    _MISSING: lambda is_time: pd.NaT if is_time else pd.NA,
    _OPAQUE: lambda name: type(name, (), {})(),
    _PAIRS: dict,
    _MASKED: lambda content: np.ma.MaskedArray(*content),
    _RECORDS: _records,
    _CATEGORIES: _categories,
}
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
    ext_hook=lambda code, data: _READ[code](_decoder.decode(data))
)


def send(connection: socket.socket, message: bytes) -> None:
    """Sends one message. Raises: OSError when the other side is gone or the socket's time is over."""
    connection.sendall(_LENGTH.pack(len(message)))
    connection.sendall(message)


def receive(connection: socket.socket) -> bytearray:
    """The next message.

    Raises:
        EOFError: the other side is gone.
        OSError: the socket's time is over, among others.
    """
    [length] = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return _exactly(connection, length)


def _exactly(connection: socket.socket, size_bytes: int) -> bytearray:
    data = bytearray(size_bytes)
    left = memoryview(data)
    while left:
        came = connection.recv_into(left)
        if not came:
            raise EOFError("the other side has closed the connection")
        left = left[came:]
    return data
