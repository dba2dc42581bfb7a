"""Tensors of the Open Inference Protocol V2: in JSON or binary to arrays, and what a model returns to tensors.

Source: https://github.com/kserve/open-inference-protocol and the binary tensor data extension of Triton.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from tiltyard.errors import BadRequest, InternalError, quote
from tiltyard.pyfunc.enforcement.values import is_missing
from tiltyard.pyfunc.payload.casts import Refused
from tiltyard.pyfunc.payload.casts.tensors import check_exact
from tiltyard.pyfunc.payload.chunks import array_of, types_of
from tiltyard.pyfunc.payload.output import Unsayable, plain, to_jsonable

DTYPES = {
    "BOOL": "bool",
    **{f"UINT{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
BYTES = "BYTES"

DATATYPES = {name: datatype for datatype, name in DTYPES.items()}
OUTPUT = "predictions"

_MAX_DIMENSIONS = 16
_INT64 = range(-(2**63), 2**63)


class Tensor(msgspec.Struct, omit_defaults=True):
    """One tensor. Without `data` it is among the bytes after the JSON, `parameters.binary_data_size` of them."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = msgspec.UNSET


class Output(NamedTuple):
    """A tensor of an answer. `values` are flat, an array of the datatype or a list with None for what is missing."""

    datatype: str
    shape: list[int]
    values: Any


# --- Inputs -----------------------------------------------------------------------------------------------


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    if tensor.datatype not in DTYPES and tensor.datatype != BYTES:
        raise bad(tensor, f"the datatype '{tensor.datatype[:40]}' is not one of {', '.join([*DTYPES, BYTES])}")
    if not 1 <= len(tensor.shape) <= _MAX_DIMENSIONS or any(not 0 <= size < 2**31 for size in tensor.shape):
        raise bad(tensor, f"its shape must have 1 to {_MAX_DIMENSIONS} sizes from 0")
    return tuple(tensor.shape)


def from_json(tensor: Tensor, shape: tuple[int, ...]) -> Any:
    """The array of a flat or nested list, whose values must be what the datatype says."""
    values = tensor.data
    if not isinstance(values, list):
        raise bad(tensor, "its data must be a list")
    for _ in range(_MAX_DIMENSIONS):
        if not values or types_of(values) != {list}:
            break
        values = [value for row in values for value in row]
    if tensor.datatype == BYTES:
        allowed: set[type] = {str}
    elif tensor.datatype == "BOOL":
        allowed = {bool}
    else:
        allowed = {int, float} if tensor.datatype.startswith("FP") else {int}
    kinds = types_of(values)
    if found := kinds - allowed - {type(None)}:
        raise bad(tensor, f"its data is {tensor.datatype} and holds a {min(kind.__name__ for kind in found)}")
    dtype = DTYPES.get(tensor.datatype, "object")
    try:
        with np.errstate(over="raise"):
            if tensor.datatype.startswith("FP"):
                array = check_exact(values, array_of(values, dtype)) if int in kinds else array_of(values, dtype)
            elif type(None) in kinds:
                # Only objects can be missing beside integers, truth values and texts.
                array_of([value for value in values if value is not None], dtype)
                array = array_of(values, object)
            else:
                array = array_of(values, dtype)
    except Refused as refused:
        raise bad(tensor, refused.why.rstrip(".")) from None
    except (OverflowError, FloatingPointError, ValueError):
        raise bad(tensor, f"a value is out of the range of {tensor.datatype}") from None
    return _reshaped(tensor, array, shape)


def from_bytes(tensor: Tensor, shape: tuple[int, ...], data: bytes) -> Any:
    if tensor.datatype != BYTES:
        dtype = np.dtype(DTYPES[tensor.datatype]).newbyteorder("<")
        if len(data) % dtype.itemsize:
            raise bad(tensor, f"{len(data)} bytes are no whole number of {tensor.datatype} values")
        if tensor.datatype == "BOOL" and data.translate(None, b"\x00\x01"):
            raise bad(tensor, "a BOOL is a byte of 0 or 1")
        return _reshaped(tensor, np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")), shape)
    values: list[Any] = []
    at = 0
    while at < len(data):
        end = at + 4
        if end <= len(data):
            end += struct.unpack_from("<I", data, at)[0]
        if end > len(data) or at + 4 > len(data):
            raise bad(tensor, "its binary data ends within a value")
        value = data[at + 4 : end]
        try:
            values.append(value.decode())
        except UnicodeDecodeError:
            values.append(value)
        at = end
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return _reshaped(tensor, array, shape)


def _reshaped(tensor: Tensor, array: Any, shape: tuple[int, ...]) -> Any:
    expected = 1
    for size in shape:
        expected *= size
    if expected != array.size:
        raise bad(tensor, f"its shape {list(shape)} has {expected} values, its data {array.size}")
    return array.reshape(shape)


def bad(tensor: Tensor, why: str) -> BadRequest:
    return BadRequest(f"Input '{tensor.name[:100]}': {why}.")


# --- Outputs ----------------------------------------------------------------------------------------------


def outputs_of(predictions: Any) -> dict[str, Output]:
    """The tensors of what a model returned, by name: the columns of a table, the values of a mapping, or one.

    Raises:
        BadRequest: it is no tensors.
        InternalError: two of them have one name.
    """
    outputs: dict[str, Output] = {}
    try:
        for name, value in _named(predictions):
            if name in outputs:
                raise InternalError(f"The model's output has two values of the name {quote(name)}.")
            outputs[name] = _output(value)
    except Unsayable as unsayable:
        raise BadRequest(
            f"The model's output of type '{type(predictions).__name__}' cannot be written as tensors: {unsayable.why}."
        ) from None
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise BadRequest(f"The model's output of type '{type(predictions).__name__}' is no tensor.") from None
    return outputs


def to_bytes(name: str, output: Output) -> bytes:
    """The tensor as binary data. Raises: BadRequest if only JSON can say its values."""
    values = output.values
    if isinstance(values, list) and any(value is None for value in values):
        if not output.datatype.startswith("FP"):
            raise BadRequest(
                f"Output {quote(name)} has missing values, which binary data of {output.datatype} cannot say; "
                "ask for JSON."
            )
        values = np.array(values, dtype=DTYPES[output.datatype])
    if output.datatype != BYTES:
        array = np.asarray(values, dtype=DTYPES[output.datatype])
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    try:
        texts = [value.encode() for value in values]
    except UnicodeEncodeError:
        raise BadRequest(f"Output {quote(name)} has a text that UTF-8 cannot say; ask for JSON.") from None
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _named(predictions: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(predictions, pd.DataFrame):
        for number, name in enumerate(predictions.columns):
            yield str(plain(name)), predictions.iloc[:, number]
    elif isinstance(predictions, dict):
        for name, value in predictions.items():
            yield str(plain(name)), value
    elif isinstance(predictions, np.ndarray) and predictions.dtype.names:
        for name in predictions.dtype.names:
            yield name, predictions[name]
    else:
        yield OUTPUT, predictions


def _output(value: Any) -> Output:
    array = np.atleast_1d(_array(value))
    shape = list(array.shape)
    if str(array.dtype) in DATATYPES:
        return Output(DATATYPES[str(array.dtype)], shape, array.reshape(-1))
    values = [_item(item) for item in array.reshape(-1).tolist()]
    if array.dtype.kind == "M":
        values = to_jsonable(array.reshape(-1))
    kinds = {type(item) for item in values if item is not None}
    if kinds == {bool}:
        return Output("BOOL", shape, values)
    if kinds == {int} and all(item is None or item in _INT64 for item in values):
        return Output("INT64", shape, values)
    if float in kinds and kinds <= {int, float}:
        return Output("FP64", shape, to_jsonable(values))
    return Output(BYTES, shape, [None if item is None else _text(item) for item in values])


def _array(value: Any) -> Any:  # noqa: PLR0911 - one return per kind of value
    """An array of one dtype, or of objects where a common one would change a value."""
    if isinstance(value, np.ma.MaskedArray):
        if not np.ma.is_masked(value):
            return np.asarray(value)
        data: Any = np.array(value, dtype=None if value.dtype.kind == "M" else object)
        data[np.ma.getmaskarray(value)] = np.datetime64("NaT") if value.dtype.kind == "M" else None
        return data
    if isinstance(value, pd.Series):
        # Types of pandas' own would become floats beside what is missing.
        return value.to_numpy() if isinstance(value.dtype, np.dtype) else value.astype(object).to_numpy()
    if not isinstance(value, list | tuple):
        return np.asarray(value if isinstance(value, np.generic) else plain(value))
    if not _kinds(value) <= {int, float, bool}:
        return np.array(value, dtype=object)
    array = np.asarray(value)
    try:
        return check_exact(value, array)
    except Refused:
        return np.array(value, dtype=object)


def _kinds(values: Sequence[Any]) -> set[type]:
    kinds = types_of(values)
    for value in values if kinds & {list, tuple} else ():
        kinds |= _kinds(value) if isinstance(value, list | tuple) else set()
    # What numpy made has one kind already.
    return {kind for kind in kinds - {list, tuple} if not issubclass(kind, np.generic | np.ndarray)}


def _item(value: Any) -> Any:
    """A value among others, None if it is missing; times stay as they are."""
    if isinstance(value, np.generic) and value.dtype.kind != "M":
        value = value.item()
    return None if value is np.ma.masked or is_missing(value) else plain(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    said = to_jsonable(value)
    return said if isinstance(said, str) else msgspec.json.encode(said).decode()
