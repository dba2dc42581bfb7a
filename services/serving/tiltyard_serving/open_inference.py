"""The Open Inference Protocol V2: its messages, and their tensors as a model's input and output.

Source: https://github.com/kserve/open-inference-protocol and the binary tensor data extension of Triton.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from tiltyard.errors import BadRequest, SchemaEnforcementFailed
from tiltyard.pyfunc.bounds import DEFAULT as DEFAULT_BOUNDS
from tiltyard.pyfunc.bounds import JSON_SEPARATORS, Bounds
from tiltyard.pyfunc.cast import cast_column, object_array
from tiltyard.pyfunc.enforce import check_missing, enforce
from tiltyard.pyfunc.json_body import decode_json, without_constants
from tiltyard.pyfunc.nesting import is_deeper
from tiltyard.pyfunc.output import escaped, long_json, to_jsonable
from tiltyard.pyfunc.params import validate_params
from tiltyard.pyfunc.payload import Payload
from tiltyard.pyfunc.quote import quote
from tiltyard.pyfunc.schema import AnyType, Array, ColSpec, DataType, Name, Schema, TensorSpec, Type
from tiltyard.pyfunc.signature import Signature
from tiltyard.pyfunc.tensor_cast import cast_tensor
from tiltyard.pyfunc.times import has_times
from tiltyard_serving.tensors import (
    BYTES,
    DATATYPES,
    OUTPUT,
    Tensor,
    bad,
    from_bytes,
    from_json,
    outputs_of,
    shape_of,
    to_bytes,
)

_COLUMN_TYPES: dict[Type, str] = {
    DataType.boolean: "BOOL",
    DataType.integer: "INT32",
    DataType.long: "INT64",
    DataType.float: "FP32",
    DataType.double: "FP64",
}

# So much JSON is read within 5 ms whatever it says, and so many bytes of numbers beside it.
_AT_ONCE_JSON_BYTES = 12 * 1024
_AT_ONCE_BYTES = 512 * 1024
_AT_ONCE_DATES_BYTES = 1024
# A larger text would keep others waiting.
_IN_PIECES_BYTES = 512 * 1024


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


def is_brief_to_convert(size_bytes: int, signature: Signature | None) -> bool:
    """Whether what was read from a brief body takes so little time to be made the model's input, too.

    Dates inside of lists and objects are read one by one, each as if it were a column.
    """
    if size_bytes <= _AT_ONCE_DATES_BYTES or signature is None or signature.inputs is None:
        return True
    kinds = (spec.type for spec in signature.inputs.inputs if isinstance(spec, ColSpec))
    return not any(not isinstance(kind, DataType) and has_times(kind) for kind in kinds)


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
        request = _request(body[:end], bounds.nesting)
    except RecursionError:
        raise bounds.too_deep() from None
    except (msgspec.MsgspecError, UnicodeError) as error:
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
        shape = shape_of(tensor)
        if tensor.data is not msgspec.UNSET:
            arrays[tensor.name] = from_json(tensor, shape)
            continue
        size_bytes = tensor.parameters.get("binary_data_size")
        if type(size_bytes) is not int or not 0 <= size_bytes <= len(body) - end:
            raise bad(tensor, "it has neither 'data' nor a 'binary_data_size' that the body can hold")
        arrays[tensor.name] = from_bytes(tensor, shape, body[end : end + size_bytes])
        end += size_bytes
    if end != len(body):
        raise BadRequest(f"The body has {len(body) - end} bytes more than its tensors.")
    return request, arrays


def _request(text: bytes, max_levels: int) -> InferRequest:
    if len(text) > _IN_PIECES_BYTES:
        return msgspec.convert(decode_json(text, max_levels), InferRequest)
    if is_deeper(text, max_levels):
        raise RecursionError
    try:
        return msgspec.json.decode(text, type=InferRequest)
    except msgspec.DecodeError as error:
        # A message of another form is no matter of bare NaN.
        if isinstance(error, msgspec.ValidationError) or without_constants(text) is None:
            raise
    return msgspec.convert(decode_json(text, max_levels), InferRequest)


def to_payload(request: InferRequest, arrays: dict[str, Any], signature: Signature | None) -> Payload:
    """The payload of the tensors: cast by nobody, enforced by the signature.

    Columns are tensors of shape [n] or [n, 1] by name, those of arrays [n, k], those of objects texts of JSON; one
    tensor of shape [n, k] is all k columns.

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
        frame, cast = _frame(arrays, schema)
        payload = _payload(frame if schema is None else _enforced(frame, cast, schema))
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
    outputs = outputs_of(predictions)
    wanted = request.outputs if request.outputs is not None else [RequestedOutput(each) for each in outputs]
    all_binary = request.parameters.get("binary_data_output") is True
    tensors: list[Tensor] = []
    buffers: list[bytes] = []
    for asked in wanted:
        if asked.name not in outputs:
            raise BadRequest(f"There is no output '{asked.name[:100]}', expected one of: {', '.join(outputs)[:300]}.")
        output = outputs[asked.name]
        tensor = Tensor(asked.name, output.shape, output.datatype)
        if asked.parameters.get("binary_data", all_binary) is True:
            data = to_bytes(asked.name, output)
            tensor.parameters = {"binary_data_size": len(data)}
            buffers.append(data)
        else:
            tensor.data = long_json(output.values) or to_jsonable(output.values)
        tensors.append(tensor)
    head = _encoded(InferReply(name, version, tensors, request.id))
    return (b"".join([head, *buffers]), len(head)) if buffers else (head, None)


def _encoded(reply: InferReply) -> bytes:
    try:
        return msgspec.json.encode(reply)
    except UnicodeEncodeError:
        # Texts of half a character, which JSON can say as escapes.
        for tensor in reply.outputs:
            if tensor.data is not msgspec.UNSET:
                tensor.data = escaped(tensor.data)
    try:
        return msgspec.json.encode(reply)
    except UnicodeEncodeError:
        raise BadRequest("The name of an output is a text that UTF-8 cannot say.") from None


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
            leaf, dimensions = _leaf(spec.type)
            yield TensorAbout(shown, _COLUMN_TYPES.get(leaf, BYTES), [-1] * dimensions)
        elif spec.dtype in DATATYPES or np.dtype(spec.dtype).kind in "OUSM":
            yield TensorAbout(shown, DATATYPES.get(spec.dtype, BYTES), list(spec.shape))


def _leaf(kind: Type) -> tuple[Type, int]:
    """What a column's tensor holds, and its number of dimensions: arrays of plain values have more than one."""
    dimensions, leaf = 1, kind
    while isinstance(leaf, Array):
        dimensions, leaf = dimensions + 1, leaf.items
    return (leaf, dimensions) if isinstance(leaf, DataType) else (kind, 1)


# --- Columns ----------------------------------------------------------------------------------------------


def _frame(arrays: dict[str, Any], schema: Schema | None) -> tuple[pd.DataFrame, set[Name]]:
    """A table of the tensors, and which of its columns are cast already."""
    names = list(arrays) if schema is None else list(schema.own_names(list(arrays)))
    if len(arrays) == 1 and schema is not None:
        ((name, array),) = zip(names, arrays.values(), strict=True)
        if array.ndim == 2 and name not in schema.names and array.shape[1] == len(schema.names):
            columns = [array[:, number] for number in range(array.shape[1])]
            return _framed(columns, schema.names, schema)
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise SchemaEnforcementFailed(f"The inputs differ in their number of rows: {sorted(lengths)[:10]}.")
    return _framed(list(arrays.values()), names, schema)


def _framed(arrays: Sequence[Any], names: Sequence[Name], schema: Schema | None) -> tuple[pd.DataFrame, set[Name]]:
    specs = {} if schema is None else dict(zip(schema.names, schema.columns, strict=True))
    is_named = schema is None or schema.is_named
    labels = list(names) if is_named else list(range(len(names)))
    cells = [_cells(name, array, specs.get(label)) for name, array, label in zip(names, arrays, labels, strict=True)]
    frame = pd.DataFrame({number: values for number, (values, _) in enumerate(cells)})
    frame.columns = pd.Index(labels) if is_named else pd.RangeIndex(len(labels))
    return frame, {label for label, (_, is_cast) in zip(labels, cells, strict=True) if is_cast}


def _enforced(frame: pd.DataFrame, cast: set[Name], schema: Schema) -> pd.DataFrame:
    """The table as the model takes it; what is cast is of its type already."""
    if not cast:
        return pd.DataFrame(enforce(frame, schema))
    check_missing(set(frame.columns), schema)
    specs = [spec for spec, name in zip(schema.columns, schema.names, strict=True) if name in frame.columns]
    names = [name for name in schema.names if name in frame.columns]
    others = [(name, spec) for name, spec in zip(names, specs, strict=True) if name not in cast]
    rest = frame[[name for name, _ in others]]
    enforced = enforce(rest, Schema(tuple(spec for _, spec in others))) if others else rest
    return pd.concat([frame[[name for name in names if name in cast]], enforced], axis=1)[names]


def _cells(name: Name, array: Any, spec: ColSpec | None) -> tuple[Any, bool]:
    """One column, and whether it is cast already: what came as objects or lists is, as it is in JSON bodies."""
    kind = None if spec is None else spec.type
    dimensions = 1 if kind is None else _leaf(kind)[1]
    if dimensions > 1 and array.ndim != dimensions:
        raise SchemaEnforcementFailed(
            f"Input {quote(name)} is a column of arrays, expected a shape of {dimensions} sizes, "
            f"got {list(array.shape)}."
        )
    if dimensions == 1 and (array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 1)):
        raise SchemaEnforcementFailed(
            f"Input {quote(name)} is a column, expected the shape [n] or [n, 1], got {list(array.shape)}."
        )
    if kind is DataType.binary:
        cells = [value.encode() if isinstance(value, str) else value for value in array.reshape(-1)]
        return object_array(cells), False
    if array.dtype == object and any(isinstance(value, bytes) for value in array.flat):
        raise SchemaEnforcementFailed(f"Input {quote(name)} is no column of binary type, and is not valid UTF-8.")
    if spec is None or kind is DataType.string or isinstance(kind, AnyType):
        return array.reshape(-1), False
    if dimensions > 1:
        return cast_column(array.tolist(), spec, name), True
    flat = array.reshape(-1)
    if isinstance(kind, DataType):
        values = flat.tolist() if array.dtype == object else []
        is_cast = bool(values) and (kind is DataType.datetime or None in values)
        return (cast_column(values, spec, name), True) if is_cast else (flat, False)
    return cast_column([_spelled(name, value) for value in flat.tolist()], spec, name), True


def _spelled(name: Name, text: Any) -> Any:
    """The object, map or list that a text of JSON spells."""
    try:
        return None if text is None else decode_json(text.encode())
    except (AttributeError, msgspec.DecodeError, UnicodeError, RecursionError):
        raise SchemaEnforcementFailed(
            f"Input {quote(name)}: {quote(text)} is no JSON, expected that of one cell."
        ) from None


def _payload(data: Any) -> Payload:
    """A mergeable payload when all columns have one plain dtype."""
    if isinstance(data, pd.DataFrame) and len(data.columns):
        dtypes = set(data.dtypes)
        if len(dtypes) == 1 and getattr(next(iter(dtypes)), "kind", "") in "biuf":
            return Payload.matrix(data.to_numpy(), tuple(data.columns))
    return Payload.frame(data)


def _tensors(arrays: dict[str, Any], schema: Schema) -> Payload:
    specs = {spec.name: spec for spec in schema.tensors}
    names = schema.own_names(list(arrays))
    if not schema.is_named and len(arrays) == 1:
        names = [None]
    arrays = {name: _cast(name, array, specs.get(name)) for name, array in zip(names, arrays.values(), strict=True)}
    if schema.is_named:
        enforced = enforce(arrays, schema)
        return Payload.tensors(enforced) if isinstance(enforced, dict) else Payload.tensor(enforced)
    if len(arrays) != 1:
        raise SchemaEnforcementFailed(f"The model takes one tensor, got {len(arrays)} inputs.")
    return Payload.tensor(enforce(next(iter(arrays.values())), schema))


def _cast(name: Name | None, array: Any, spec: TensorSpec | None) -> Any:
    """Texts as times, and objects without what may be missing, where the spec asks for that; others as they are."""
    if spec is None or array.dtype != object or np.dtype(spec.dtype).kind in "OUS":
        return array
    return cast_tensor(array.tolist(), np.dtype(spec.dtype), name)
