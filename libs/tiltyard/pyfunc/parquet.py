"""Parquet bodies. What comes out of a file is bounded before it is read: a file of a kilobyte can stand for gigabytes.

Source: mlflow/pyfunc/scoring_server/__init__.py (parse_parquet_input) at v3.17.2.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tiltyard.errors import BadRequest, TiltyardError
from tiltyard.pyfunc import bounds as default
from tiltyard.pyfunc.arrow import read_frame
from tiltyard.pyfunc.bounds import Bounds
from tiltyard.pyfunc.enforce import enforce
from tiltyard.pyfunc.footprint import footprint
from tiltyard.pyfunc.form import Body, Payload
from tiltyard.pyfunc.parquet_layout import Damaged, Page, Steps, check_schema, pages
from tiltyard.pyfunc.schema import Schema

_WIDTH_BYTES = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_OFFSET_BYTES = 4

# Encodings of a page, by their numbers in the format, in which a value takes fewer bytes than it has.
_DICTIONARY = (2, 8)
_DELTA = 7


class _Chunk(NamedTuple):
    """What one column of one row group may become: bytes as such, and bytes that its texts have at most."""

    path: str
    size_bytes: int
    text_bytes: int
    # The longest text that a page of deltas could have; 0 where there is no such page.
    delta_bytes: int


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
    check_schema(body, steps, bounds.columns)
    whole = pa.py_buffer(body)
    with pq.ParquetFile(pa.BufferReader(whole)) as file:
        bounds.check_rows(file.metadata.num_rows)
        chunks = list(_chunks(file, body, steps))
        plain_bytes = sum(chunk.size_bytes for chunk in chunks)
        bounds.check_table(plain_bytes, len(body))
        if plain_bytes + sum(chunk.text_bytes for chunk in chunks) > bounds.table_bytes_for(len(body)):
            _check_texts(whole, chunks, plain_bytes, bounds)
        return file.read()


def _chunks(file: Any, body: Body, steps: Steps) -> Iterator[_Chunk]:
    about = file.metadata
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        for column in range(group.num_columns):
            steps.take(16)
            chunk = group.column(column)
            if chunk.num_values < 0 or chunk.total_compressed_size < 0:
                raise Damaged("A column of the file has a size below 0.")
            leaf = file.schema.column(column)
            width = _WIDTH_BYTES.get(chunk.physical_type, max(0, leaf.length or 0))
            levels = leaf.max_definition_level + leaf.max_repetition_level
            size_bytes = chunk.num_values * (max(8, width) + _OFFSET_BYTES * levels)
            texts = chunk.physical_type == "BYTE_ARRAY"
            if not texts and chunk.compression == "UNCOMPRESSED":
                yield _Chunk(chunk.path_in_schema, size_bytes, 0, 0)
                continue
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
                start = chunk.dictionary_page_offset
            found = list(pages(body, start, chunk.total_compressed_size, steps))
            pages_bytes = sum(page.size_bytes for page in found)
            text_bytes = sum(_texts(found)) if texts else 0
            delta_bytes = max((page.size_bytes for page in found if page.encoding == _DELTA), default=0) if texts else 0
            yield _Chunk(chunk.path_in_schema, max(size_bytes, pages_bytes), text_bytes, delta_bytes)


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


def _check_texts(whole: Any, chunks: list[_Chunk], plain_bytes: int, bounds: Bounds) -> None:
    """Nothing, if the texts of the file are within the bounds: read as they are kept, or a few at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    limit_bytes = bounds.table_bytes_for(whole.size)
    size_bytes = plain_bytes
    for path in dict.fromkeys(chunk.path for chunk in chunks if chunk.text_bytes):
        delta_bytes = max(chunk.delta_bytes for chunk in chunks if chunk.path == path)
        with pq.ParquetFile(pa.BufferReader(whole), read_dictionary=[] if delta_bytes else [path]) as file:
            rows = file.metadata.num_rows if not delta_bytes else max(1, limit_bytes // (4 * delta_bytes))
            for batch in file.iter_batches(max(1, rows), columns=[path], use_threads=False):
                size_bytes += sum(footprint(column) for column in batch.columns)
                bounds.check_table(size_bytes, whole.size)


def _no_file() -> BadRequest:
    return BadRequest(
        "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid Parquet Pandas DataFrame "
        "produced using the `pandas.DataFrame.to_parquet()` method."
    )
