"""Named tensors as the input of a model: a table by its columns, or the tensors themselves."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from tiltyard.errors import SchemaEnforcementFailed, quote
from tiltyard.pyfunc.data_types import AnyType, DataType, Name
from tiltyard.pyfunc.enforcement.enforce import check_missing, enforce
from tiltyard.pyfunc.enforcement.params import validate_params
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.json_text.bodies import decode_json
from tiltyard.pyfunc.payload.casts.columns import cast_column, object_array
from tiltyard.pyfunc.payload.casts.tensors import cast_tensor
from tiltyard.pyfunc.payload.decoder import Payload
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec
from tiltyard_serving.scoring.protocols.infer_messages import InferRequest, leaf_of


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
    dimensions = 1 if kind is None else leaf_of(kind)[1]
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
