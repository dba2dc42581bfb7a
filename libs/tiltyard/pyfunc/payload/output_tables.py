"""What a model returned, as an Arrow stream or as CSV."""

from typing import Any

import numpy as np
import pandas as pd

from tiltyard.errors import BadRequest
from tiltyard.pyfunc.payload.columnar.arrow import load_pyarrow
from tiltyard.pyfunc.payload.output import to_jsonable

_COLUMN = "predictions"


def encode_arrow(predictions: Any) -> bytes:
    """An Arrow IPC stream: a DataFrame's columns, or one column `predictions` with one value per row.

    Raises:
        BadRequest: the predictions are no table.
    """
    pa = load_pyarrow()
    try:
        if isinstance(predictions, pd.DataFrame):
            frame = predictions.set_axis([str(name) for name in predictions.columns], axis=1)
            table = pa.Table.from_pandas(frame, preserve_index=False)
        elif isinstance(predictions, np.ndarray) and predictions.ndim == 1 and predictions.dtype.kind in "biufM":
            table = pa.table({_COLUMN: predictions})
        elif isinstance(predictions, dict):
            table = pa.table({str(name): _column(pa, value) for name, value in predictions.items()})
        else:
            table = pa.table({_COLUMN: _column(pa, predictions)})
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        raise _no_table(predictions, "Arrow") from None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def encode_csv(predictions: Any) -> bytes:
    """CSV with a header row: a DataFrame's columns, or `predictions`, or the numbers of an array's columns.

    Raises:
        BadRequest: the predictions are no table.
    """
    try:
        if isinstance(predictions, pd.DataFrame):
            frame = predictions
        elif isinstance(predictions, pd.Series):
            frame = predictions.to_frame(predictions.name if predictions.name is not None else _COLUMN)
        elif (isinstance(predictions, np.ndarray) and predictions.ndim == 2) or isinstance(predictions, dict):
            frame = pd.DataFrame(predictions)
        elif isinstance(predictions, list) or getattr(predictions, "ndim", 0) == 1:
            frame = pd.DataFrame({_COLUMN: predictions})
        else:
            raise _no_table(predictions, "CSV")
        return str(frame.to_csv(index=False)).encode()
    except (ValueError, TypeError, UnicodeError):
        raise _no_table(predictions, "CSV") from None


def _column(pa: Any, value: Any) -> Any:
    if isinstance(value, pd.Series):
        return pa.Array.from_pandas(value)
    if not isinstance(value, list | tuple) and getattr(value, "ndim", 0) == 0:
        raise TypeError("one value is no column")
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufM":
        return pa.array(value if value.ndim == 1 else value.tolist())
    return pa.array(to_jsonable(value))


def _no_table(predictions: Any, form: str) -> BadRequest:
    return BadRequest(
        f"The model's output of type '{type(predictions).__name__}' cannot be written as {form}; accept JSON."
    )
