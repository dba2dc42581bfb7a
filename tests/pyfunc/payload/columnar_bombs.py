"""Small columnar bodies that stand for very large tables, and a Parquet file whose schema is as deep as asked for."""

import functools
import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TEXT = "x" * 20_000


def arrow(array: Any) -> bytes:
    """An IPC stream of one column."""
    batch = pa.record_batch([array], names=["a"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def parquet(array: Any, **options: Any) -> bytes:
    """A Parquet file of one column."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": array}), sink, **options)
    return sink.getvalue()


def shown(text: str, rows: int) -> Any:
    """A dictionary whose one text all rows show."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def views(text: str, rows: int) -> Any:
    """String views that all show one text."""
    _, first, data = pa.array([text], pa.string_view()).buffers()
    return pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(first.to_pybytes() * rows), data])


def list_views(rows: int) -> Any:
    """List views that each show all of one array as long as they are many."""
    starts, sizes = pa.array(np.zeros(rows, np.int32)), pa.array(np.full(rows, rows, np.int32))
    return pa.ListViewArray.from_arrays(starts, sizes, pa.array(np.zeros(rows, np.int8)))


def runs(rows: int) -> Any:
    """One run of one text."""
    return pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), pa.array([TEXT]))


def nulls(rows: int) -> Any:
    """Nulls of no type, which take no byte."""
    return pa.nulls(rows)


_ARROW: dict[str, Callable[[], bytes]] = {
    "nulls": lambda: arrow(pa.nulls(100_000_000)),
    "one list of nulls": lambda: arrow(pa.FixedSizeListArray.from_arrays(pa.nulls(100_000_000), 100_000_000)),
    "lists in lists": lambda: arrow(
        pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(pa.nulls(90_000_000), 30_000), 3000)
    ),
    "list views": lambda: arrow(list_views(20_000)),
    "string views": lambda: arrow(views(TEXT, 26_000)),
    "lists of string views": lambda: arrow(pa.FixedSizeListArray.from_arrays(views(TEXT, 26_000), 1000)),
    "structs without fields": lambda: arrow(pa.array([{}] * 1_000_000, pa.struct([]))),
    "a run": lambda: arrow(runs(40_000)),
    "a dictionary": lambda: arrow(shown(TEXT, 40_000)),
    "a dictionary of lists": lambda: arrow(
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(40_000, np.int8)), pa.array([[0.5] * 9000]))
    ),
    "a dense union": lambda: arrow(
        pa.UnionArray.from_dense(
            pa.array(np.zeros(40_000, np.int8)), pa.array(np.zeros(40_000, np.int32)), [pa.array([TEXT])]
        )
    ),
}

_PARQUET: dict[str, Callable[[], bytes]] = {
    "a dictionary": lambda: parquet(shown(TEXT, 40_000), store_schema=False),
    "a dictionary kept": lambda: parquet(shown(TEXT, 40_000)),
    "a dictionary in lists": lambda: parquet(
        pa.ListArray.from_arrays(pa.array(np.arange(0, 40_001, 100), pa.int32()), shown(TEXT, 40_000).cast("string"))
    ),
    "repeated beginnings": lambda: parquet(
        shown(TEXT, 2000).cast("string"), use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"}
    ),
    "pages that inflate": lambda: parquet(shown(TEXT, 20_000).cast("string"), use_dictionary=False, compression="zstd"),
    "bytes of one size": lambda: parquet(pa.array([TEXT.encode()] * 2000, pa.binary(20_000))),
    "nulls": lambda: parquet(pa.nulls(5_000_000, pa.int8())),
}

# Each is made for the first test that asks, and not by each process that only looks for tests.
ARROW = {name: functools.cache(make) for name, make in _ARROW.items()}
PARQUET = {name: functools.cache(make) for name, make in _PARQUET.items()}


def deep_parquet(depth: int) -> bytes:
    """A file without rows, whose one column lies in so many groups."""
    elements = [_element(b"s", children=1), *[_element(b"g", children=1)] * depth, _element(b"x")]
    size = bytes([len(elements) << 4 | 12]) if len(elements) < 15 else b"\xfc" + _varint(len(elements))
    footer = b"\x15" + _varint(2) + b"\x19" + size + b"".join(elements) + b"\x16\x00\x19\x0c\x00"
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _element(name: bytes, children: int | None = None) -> bytes:
    """A SchemaElement: required, with a name; of physical type INT32, or with children."""
    head = (b"\x15" + _varint(2) + b"\x25" if children is None else b"\x35") + b"\x00"
    tail = b"" if children is None else b"\x15" + _varint(2 * children)
    return head + b"\x18" + _varint(len(name)) + name + tail + b"\x00"


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
