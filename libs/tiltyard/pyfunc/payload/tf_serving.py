"""`instances` and `inputs`: the TF Serving forms of a body.

Source: mlflow/utils/proto_json_utils.py (parse_tf_serving_input) at v3.17.2. As there, binary is not base64
here: the model gets the bytes of the text itself.
"""

from typing import Any

from tiltyard.errors import BadRequest, SchemaEnforcementFailed
from tiltyard.pyfunc.data_types import AnyType, Array, Map, Name, Object
from tiltyard.pyfunc.payload.casts import Coerce
from tiltyard.pyfunc.payload.casts.tensors import cast_tensor
from tiltyard.pyfunc.payload.chunks import array_of, types_of
from tiltyard.pyfunc.payload.data import Payload
from tiltyard.pyfunc.payload.dataframe_json import records, table, table_of_columns
from tiltyard.pyfunc.schema import Schema


def read_instances(value: Any, schema: Schema | None, coerce: Coerce) -> Payload:
    """The payload of an `instances` field: a list of objects, or of anything else.

    Raises:
        BadRequest: the objects do not have the same keys, or a value cannot be cast.
        SchemaEnforcementFailed: inputs are missing or do not fit.
    """
    if _is_records(value):
        wanted = value[0].keys() if schema is None or not schema.is_named else {*schema.names, *map(str, schema.names)}
        keys = wanted & value[0].keys()
        if any(wanted & row.keys() != keys for row in value):
            raise BadRequest("Invalid input. The length of values for each input/column name are not the same")
        if schema is not None and schema.columns:
            return records(value, schema, coerce, tf_form=True)
        return _mapping({key: [row[key] for row in value] for key in value[0] if key in keys}, schema, coerce)
    return read_inputs(value, schema, coerce)


def read_inputs(value: Any, schema: Schema | None, coerce: Coerce) -> Payload:  # noqa: PLR0911, PLR0912 - one per kind
    """The payload of an `inputs` field: an object of columns, a list of objects, a list, or one value.

    Raises:
        BadRequest: a value cannot be cast, or an object came for a signature without names.
        SchemaEnforcementFailed: inputs are missing or do not fit.
    """
    if value is None:
        raise BadRequest("Invalid input. The value of 'inputs' or 'instances' must not be null.")
    if _is_records(value):
        if schema is None:
            return Payload.raw([{key: _array(cell) for key, cell in row.items()} for row in value])
        if schema.columns:
            return records(value, schema, coerce, tf_form=True)
        return read_instances(value, schema, coerce)
    if isinstance(value, list) and schema is not None and schema.is_named and len(schema) == 1:
        value = {schema.names[0]: value}
    if isinstance(value, dict):
        return _mapping(value, schema, coerce)
    if schema is None:
        return Payload.tensor(_array(value))
    if schema.tensors:
        return _tensors(value, schema, coerce)
    if not isinstance(value, list):
        return table([[value]], [0], schema, coerce, tf_form=True)
    width = max((len(row) if isinstance(row, list) else 1 for row in value), default=len(schema))
    if len(schema) == 1 and not isinstance(schema.columns[0].type, AnyType | Array):
        # One unnamed column takes rows of one cell as well as cells.
        width = 1
        value = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in value]
    elif len(schema) == 1:
        width = 1
    if width == 1:
        return table_of_columns([value], [0], schema, coerce, tf_form=True)
    rows = [row if isinstance(row, list) else [row] for row in value]
    if any(len(row) != width for row in rows):
        raise BadRequest("Invalid input. The rows differ in length.")
    return table(rows, list(range(width)), schema, coerce, tf_form=True)


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and types_of(value) == {dict}


def _mapping(value: dict[Any, Any], schema: Schema | None, coerce: Coerce) -> Payload:
    if schema is None:
        return Payload.tensors({name: _array(cell) for name, cell in value.items()})
    if not schema.is_named:
        raise BadRequest(
            "Invalid input. Failed to parse input data. This model contains an un-named  model signature which expects "
            "a single n-dimensional array or a single value as input, however, an input of type dict was found."
        )
    value = dict(zip(schema.own_names(list(value)), value.values(), strict=True))
    if schema.tensors:
        return _tensors(value, schema, coerce)
    known = {name: value[name] for name in schema.names if name in value}
    extra = [name for name in value if name not in known]
    names: list[Name] = list(known)
    if _is_one_row(known, schema):
        return table([list(known.values())], names, schema, coerce, extra=extra, tf_form=True)
    sizes = {len(cell) for cell in known.values() if isinstance(cell, list)}
    if len(sizes) > 1:
        raise SchemaEnforcementFailed(
            "Failed to enforce schema of data. Error: The length of values for each input/column name are not the same."
        )
    size = sizes.pop()
    columns = [cell if isinstance(cell, list) else [cell] * size for cell in known.values()]
    return table_of_columns(columns, names, schema, coerce, extra=extra, tf_form=True)


def _is_one_row(value: dict[Any, Any], schema: Schema) -> bool:
    """Whether the object is one row of cells rather than columns: upstream decides by types and values."""
    types = {spec.name: spec.type for spec in schema.columns}
    if any(isinstance(kind, Array | Object | Map) for kind in types.values()):
        return True
    return not any(
        isinstance(cell, list) and not (isinstance(types[name], AnyType) and all(type(item) is str for item in cell))
        for name, cell in value.items()
    )


def _tensors(value: Any, schema: Schema, coerce: Coerce) -> Payload:
    from tiltyard.pyfunc.enforcement.enforce import check_missing
    from tiltyard.pyfunc.enforcement.tensors import enforce_tensor, tensor_dtype

    try:
        if not schema.is_named:
            spec = schema.tensors[0]
            return Payload.tensor(enforce_tensor(cast_tensor(value, tensor_dtype(spec), None, coerce=coerce), spec))
        check_missing(set(value) if isinstance(value, dict) else set(), schema)
        arrays = {}
        for name, spec in zip(schema.names, schema.tensors, strict=True):
            array = cast_tensor(value[name], tensor_dtype(spec), name, coerce=coerce)
            arrays[name] = enforce_tensor(array, spec)
        return Payload.tensors(arrays)
    except SchemaEnforcementFailed as error:
        raise SchemaEnforcementFailed(
            f"Failed to enforce schema of data with schema '{schema}'. Error: {error.message}"
        ) from None


def _array(value: Any) -> Any:
    """`value` as numpy reads it. Raises: BadRequest when the lists in it are ragged."""
    try:
        return array_of(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadRequest(f"Invalid input. {str(error)[:200]}") from None
