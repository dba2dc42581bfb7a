"""CSV bodies.

Source: mlflow/pyfunc/scoring_server/__init__.py (parse_csv_input) at v3.17.2.
"""

import csv
import io
import warnings
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.errors import BadRequest, quote
from tiltyard.pyfunc.data_types import DataType
from tiltyard.pyfunc.enforcement.enforce import enforce
from tiltyard.pyfunc.json_text import Body
from tiltyard.pyfunc.payload import bounds as default
from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard.pyfunc.payload.casts import Coerce
from tiltyard.pyfunc.payload.data import Payload
from tiltyard.pyfunc.schema import ColSpec, Schema

# What pandas reads a column as; the narrow types are checked for range after it.
_READ_AS = {
    DataType.boolean: "bool",
    DataType.integer: "int64",
    DataType.long: "int64",
    DataType.float: "float64",
    DataType.double: "float64",
    DataType.string: "object",
    DataType.binary: "object",
}

_MAX_REPEATED = 100


def read_csv(body: Body, schema: Schema | None, coerce: Coerce, bounds: Bounds = default.DEFAULT) -> Payload:
    """The payload of CSV text with a header row.

    Raises:
        BadRequest: not UTF-8, empty, not CSV, or a cell that is not of its column's type.
        PayloadTooLarge: more columns than the bounds allow.
        SchemaEnforcementFailed: columns are missing.
    """
    try:
        text = str(body, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"Invalid input. Ensure that input is a valid UTF-8 encoded string (byte {error.start})."
        ) from None
    _check_header(text, bounds)
    frame = _parse(text, None) if schema is None or schema.tensors else _typed(text, schema, coerce)
    return Payload.frame(frame if schema is None else enforce(frame, schema))


def _check_header(text: str, bounds: Bounds) -> None:
    """Nothing, if the header can be read in time: pandas' renaming of repeated columns takes their number squared."""
    try:
        for row in csv.reader(io.StringIO(text)):
            bounds.check_columns(len(row))
            if len(row) - len(set(row)) > _MAX_REPEATED:
                raise BadRequest(f"Failed to parse input as a Pandas DataFrame. {len(row)} columns share a few names.")
            if any(map(str.strip, row)):
                return
    except csv.Error as error:
        raise BadRequest(f"Failed to parse input as a Pandas DataFrame. Error: '{error}'") from None


def _typed(text: str, schema: Schema, coerce: Coerce) -> pd.DataFrame:
    for spec in schema.columns:
        if spec.type not in _READ_AS:
            raise BadRequest(
                f"Failed to parse input as a Pandas DataFrame. Column {quote(spec.name)} has the type '{spec.type}', "
                "which CSV input does not support; send JSON."
            )
    labels = list(_parse(text, None, rows=0).columns)
    by_label: dict[Any, ColSpec] = {}
    if schema.is_named:
        specs = dict(zip(schema.names, schema.columns, strict=True))
        names = schema.own_names(labels)
        by_label = {label: specs[name] for label, name in zip(labels, names, strict=True) if name in specs}
    else:
        by_label = dict(zip(labels, schema.columns, strict=False))
    frame = _parse(
        text, {label: _READ_AS[spec.type] for label, spec in by_label.items() if isinstance(spec.type, DataType)}
    )
    for label, spec in by_label.items():
        if spec.type in (DataType.integer, DataType.float):
            frame[label] = _narrow(frame[label], spec, label, coerce)
        elif spec.type is DataType.binary:
            frame[label] = frame[label].map(lambda cell: cell.encode() if isinstance(cell, str) else cell)
    return frame


def _narrow(column: "pd.Series[Any]", spec: ColSpec, label: Any, coerce: Coerce) -> "pd.Series[Any]":
    values = column.to_numpy()
    with np.errstate(over="ignore"):
        narrow = values.astype("int32" if spec.type is DataType.integer else "float32")
    if coerce == "strict":
        changed = narrow != values if spec.type is DataType.integer else np.isinf(narrow) & ~np.isinf(values)
        if changed.any():
            row = int(np.argmax(changed))
            raise BadRequest(
                "Invalid input. Data is not compatible with model signature. Failed to convert column "
                f"{quote(label)} to type '{spec.type}'. Row {row}: {quote(values[row].item())} is out of range."
            )
    return pd.Series(narrow, index=column.index)


def _parse(text: str, dtypes: dict[Any, str] | None, *, rows: int | None = None) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pd.read_csv(io.StringIO(text), dtype=dtypes, nrows=rows, low_memory=False)
    except (ValueError, TypeError, KeyError, OverflowError, IndexError, AttributeError) as error:
        # pandas' own text names a line, a column or one value of the input.
        why = str(error).strip().splitlines()
        raise BadRequest(
            "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid CSV-formatted Pandas "
            "DataFrame produced using the `pandas.DataFrame.to_csv()` method. "
            f"Error: '{why[0][:200] if why else type(error).__name__}'"
        ) from None
