"""Parquet bodies. What comes out of a file is bounded before it is read: a file of a kilobyte can stand for gigabytes.

Source: mlflow/pyfunc/scoring_server/__init__.py (parse_parquet_input) at v3.17.2.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tiltyard.errors import BadRequest, TiltyardError
from tiltyard.pyfunc.enforcement.enforce import enforce
from tiltyard.pyfunc.json_text import Body
from tiltyard.pyfunc.payload import bounds as default
from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard.pyfunc.payload.columnar.arrow import read_frame
from tiltyard.pyfunc.payload.columnar.footprint import footprint
from tiltyard.pyfunc.payload.columnar.parquet_layout import TEXT, Chunk, Page, pages, read_layout
from tiltyard.pyfunc.payload.columnar.thrift import Damaged, Steps
from tiltyard.pyfunc.payload.data import Payload
from tiltyard.pyfunc.schema import Schema

# What a cell takes at least, and each level of lists and structs above it.
_CELL_BYTES = 8
_LEVEL_BYTES = 8

# Encodings of a page, by their numbers in the format, in which a value takes fewer bytes than it has.
_DICTIONARY = (2, 8)
_DELTA = 7


class _Size(NamedTuple):
    """What a chunk may become: bytes as such, and bytes that its texts have at most beside them."""

    column: int
    plain_bytes: int
    text_bytes: int = 0
    # The longest text that a page of deltas could have; 0 where there is no such page.
    delta_bytes: int = 0


def read_parquet(body: Body, schema: Schema | None, bounds: Bounds = default.DEFAULT) -> Payload:
    """The payload of a Parquet file; its types are its own, so only the strict enforcement follows.

    Raises:
        BadRequest: not a Parquet file.
        PayloadTooLarge: the table in it is over the bounds.
        SchemaEnforcementFailed: columns are missing or not of their types.
        MissingPackage: pyarrow is not installed.
    """
    try:
        table = _table(body, bounds)
        bounds.check_table(sum(footprint(chunk) for column in table.columns for chunk in column.chunks), len(body))
        frame = read_frame(table)
    except Damaged:
        raise _no_file() from None
    except TiltyardError:
        raise
    except Exception:
        # Whatever a parser makes of bytes that anybody may send.
        raise _no_file() from None
    return Payload.frame(frame if schema is None else enforce(frame, schema))


def _table(body: Body, bounds: Bounds) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    steps = Steps()
    layout = read_layout(body, steps, bounds)
    sizes = [_size(body, chunk, steps) for chunk in layout.chunks]
    plain_bytes = sum(size.plain_bytes for size in sizes)
    bounds.check_table(plain_bytes, len(body))
    whole = pa.py_buffer(body)
    with pq.ParquetFile(pa.BufferReader(whole)) as file:
        if plain_bytes + sum(size.text_bytes for size in sizes) > bounds.table_bytes_for(len(body)):
            _check_texts(whole, file.metadata, sizes, plain_bytes, bounds)
        return file.read()


def _size(body: Body, chunk: Chunk, steps: Steps) -> _Size:
    is_text = chunk.leaf.type == TEXT
    width_bytes = max(_CELL_BYTES, 0 if is_text else chunk.leaf.width_bytes)
    plain_bytes = chunk.values * (width_bytes + _LEVEL_BYTES * (chunk.leaf.depth - 1))
    if not is_text and not chunk.is_compressed:
        return _Size(chunk.column, plain_bytes)
    found = list(pages(body, chunk, steps))
    plain_bytes = max(plain_bytes, sum(page.size_bytes for page in found))
    if not is_text:
        return _Size(chunk.column, plain_bytes)
    delta_bytes = max((page.size_bytes for page in found if page.encoding == _DELTA), default=0)
    return _Size(chunk.column, plain_bytes, sum(_texts(found)), delta_bytes)


def _texts(found: list[Page]) -> Iterator[int]:
    """What the texts of each page have at most, beside what they take in it."""
    longest = max((page.size_bytes for page in found if page.is_dictionary), default=0)
    for page in found:
        if page.is_dictionary:
            continue
        if page.encoding in _DICTIONARY:
            yield page.values * longest
        elif page.encoding == _DELTA:
            # Each text may repeat the one before it.
            yield page.values * page.size_bytes


def _check_texts(whole: Any, metadata: Any, sizes: list[_Size], plain_bytes: int, bounds: Bounds) -> None:
    """Nothing, if the texts of the file are within the bounds: read as they are kept, or a few at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    limit_bytes = bounds.table_bytes_for(whole.size)
    size_bytes = plain_bytes
    for column in dict.fromkeys(size.column for size in sizes if size.text_bytes):
        delta_bytes = max(size.delta_bytes for size in sizes if size.column == column)
        # Of deltas only so many at a time as cannot be too much together.
        rows = max(1, limit_bytes // (4 * delta_bytes)) if delta_bytes else bounds.rows
        # By `metadata.schema`, which holds what it is held by, it would stay until garbage is collected.
        path = metadata.row_group(0).column(column).path_in_schema
        dictionaries = [] if delta_bytes else [path]
        with pq.ParquetFile(pa.BufferReader(whole), metadata=metadata, read_dictionary=dictionaries) as file:
            for batch in file.iter_batches(rows, columns=[path], use_threads=False):
                size_bytes += sum(map(footprint, batch.columns))
                bounds.check_table(size_bytes, whole.size)


def _no_file() -> BadRequest:
    return BadRequest(
        "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid Parquet Pandas DataFrame "
        "produced using the `pandas.DataFrame.to_parquet()` method."
    )
