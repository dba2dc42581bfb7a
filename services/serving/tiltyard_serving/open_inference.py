"""The Open Inference Protocol V2: its messages, and tensors in JSON or binary to a model's input and back.

Source: https://github.com/kserve/open-inference-protocol and the binary tensor data extension of Triton.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from tiltyard.errors import BadRequest, SchemaEnforcementFailed
from tiltyard.pyfunc.bounds import DEFAULT as DEFAULT_BOUNDS
from tiltyard.pyfunc.bounds import JSON_SEPARATORS, Bounds
from tiltyard.pyfunc.enforce import enforce
from tiltyard.pyfunc.output import to_jsonable
from tiltyard.pyfunc.params import validate_params
from tiltyard.pyfunc.payload import Payload
from tiltyard.pyfunc.schema import ColSpec, DataType, Schema
from tiltyard.pyfunc.signature import Signature

DTYPES = {
    "BOOL": "bool",
    **{f"UINT{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
BYTES = "BYTES"
OUTPUT = "predictions"

_DATATYPES = {name: datatype for datatype, name in DTYPES.items()}
_COLUMN_TYPES = {
    DataType.boolean: "BOOL",
    DataType.integer: "INT32",
    DataType.long: "INT64",
    DataType.float: "FP32",
    DataType.double: "FP64",
}
_MAX_DIMENSIONS = 16

# So much JSON is read within 5 ms whatever it says, and so many bytes of numbers beside it.
_AT_ONCE_JSON_BYTES = 12 * 1024
_AT_ONCE_BYTES = 512 * 1024


class Tensor(msgspec.Struct, omit_defaults=True):
    """One tensor. Without `data` it is among the bytes after the JSON, `parameters.binary_data_size` of them."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = msgspec.UNSET


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[RequestedOutput] | None = None


class InferReply(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[Tensor]
    id: str | None = None


class TensorAbout(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]


class ModelAbout(msgspec.Struct):
    """The metadata of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorAbout]
    outputs: list[TensorAbout]


def is_brief(body: bytes, json_bytes: int | None) -> bool:
    """Whether a request takes so little time to read that the event loop may do it."""
    if json_bytes is None or json_bytes >= len(body):
        return len(body) <= _AT_ONCE_JSON_BYTES
    # Texts are read one by one, numbers as they are.
    return (
        json_bytes <= _AT_ONCE_JSON_BYTES
        and len(body) <= _AT_ONCE_BYTES
        and (len(body) <= _AT_ONCE_JSON_BYTES or b"BYTES" not in body[:json_bytes])
    )


def read(body: bytes, json_bytes: int | None, bounds: Bounds = DEFAULT_BOUNDS) -> tuple[InferRequest, dict[str, Any]]:
    """The request, and its tensors as arrays by name.

    Args:
        json_bytes: how much of the body is JSON; None is all of it.
        bounds: what the body may stand for.

    Raises:
        BadRequest: it is malformed; the tensor is named.
        PayloadTooLarge: it holds more than the bounds allow.
    """
    end = len(body) if json_bytes is None else json_bytes
    if end > len(body):
        raise BadRequest(f"Inference-Header-Content-Length is {end}, but the body has {len(body)} bytes.")
    bounds.check_text(memoryview(body)[:end], JSON_SEPARATORS)
    try:
        request = msgspec.json.decode(memoryview(body)[:end], type=InferRequest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        why = str(error)[:200] if isinstance(error, msgspec.MsgspecError) else type(error).__name__
        raise BadRequest(f"The inference request cannot be read: {why}.") from None
    if not request.inputs:
        raise BadRequest("The inference request has no inputs.")
    bounds.check_columns(len(request.inputs))
    named = [output.name for output in request.outputs or ()]
    if len(set(named)) < len(named):
        # Each would be written again: a small request could ask for a very large answer.
        raise BadRequest("The inference request names an output twice.")
    arrays: dict[str, Any] = {}
    for tensor in request.inputs:
        if tensor.name in arrays:
            raise BadRequest(f"Input '{tensor.name[:100]}' is there twice.")
        shape = _shape(tensor)
        if tensor.data is not msgspec.UNSET:
            arrays[tensor.name] = _from_json(tensor, shape)
            continue
        size_bytes = tensor.parameters.get("binary_data_size")
        if type(size_bytes) is not int or not 0 <= size_bytes <= len(body) - end:
            raise _bad(tensor, "it has neither 'data' nor a 'binary_data_size' that the body can hold")
        arrays[tensor.name] = _from_bytes(tensor, shape, body[end : end + size_bytes])
        end += size_bytes
    if end != len(body):
        raise BadRequest(f"The body has {len(body) - end} bytes more than its tensors.")
    return request, arrays


def to_payload(request: InferRequest, arrays: dict[str, Any], signature: Signature | None) -> Payload:
    """The payload of the tensors: cast by nobody, enforced by the signature.

    Columns are tensors of shape [n] or [n, 1] by name; one tensor of shape [n, k] is all k columns.

    Raises:
        SchemaEnforcementFailed: inputs are missing, or do not fit the signature.
        InvalidParameterValue: params do not fit.
    """
    schema = None if signature is None else signature.inputs
    if schema is not None and schema.tensors:
        payload = _tensors(arrays, schema)
    elif schema is None and len(arrays) == 1:
        (array,) = arrays.values()
        payload = Payload.tensor(array)
    else:
        frame = _frame(arrays, schema)
        enforced = frame if schema is None else enforce(frame, schema)
        payload = _payload(enforced)
    if signature is not None and signature.params is not None:
        known = {spec.name for spec in signature.params.params}
        if params := {name: value for name, value in request.parameters.items() if name in known}:
            payload.params = validate_params(params, signature.params)
            payload.merge_key = None
    return payload


def write(predictions: Any, request: InferRequest, name: str, version: str) -> tuple[bytes, int | None]:
    """The reply's body, and how much of it is JSON when binary tensors follow.

    Raises:
        BadRequest: an output is asked for that there is not, or the predictions are no tensors.
    """
    outputs = dict(_outputs(predictions))
    wanted = request.outputs if request.outputs is not None else [RequestedOutput(each) for each in outputs]
    all_binary = request.parameters.get("binary_data_output") is True
    tensors: list[Tensor] = []
    buffers: list[bytes] = []
    for output in wanted:
        if output.name not in outputs:
            raise BadRequest(f"There is no output '{output.name[:100]}', expected one of: {', '.join(outputs)[:300]}.")
        array = outputs[output.name]
        datatype = _DATATYPES.get(str(array.dtype), BYTES)
        tensor = Tensor(output.name, list(array.shape), datatype)
        if output.parameters.get("binary_data", all_binary) is True:
            data = _to_bytes(array, datatype)
            tensor.parameters = {"binary_data_size": len(data)}
            buffers.append(data)
        else:
            tensor.data = to_jsonable(array.reshape(-1))
        tensors.append(tensor)
    head = msgspec.json.encode(InferReply(name, version, tensors, request.id))
    return (b"".join([head, *buffers]), len(head)) if buffers else (head, None)


def about(name: str, version: str, signature: Signature | None) -> ModelAbout:
    """The metadata that a signature gives; without one there are no inputs to name."""
    inputs = None if signature is None else signature.inputs
    outputs = None if signature is None else signature.outputs
    return ModelAbout(name, [version], "mlflow_pyfunc", list(_about(inputs, "input")), list(_about(outputs, OUTPUT)))


def _about(schema: Schema | None, unnamed: str) -> Iterator[TensorAbout]:
    if schema is None:
        return
    for spec, name in zip(schema.inputs, schema.names, strict=True):
        shown = name if isinstance(name, str) else unnamed if len(schema.inputs) == 1 else str(name)
        if isinstance(spec, ColSpec):
            datatype = _COLUMN_TYPES.get(spec.type, BYTES) if isinstance(spec.type, DataType) else BYTES
            yield TensorAbout(shown, datatype, [-1])
        else:
            yield TensorAbout(shown, _DATATYPES.get(spec.dtype, BYTES), list(spec.shape))


# --- Inputs -----------------------------------------------------------------------------------------------


def _shape(tensor: Tensor) -> tuple[int, ...]:
    if tensor.datatype not in DTYPES and tensor.datatype != BYTES:
        raise _bad(tensor, f"the datatype '{tensor.datatype[:40]}' is not one of {', '.join([*DTYPES, BYTES])}")
    if not 1 <= len(tensor.shape) <= _MAX_DIMENSIONS or any(not 0 <= size < 2**31 for size in tensor.shape):
        raise _bad(tensor, f"its shape must have 1 to {_MAX_DIMENSIONS} sizes from 0")
    return tuple(tensor.shape)


def _from_json(tensor: Tensor, shape: tuple[int, ...]) -> Any:
    """The array of a flat or nested list, whose values must be what the datatype says."""
    values = tensor.data
    if not isinstance(values, list):
        raise _bad(tensor, "its data must be a list")
    for _ in range(_MAX_DIMENSIONS):
        if not values or set(map(type, values)) != {list}:
            break
        values = [value for row in values for value in row]
    if tensor.datatype == BYTES:
        allowed: set[type] = {str}
    elif tensor.datatype == "BOOL":
        allowed = {bool}
    else:
        allowed = {int, float} if tensor.datatype.startswith("FP") else {int}
    if found := set(map(type, values)) - allowed:
        raise _bad(tensor, f"its data is {tensor.datatype} and holds a {min(kind.__name__ for kind in found)}")
    try:
        with np.errstate(over="raise"):
            array = np.array(values, dtype=DTYPES.get(tensor.datatype, "object"))
    except (OverflowError, FloatingPointError, ValueError):
        raise _bad(tensor, f"a value is out of the range of {tensor.datatype}") from None
    return _reshaped(tensor, array, shape)


def _from_bytes(tensor: Tensor, shape: tuple[int, ...], data: bytes) -> Any:
    if tensor.datatype != BYTES:
        dtype = np.dtype(DTYPES[tensor.datatype]).newbyteorder("<")
        if len(data) % dtype.itemsize:
            raise _bad(tensor, f"{len(data)} bytes are no whole number of {tensor.datatype} values")
        if tensor.datatype == "BOOL" and data.translate(None, b"\x00\x01"):
            raise _bad(tensor, "a BOOL is a byte of 0 or 1")
        return _reshaped(tensor, np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")), shape)
    values: list[Any] = []
    at = 0
    while at < len(data):
        end = at + 4
        if end <= len(data):
            end += struct.unpack_from("<I", data, at)[0]
        if end > len(data) or at + 4 > len(data):
            raise _bad(tensor, "its binary data ends within a value")
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
        raise _bad(tensor, f"its shape {list(shape)} has {expected} values, its data {array.size}")
    return array.reshape(shape)


def _bad(tensor: Tensor, why: str) -> BadRequest:
    return BadRequest(f"Input '{tensor.name[:100]}': {why}.")


def _frame(arrays: dict[str, Any], schema: Schema | None) -> pd.DataFrame:
    if len(arrays) == 1 and schema is not None:
        ((name, array),) = arrays.items()
        if array.ndim == 2 and name not in schema.names and array.shape[1] == len(schema.names):
            return pd.DataFrame(array, columns=schema.names if schema.is_named else None)
    for name, array in arrays.items():
        if array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 1):
            raise SchemaEnforcementFailed(
                f"Input '{name[:100]}' is a column, expected the shape [n] or [n, 1], got {list(array.shape)}."
            )
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise SchemaEnforcementFailed(f"The inputs differ in their number of rows: {sorted(lengths)[:10]}.")
    columns = dict(enumerate(_cells(name, array, schema) for name, array in arrays.items()))
    frame = pd.DataFrame(columns)
    frame.columns = pd.Index(list(arrays)) if schema is None or schema.is_named else pd.RangeIndex(len(arrays))
    return frame


def _cells(name: str, array: Any, schema: Schema | None) -> Any:
    """One column; binary columns hold bytes, others text."""
    flat = array.reshape(-1)
    binary = schema is not None and any(
        spec.name == name and spec.type is DataType.binary for spec in schema.columns if schema.is_named
    )
    if flat.dtype != object or not (binary or any(isinstance(value, bytes) for value in flat)):
        return flat
    if not binary:
        raise SchemaEnforcementFailed(f"Input '{name[:100]}' is no column of binary type, and is not valid UTF-8.")
    return [value.encode() if isinstance(value, str) else value for value in flat]


def _payload(data: Any) -> Payload:
    """A mergeable payload when all columns have one plain dtype."""
    if isinstance(data, pd.DataFrame) and len(data.columns):
        dtypes = set(data.dtypes)
        if len(dtypes) == 1 and getattr(next(iter(dtypes)), "kind", "") in "biuf":
            return Payload.matrix(data.to_numpy(), tuple(data.columns))
    return Payload.frame(data)


def _tensors(arrays: dict[str, Any], schema: Schema) -> Payload:
    if schema.is_named:
        enforced = enforce(arrays, schema)
        return Payload.tensors(enforced) if isinstance(enforced, dict) else Payload.tensor(enforced)
    if len(arrays) != 1:
        raise SchemaEnforcementFailed(f"The model takes one tensor, got {len(arrays)} inputs.")
    return Payload.tensor(enforce(next(iter(arrays.values())), schema))


# --- Outputs ----------------------------------------------------------------------------------------------


def _outputs(predictions: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(predictions, pd.DataFrame):
        for number, name in enumerate(predictions.columns):
            yield str(name), _plain(predictions.iloc[:, number].to_numpy())
    elif isinstance(predictions, dict):
        for name, value in predictions.items():
            yield str(name), _array(value)
    else:
        yield OUTPUT, _array(predictions)


def _array(value: Any) -> Any:
    try:
        if isinstance(value, pd.Series):
            return _plain(value.to_numpy())
        return _plain(np.atleast_1d(np.asarray(value)))
    except ValueError:
        raise BadRequest(f"The model's output of type '{type(value).__name__}' is no tensor.") from None


def _plain(array: Any) -> Any:
    """An array of a dtype that the protocol has, or of texts."""
    if str(array.dtype) in _DATATYPES:
        return array
    texts: Sequence[Any] = [_text(value) for value in array.reshape(-1)]
    plain = np.empty(len(texts), dtype=object)
    plain[:] = texts
    return plain.reshape(array.shape)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    try:
        return msgspec.json.encode(to_jsonable(value)).decode().strip('"')
    except (TypeError, ValueError, RecursionError):
        raise BadRequest(f"The model's output holds a '{type(value).__name__}', which no tensor can.") from None


def _to_bytes(array: Any, datatype: str) -> bytes:
    if datatype != BYTES:
        data: bytes = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        return data
    texts = [value.encode() for value in array.reshape(-1)]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
