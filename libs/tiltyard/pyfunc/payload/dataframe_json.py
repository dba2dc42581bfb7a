"""`dataframe_split` and `dataframe_records`: rows in JSON to typed columns, without a DataFrame.

Source: mlflow/utils/proto_json_utils.py (dataframe_from_parsed_json) at v3.17.2.
"""

import math
from collections.abc import Sequence
from typing import Any

from tiltyard.errors import BadRequest, SchemaEnforcementFailed, name_list
from tiltyard.pyfunc.data_types import Name
from tiltyard.pyfunc.payload.casts import Coerce
from tiltyard.pyfunc.payload.casts.columns import cast_column, cast_columns, cast_matrix
from tiltyard.pyfunc.payload.casts.tensors import cast_tensor
from tiltyard.pyfunc.payload.chunks import columns_of, lengths_of, types_of
from tiltyard.pyfunc.payload.data import Payload
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec

_SPLIT_KEYS = {"columns", "data", "index"}

# Rows that share no keys are a table of mostly nulls: a small body could stand for a very large one.
_MAX_SPARSE_CELLS = 1_000_000
_MAX_CELLS_PER_VALUE = 16


def read_split(value: Any, schema: Schema | None, coerce: Coerce) -> Payload:
    """The payload of a `dataframe_split` field. Raises: BadRequest, SchemaEnforcementFailed."""
    if not isinstance(value, dict):
        what = "list" if isinstance(value, list) else f"type {type(value).__name__}"
        raise BadRequest(f"Invalid input. Dataframe split format must be a dictionary. Got {what}.")
    if "data" not in value or not value.keys() <= _SPLIT_KEYS:
        raise BadRequest(
            "Invalid input. Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields. "
            f"Got {name_list(value)}."
        )
    rows, labels = _rows(value["data"], value.get("columns"))
    index = value.get("index")
    if index is not None:
        if not isinstance(index, list) or len(index) != len(rows):
            raise _invalid_split(f"'index' must be a list of {len(rows)} labels, one per row")
        if any(isinstance(label, list | dict) for label in index):
            raise _invalid_split("'index' must hold texts or numbers")
        if index == list(range(len(rows))):
            index = None
    return table(rows, labels, schema, coerce, index=index)


def read_records(value: Any, schema: Schema | None, coerce: Coerce) -> Payload:
    """The payload of a `dataframe_records` field. Raises: BadRequest, SchemaEnforcementFailed."""
    if not isinstance(value, list):
        what = "dictionary" if isinstance(value, dict) else f"type {type(value).__name__}"
        raise BadRequest(f"Invalid input. Dataframe records format must be a list of records. Got {what}.")
    if types_of(value) - {dict}:
        raise BadRequest(
            "Invalid input. Provided dataframe_records field is not a valid dataframe representation in 'records' "
            "format. Error: 'every record must be an object'"
        )
    return records(value, schema, coerce)


def records(value: list[dict[Any, Any]], schema: Schema | None, coerce: Coerce, *, tf_form: bool = False) -> Payload:
    """The payload of a list of objects; a key that a row lacks is a null there."""
    labels: list[Name] = list(value[0]) if value else []
    if any(row.keys() != value[0].keys() for row in value):
        labels = list(dict.fromkeys(key for row in value for key in row))
    if schema is not None and schema.is_named and schema.columns:
        known = set(schema.names)
        own = schema.own_names(labels)
        wanted = [label for label, name in zip(labels, own, strict=True) if name in known]
        extra = [label for label, name in zip(labels, own, strict=True) if name not in known]
    else:
        wanted, extra = labels, []
    if value and wanted and (schema is None or schema.columns):
        _check_filled(value, wanted)
        return table_of_columns(_columns(value, wanted), wanted, schema, coerce, extra=extra, tf_form=tf_form)
    return table(_filled(value, wanted), wanted, schema, coerce, extra=extra, tf_form=tf_form)


def table(
    rows: Sequence[Any],
    labels: Sequence[Name],
    schema: Schema | None,
    coerce: Coerce,
    *,
    index: Sequence[Any] | None = None,
    extra: Sequence[Name] = (),
    tf_form: bool = False,
) -> Payload:
    """The payload of rows of cells under labels: cast and enforced if there is a schema.

    Args:
        rows: each a list with one cell per label.
        extra: labels that were left out because the schema does not know them.
    """
    if schema is None:
        columns = [list(column) for column in columns_of(rows)] if rows else [[] for _ in labels]
        return Payload.inferred(columns, tuple(labels), rows=len(rows), index=index)
    labels = schema.own_names(labels)
    if schema.tensors:
        return _tensors(rows, labels, schema, coerce)
    specs, names, positions = _select(labels, schema, extra)
    if positions is not None:
        rows = [[row[i] for i in positions] for row in rows]
    if schema.matrix_dtype is not None and specs and rows:
        return Payload.matrix(cast_matrix(rows, schema.matrix_dtype, names, coerce=coerce), names, index)
    cells: Sequence[Any] = columns_of(rows) if rows else [()] * len(specs)
    arrays = _arrays(cells, specs, names, coerce, tf_form=tf_form)
    return Payload.columns(arrays, names, rows=len(rows), index=index)


def table_of_columns(
    columns: Sequence[Sequence[Any]],
    labels: Sequence[Name],
    schema: Schema | None,
    coerce: Coerce,
    *,
    extra: Sequence[Name] = (),
    tf_form: bool = False,
) -> Payload:
    """The same of columns, of which there is one at least, for no schema or one of columns: no row is ever built."""
    rows = len(columns[0])
    if schema is None:
        cells = [column if isinstance(column, list) else list(column) for column in columns]
        return Payload.inferred(cells, tuple(labels), rows=rows)
    specs, names, positions = _select(schema.own_names(labels), schema, extra)
    if positions is not None:
        columns = [columns[i] for i in positions]
    if schema.matrix_dtype is not None and specs and rows:
        return Payload.matrix(cast_columns(columns, schema.matrix_dtype, names, coerce=coerce), names)
    return Payload.columns(_arrays(columns, specs, names, coerce, tf_form=tf_form), names, rows=rows)


def _arrays(
    columns: Sequence[Any], specs: Sequence[ColSpec], names: Sequence[Name], coerce: Coerce, *, tf_form: bool
) -> list[Any]:
    return [
        cast_column(column, spec, name, coerce=coerce, tf_form=tf_form)
        for column, spec, name in zip(columns, specs, names, strict=True)
    ]


def _rows(data: Any, columns: Any) -> tuple[list[Any], list[Name]]:
    """Rows of equal length, and their labels."""
    if columns is not None and (
        not isinstance(columns, list) or any(type(label) not in (str, int) for label in columns)
    ):
        raise _invalid_split("'columns' must be a list of texts or integers")
    if isinstance(data, list) and data and types_of(data) == {dict}:
        labels = columns if columns is not None else list(dict.fromkeys(key for row in data for key in row))
        data = _filled(data, labels)
        columns = labels
    if not isinstance(data, list):
        raise _invalid_split("'data' must be a list of rows")
    kinds = types_of(data)
    if list not in kinds:
        # A flat list is one column.
        data = [[cell] for cell in data]
    elif len(kinds) > 1:
        raise _invalid_split("every row of 'data' must be a list")
    widths = lengths_of(data)
    if len(widths) > 1:
        raise _invalid_split("the rows of 'data' differ in length")
    width = widths.pop() if widths else len(columns or ())
    if columns is None:
        columns = list(range(width))
    if len(columns) != width:
        raise _invalid_split(f"{len(columns)} columns passed, passed data had {width} columns")
    if len(set(columns)) != len(columns):
        raise _invalid_split("'columns' names a column twice")
    return data, columns


def _filled(rows: Sequence[dict[Any, Any]], labels: Sequence[Name]) -> list[list[Any]]:
    """The cells of objects under `labels`, null where an object has none. Raises: BadRequest if most are null."""
    _check_filled(rows, labels)
    places = {label: place for place, label in enumerate(labels)}
    filled: list[list[Any]] = []
    for row in rows:
        cells: list[Any] = [math.nan] * len(labels)
        for label, cell in row.items():
            if label in places:
                cells[places[label]] = cell
        filled.append(cells)
    return filled


def _columns(rows: Sequence[dict[Any, Any]], labels: Sequence[Name]) -> list[list[Any]]:
    """The same by columns. Both take time for what the objects have, and not for what they lack."""
    columns = {label: [math.nan] * len(rows) for label in labels}
    for place, row in enumerate(rows):
        for label, cell in row.items():
            if label in columns:
                columns[label][place] = cell
    return list(columns.values())


def _check_filled(rows: Sequence[dict[Any, Any]], labels: Sequence[Name]) -> None:
    cells = len(rows) * len(labels)
    if cells > _MAX_SPARSE_CELLS and cells > _MAX_CELLS_PER_VALUE * sum(map(len, rows)):
        raise BadRequest(
            f"Invalid input. The {len(rows)} rows have {len(labels)} different columns and most of them in few rows, "
            "expected rows with the same columns."
        )


def _invalid_split(why: str) -> BadRequest:
    return BadRequest(
        "Invalid input. Provided dataframe_split field is not a valid dataframe representation in 'split' format. "
        f"Error: '{why}'"
    )


def _select(
    labels: Sequence[Name], schema: Schema, extra: Sequence[Name]
) -> tuple[Sequence[ColSpec], tuple[Name, ...], list[int] | None]:
    """The specs and names of the columns the model will see, and where they are (None: as they come)."""
    from tiltyard.pyfunc.enforcement.enforce import check_count, check_missing

    specs = schema.columns
    if schema.is_named and labels == schema.names:
        return specs, schema.name_tuple, None
    where = {label: i for i, label in enumerate(labels)}
    try:
        if schema.is_named:
            check_missing({*where, *extra}, schema)
        else:
            check_count(len(labels), schema)
    except SchemaEnforcementFailed as error:
        raise SchemaEnforcementFailed(
            f"Failed to enforce schema of data with schema '{schema}'. Error: {error.message}"
        ) from None
    if not schema.is_named:
        surplus = len(labels) > len(specs)
        return specs, tuple(labels[: len(specs)]), list(range(len(specs))) if surplus else None
    present = [spec for spec in specs if spec.name in where]
    names = tuple(spec.name for spec in present if spec.name is not None)
    return present, names, [where[name] for name in names]


def _tensors(rows: Sequence[Any], labels: Sequence[Name], schema: Schema, coerce: Coerce) -> Payload:
    from tiltyard.pyfunc.enforcement.enforce import check_missing
    from tiltyard.pyfunc.enforcement.tensors import check_frame_shape, enforce_tensor, tensor_dtype

    if not rows:
        raise SchemaEnforcementFailed("Failed to enforce schema of data. Error: Input DataFrame is empty.")
    columns = dict(zip(labels, columns_of(rows), strict=True))
    if schema.is_named:
        check_missing(set(labels), schema)
        named = zip(schema.names, schema.tensors, strict=True)
        return Payload.tensors({name: _reshape(list(columns[name]), spec, coerce) for name, spec in named})
    spec = schema.tensors[0]
    if len(labels) == 1:
        return Payload.tensor(_reshape(list(columns[labels[0]]), spec, coerce))
    check_frame_shape(len(labels), spec)
    return Payload.tensor(enforce_tensor(cast_tensor(rows, tensor_dtype(spec), None, coerce=coerce), spec))


def _reshape(values: list[Any], spec: TensorSpec, coerce: Coerce) -> Any:
    """One column as a tensor: its cells, scalars or lists, are cast first and reshaped then."""
    from tiltyard.pyfunc.enforcement.tensors import reshape_column, tensor_dtype

    cells = cast_tensor(values, tensor_dtype(spec), spec.name, coerce=coerce)
    return reshape_column(cells if cells.ndim > 1 or cells.dtype.kind in "biuf" else cells.tolist(), spec)
