"""Arrow IPC streams as bodies.

What is read here may come from anybody: everything is bounded and validated before a value is looked at.
"""

import struct
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.errors import BadRequest, MissingPackage, PayloadTooLarge, TiltyardError
from tiltyard.pyfunc.enforcement.enforce import enforce
from tiltyard.pyfunc.json_text import Body
from tiltyard.pyfunc.payload import bounds as default
from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard.pyfunc.payload.columnar.footprint import footprint
from tiltyard.pyfunc.payload.data import Payload
from tiltyard.pyfunc.schema import Schema

ARROW_STREAM = "application/vnd.apache.arrow.stream"

# A matrix of fewer cells is copied sooner than looked at.
LARGE_CELLS = 32 * 1024
# Each batch costs some work of its own, however few rows it has.
_MAX_BATCHES = 65_536

# What is read in the event loop: a matrix that is looked at where it lies, and small tables of plain columns.
_AT_ONCE_BYTES = 8 * 1024 * 1024
_AT_ONCE_COLUMNS = 1000
_AT_ONCE_SCHEMA_BYTES = 256 * 1024
_AT_ONCE_MESSAGES = 8
_SMALL_BYTES = 32 * 1024
_SMALL_COLUMNS = 32

_ARROW_TYPES = {"float64": "double", "float32": "float"}


def read_arrow(body: Body, schema: Schema | None, bounds: Bounds = default.DEFAULT) -> Payload:
    """The payload of an Arrow IPC stream, whose buffers are not compressed.

    Raises:
        BadRequest: not such a stream, or a damaged one.
        PayloadTooLarge: the table in it is over the bounds.
        SchemaEnforcementFailed: columns are missing or not of their types.
        MissingPackage: pyarrow is not installed.
    """
    pa = load_pyarrow()
    whole = pa.py_buffer(body)
    try:
        table = _table(pa, whole, bounds)
        if schema is not None and (payload := _matrix(whole, table, schema)) is not None:
            return payload
        frame = read_frame(table)
    except TiltyardError:
        raise
    except Exception:
        # Whatever a parser makes of bytes that anybody may send.
        raise BadRequest("Failed to parse input as an Arrow IPC stream.") from None
    return Payload.frame(frame if schema is None else enforce(frame, schema))


def read_arrow_at_once(  # noqa: PLR0911 - one per reason why not
    body: Body, schema: Schema | None, bounds: Bounds = default.DEFAULT
) -> Payload | None:
    """What `read_arrow` gives, if it is known to take little time: then the event loop may do it.

    None for everything else, a stream that is refused included. Raises: SchemaEnforcementFailed.
    """
    if len(body) > (_AT_ONCE_BYTES if schema is not None and schema.matrix_dtype is not None else _SMALL_BYTES):
        return None
    # After the continuation marker, the length of the schema's message.
    if int.from_bytes(bytes(body[4:8]), "little") > _AT_ONCE_SCHEMA_BYTES:
        return None
    pa = load_pyarrow()
    whole = pa.py_buffer(body)
    try:
        table = _table(pa, whole, bounds, at_once=True)
        if table is None:
            return None
        if schema is not None and (payload := _matrix(whole, table, schema)) is not None:
            return payload
        if len(body) > _SMALL_BYTES or table.num_columns > _SMALL_COLUMNS or any(map(_is_large, table.columns)):
            return None
        frame = read_frame(table)
    except Exception:
        # Whatever a parser makes of bytes that anybody may send: the general route says what is wrong with them.
        return None
    return Payload.frame(frame if schema is None else enforce(frame, schema))


def read_frame(table: Any) -> pd.DataFrame:
    """The DataFrame of an Arrow table. Raises: what pyarrow and pandas raise for what is none."""
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _table(pa: Any, whole: Any, bounds: Bounds, *, at_once: bool = False) -> Any:
    """The table in a stream, checked and validated; None with `at_once` where that would take long."""
    if not _check_messages(pa, whole, bounds, _AT_ONCE_MESSAGES if at_once else _MAX_BATCHES):
        if at_once:
            return None
        raise PayloadTooLarge(f"The Arrow stream has over {_MAX_BATCHES} messages; send larger record batches.")
    with pa.ipc.open_stream(whole) as stream:
        bounds.check_columns(len(stream.schema))
        if at_once and len(stream.schema) > _AT_ONCE_COLUMNS:
            return None
        batches = []
        rows = size_bytes = 0
        for batch in stream:
            rows += batch.num_rows
            bounds.check_rows(rows)
            size_bytes += sum(map(footprint, batch.columns))
            bounds.check_table(size_bytes, whole.size)
            # Offsets that point elsewhere would be followed.
            batch.validate(full=True)
            batches.append(batch)
        return pa.Table.from_batches(batches, schema=stream.schema)


def _is_large(column: Any) -> bool:
    """Whether a column of a small body is more than a few plain values."""
    return column.type.num_fields > 0 or sum(map(footprint, column.chunks)) > 4 * _SMALL_BYTES


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
    matrix = _in_place(whole, table, dtype) if rows * table.num_columns >= LARGE_CELLS else None
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


def _check_messages(pa: Any, whole: Any, bounds: Bounds, most: int) -> bool:
    """Whether a stream has at most so many messages.

    Refuses compressed buffers, of which only what they claim would say how large they become, and dictionaries that
    grow by so many pieces, each copied with all before it, that they would take longer than the table itself.

    Source: Arrow's Message.fbs: the header is the third field of a message, the compression the fourth of a batch.
    """
    reader = pa.ipc.MessageReader.open_stream(whole)
    grown: dict[bytes, int] = {}
    copied_bytes = 0
    for _ in range(most + 1):
        try:
            message = reader.read_next_message()
        except StopIteration:
            return True
        if message.type not in ("record batch", "dictionary"):
            continue
        data = message.metadata.to_pybytes()
        (root,) = struct.unpack_from("<I", data, 0)
        header = _field(data, root, 2)
        if message.type == "dictionary" and header is not None:
            dictionary = _target(data, header)
            header, number, is_delta = (_field(data, dictionary, field) for field in (1, 0, 2))
            name = b"" if number is None else data[number : number + 8]
            added_bytes = 0 if message.body is None else message.body.size
            grown[name] = added_bytes + (grown.get(name, 0) if is_delta is not None and data[is_delta] else 0)
            copied_bytes += grown[name]
            bounds.check_table(copied_bytes, whole.size)
        if header is not None and _field(data, _target(data, header), 3) is not None:
            raise BadRequest("The buffers of an Arrow stream must not be compressed; compress the whole body instead.")
    return False


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


def load_pyarrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError:
        raise MissingPackage("Columnar data needs pyarrow: install 'tiltyard[serving]' or 'pyarrow'.") from None
    return pa
