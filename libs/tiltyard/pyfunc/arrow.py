"""Columnar bodies, Parquet and Arrow IPC streams, and answers as Arrow and CSV.

What is read here may come from anybody: everything is bounded and validated before a value is looked at.

Source: mlflow/pyfunc/scoring_server/__init__.py (parse_parquet_input) at v3.17.2 for Parquet.
"""

import io
import struct
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.errors import BadRequest, MissingPackage, PayloadTooLarge
from tiltyard.pyfunc.enforce import enforce
from tiltyard.pyfunc.form import Body, Payload
from tiltyard.pyfunc.output import to_jsonable
from tiltyard.pyfunc.schema import Schema

ARROW_STREAM = "application/vnd.apache.arrow.stream"

# A small file can stand for a very large table.
MAX_TABLE_BYTES = 1024**3
_CELL_BYTES = 8
# A matrix of fewer cells is copied sooner than looked at.
_LARGE_CELLS = 32 * 1024

_COLUMN = "predictions"
_ARROW_TYPES = {"float64": "double", "float32": "float"}


def read_parquet(body: Body, schema: Schema | None) -> Payload:
    """The payload of a Parquet file; its types are its own, so only the strict enforcement follows.

    Raises:
        BadRequest: not a Parquet file.
        PayloadTooLarge: the table in it is over `MAX_TABLE_BYTES`.
        SchemaEnforcementFailed: columns are missing or not of their types.
        MissingPackage: pyarrow is not installed.
    """
    pa = _pyarrow()
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(io.BytesIO(body)) as file:
            about = file.metadata
            groups = (about.row_group(number).total_byte_size for number in range(about.num_row_groups))
            _check_size(max(sum(groups), about.num_rows * about.num_columns * _CELL_BYTES))
            table = file.read()
        frame = table.to_pandas()
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError):
        raise BadRequest(
            "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid Parquet Pandas DataFrame "
            "produced using the `pandas.DataFrame.to_parquet()` method."
        ) from None
    return Payload.frame(frame if schema is None else enforce(frame, schema))


def read_arrow(body: Body, schema: Schema | None) -> Payload:
    """The payload of an Arrow IPC stream, whose buffers are not compressed.

    Raises:
        BadRequest: not such a stream, or a damaged one.
        PayloadTooLarge: the table in it is over `MAX_TABLE_BYTES`.
        SchemaEnforcementFailed: columns are missing or not of their types.
        MissingPackage: pyarrow is not installed.
    """
    pa = _pyarrow()
    whole = pa.py_buffer(body)
    try:
        _refuse_compressed(pa, whole)
        with pa.ipc.open_stream(whole) as stream:
            batches = []
            cells = 0
            for batch in stream:
                cells += batch.num_rows * batch.num_columns
                _check_size(cells * _CELL_BYTES)
                # Offsets that point elsewhere would be followed.
                batch.validate(full=True)
                batches.append(batch)
            table = pa.Table.from_batches(batches, schema=stream.schema)
            if schema is not None and (payload := _matrix(whole, table, schema)) is not None:
                return payload
            frame = table.to_pandas()
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError, struct.error, IndexError):
        raise BadRequest("Failed to parse input as an Arrow IPC stream.") from None
    return Payload.frame(frame if schema is None else enforce(frame, schema))


def _matrix(whole: Any, table: Any, schema: Schema) -> Payload | None:
    """The payload of a table whose columns are those of the signature, all of one float type; None for any other."""
    dtype = schema.matrix_dtype
    if dtype is None or not table.num_rows or table.column_names != schema.names:
        return None
    if any(str(kind) != _ARROW_TYPES[dtype] for kind in table.schema.types):
        return None
    rows = table.num_rows
    plain = {"kind": "range", "name": None, "start": 0, "stop": rows, "step": 1}
    if (table.schema.pandas_metadata or {}).get("index_columns") not in (None, [], [plain]):
        return None
    matrix = _in_place(whole, table, dtype) if rows * table.num_columns >= _LARGE_CELLS else None
    if matrix is None:
        # Column by column, as they came.
        matrix = np.empty((rows, table.num_columns), dtype=dtype, order="F")
        for number, column in enumerate(table.columns):
            matrix[:, number] = column.to_numpy()
    return Payload.matrix(matrix, schema.name_tuple)


def _in_place(whole: Any, table: Any, dtype: str) -> "np.ndarray[Any, Any] | None":
    """The columns as a read-only matrix over the body itself, if they lie in it one after another; None if not."""
    chunks = [column.chunk(0) for column in table.columns if column.num_chunks == 1]
    if len(chunks) < table.num_columns or any(chunk.null_count or chunk.offset for chunk in chunks):
        return None
    width_bytes, starts = np.dtype(dtype).itemsize, [chunk.buffers()[1].address for chunk in chunks]
    gap_bytes = starts[1] - starts[0] if len(starts) > 1 else table.num_rows * width_bytes
    if gap_bytes < table.num_rows * width_bytes or starts != [starts[0] + gap_bytes * i for i in range(len(starts))]:
        return None
    # What is not aligned was copied to somewhere else.
    offset = starts[0] - whole.address
    if offset < 0 or starts[-1] + table.num_rows * width_bytes > whole.address + whole.size or starts[0] % width_bytes:
        return None
    shape, strides = (table.num_rows, len(starts)), (width_bytes, gap_bytes)
    matrix: np.ndarray[Any, Any] = np.ndarray(shape, dtype, whole, offset, strides)
    # What was sent is looked at again: by a shadow, by a log.
    matrix.flags.writeable = False
    return matrix


def encode_arrow(predictions: Any) -> bytes:
    """An Arrow IPC stream: a DataFrame's columns, or one column `predictions` with one value per row.

    Raises:
        BadRequest: the predictions are no table.
    """
    pa = _pyarrow()
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


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_TABLE_BYTES:
        raise PayloadTooLarge(f"The table in the request body is over the limit of {MAX_TABLE_BYTES} bytes.")


def _refuse_compressed(pa: Any, whole: Any) -> None:
    """Nothing, if no record batch has compressed buffers: only what they claim would say how large they become.

    Source: Arrow's Message.fbs: the header is the third field of a message, the compression the fourth of a batch.
    """
    reader = pa.ipc.MessageReader.open_stream(whole)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type not in ("record batch", "dictionary"):
            continue
        data = message.metadata.to_pybytes()
        (root,) = struct.unpack_from("<I", data, 0)
        header = _field(data, root, 2)
        if message.type == "dictionary" and header is not None:
            header = _field(data, _target(data, header), 1)
        if header is not None and _field(data, _target(data, header), 3) is not None:
            raise BadRequest("The buffers of an Arrow stream must not be compressed; compress the whole body instead.")


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table is, or None if it is not there."""
    (back,) = struct.unpack_from("<i", data, table)
    vtable = table - back
    size_bytes, offset = struct.unpack_from("<H", data, vtable)[0], 4 + 2 * number
    if offset >= size_bytes:
        return None
    (at,) = struct.unpack_from("<H", data, vtable + offset)
    return table + at if at else None


def _target(data: bytes, at: int) -> int:
    (offset,) = struct.unpack_from("<I", data, at)
    return at + int(offset)


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError:
        raise MissingPackage("Columnar data needs pyarrow: install 'tiltyard[serving]' or 'pyarrow'.") from None
    return pa
