"""CSV, Parquet and Arrow bodies: of few bytes and large tables, of odd types, and damaged."""

import io
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.bodies.json_text import damaged
from tests.fuzz.case import Case, one_in
from tests.fuzz.servings import NAMES, path_of_invocations

# More would be refused by its size alone, and takes gigabytes to make.
_MOST_BYTES = 128 << 20
_CELLS = ["", "1", "1.5", "a", '"', '""', '"a\nb"', "NaN", "1e400", "9" * 400, "é", "\x00", "2024-01-01", "[1]", " "]


def csv(rng: Random) -> Case:
    """Text of commas and quotes, of which some are lines with as many cells as the head."""
    width, rows = rng.choice([(0, 5), (1, 5), (4, 50), (8, 5000), (5000, 2), (60_000, 1), (1, 300_000)])
    head = ",".join(rng.choice(NAMES) if width < 100 or one_in(rng, 2) else f"c{at}" for at in range(width))
    line = ",".join(rng.choice(_CELLS) for _ in range(max(0, width + rng.choice([0, 0, 0, 1, -1]))))
    body = rng.choice(["\n", "\r\n", "\r"]).join([head, *[line] * rows]).encode()
    kind = rng.choice(["text/csv", "text/csv; charset=utf-16", "text/csv;header=absent"])
    return Case("csv", "serving", "POST", path_of_invocations(rng), damaged(rng, body), {"content-type": kind})


def parquet(rng: Random) -> Case:
    """A Parquet file, whose pages and footer may say what is not so."""
    sink = io.BytesIO()
    options = {
        "compression": rng.choice(["none", "snappy", "zstd", "gzip", "brotli", "lz4"]),
        "use_dictionary": rng.choice([True, False]),
        "data_page_version": rng.choice(["1.0", "2.0"]),
        "row_group_size": rng.choice([1000, 1_000_000]),
    }
    pq.write_table(_table(rng, dictionaries=False), sink, **options)
    body = _lied(rng, sink.getvalue())
    return _case("parquet", "application/vnd.apache.parquet", rng, body)


def arrow(rng: Random) -> Case:
    """An Arrow stream."""
    sink = io.BytesIO()
    table = _table(rng, dictionaries=True)
    options = pa.ipc.IpcWriteOptions(compression=rng.choice([None, "zstd", "lz4"]))
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        for _ in range(rng.choice([1, 1, 1, 50])):
            if sink.tell() < _MOST_BYTES:
                writer.write_table(table)
    return _case("arrow", "application/vnd.apache.arrow.stream", rng, _lied(rng, sink.getvalue()))


def _case(kind: str, content_type: str, rng: Random, body: bytes) -> Case:
    return Case(kind, "serving", "POST", path_of_invocations(rng), damaged(rng, body), {"content-type": content_type})


def _lied(rng: Random, body: bytes) -> bytes:
    """The file with some bytes of its end or of its beginning, where its layout is told, changed."""
    if not one_in(rng, 3):
        return body
    changed = bytearray(body)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(min(len(body), 2000))
        changed[at if one_in(rng, 2) else -1 - at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(changed)


def _table(rng: Random, *, dictionaries: bool) -> Any:
    rows = rng.choice([0, 1, 3, 1000, 100_000, 1_000_000])
    width = rng.choice([1, 2, 4, 8] if rows > 1000 else [0, 1, 4, 8, 2000])
    columns: list[Any] = []
    size_bytes = 0
    for _ in range(width):
        column = _column(rng, rows, dictionaries=dictionaries)
        size_bytes += column.get_total_buffer_size()
        columns.append(column if size_bytes < _MOST_BYTES else pa.nulls(rows))
    names = [rng.choice(NAMES) if width < 100 else f"c{at}" for at in range(width)]
    return pa.Table.from_arrays(columns, names=names)


def _column(rng: Random, rows: int, *, dictionaries: bool) -> Any:
    many = [
        lambda: pa.array([1], pa.int64()).take(pa.repeat(0, rows)),
        lambda: pa.repeat(rng.choice([1.5, float("nan"), True, "a", b"\xff"]), rows),
        lambda: pa.nulls(rows, rng.choice([pa.null(), pa.int8(), pa.float64(), pa.string(), pa.list_(pa.int64())])),
        lambda: pa.nulls(rows, pa.struct([("x", pa.list_(pa.map_(pa.string(), pa.int8())))])),
    ]
    if dictionaries:
        text = "x" * rng.choice([1, 1000, 1_000_000])
        many.append(lambda: pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), rows), [text]))
        many.append(lambda: pa.RunEndEncodedArray.from_arrays([max(1, rows)], [text]).slice(0, rows))
    elif rows <= 1000:
        many.append(lambda: pa.repeat("x" * rng.choice([1, 1000, 10_000]), rows))
    if rows <= 1000:
        deep: Any = pa.int64()
        for _ in range(rng.choice([1, 5, 30])):
            deep = pa.list_(deep)
        many.append(lambda: pa.nulls(rows, deep))
        odd = [pa.decimal128(38, 10), pa.timestamp("ns", "Asia/Tokyo"), pa.duration("s"), pa.date32(), pa.float16()]
        many.append(lambda: pa.nulls(rows, rng.choice(odd)))
    return rng.choice(many)()
