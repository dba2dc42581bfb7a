"""What a body may stand for: bombs in every columnar layout, texts as arrays, too many values; and what passes."""

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pyfunc.payload import columnar_bombs
from tests.pyfunc.payload.columnar_bombs import arrow, deep_parquet, list_views, parquet, shown, views
from tiltyard.errors import BadRequest, PayloadTooLarge, TiltyardError
from tiltyard.pyfunc.data_types import DataType
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard.pyfunc.payload.columnar.arrow import ARROW_STREAM, read_arrow, read_arrow_at_once
from tiltyard.pyfunc.payload.columnar.footprint import footprint
from tiltyard.pyfunc.payload.columnar.parquet import read_parquet
from tiltyard.pyfunc.payload.columnar.parquet_layout import MAX_DEPTH
from tiltyard.pyfunc.payload.decoder import AT_ONCE_BYTES, TYPED_AT_ONCE_BYTES, Decoder, decode
from tiltyard.pyfunc.payload.typed_json import AT_ONCE_BYTES as LARGEST_BYTES
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec

PARQUET = "application/vnd.apache.parquet"
JSON = "application/json"
NUMBERS = Signature(Schema((ColSpec(DataType.double, "a"), ColSpec(DataType.double, "b"))))


@contextmanager
def no_memory(most_bytes: int = 20_000_000) -> Iterator[None]:
    """What is done here takes little memory, of Python's and of Arrow's."""
    before = pa.default_memory_pool().bytes_allocated()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
        assert pa.default_memory_pool().bytes_allocated() - before < most_bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bomb", columnar_bombs.ARROW.values(), ids=columnar_bombs.ARROW)
def test_arrow_bombs_are_refused(bomb: Callable[[], bytes]) -> None:
    """A stream whose rows cost no bytes is refused by what it stands for, before any of it is built."""
    body = bomb()
    with no_memory(), pytest.raises(PayloadTooLarge, match=r"limit"):
        read_arrow(body, None)
    assert read_arrow_at_once(body, None) is None


@pytest.mark.parametrize("bomb", columnar_bombs.PARQUET.values(), ids=columnar_bombs.PARQUET)
def test_parquet_bombs_are_refused(bomb: Callable[[], bytes]) -> None:
    """A file whose dictionaries, repetitions or compressed pages become gigabytes is refused before that."""
    body = bomb()
    with no_memory(40_000_000), pytest.raises(PayloadTooLarge, match=r"limit"):
        read_parquet(body, None)


@pytest.mark.parametrize("depth", [MAX_DEPTH, 1000, 30_000])
def test_a_deep_schema_never_reaches_the_parser(depth: int) -> None:
    """A Parquet schema of thousands of levels, which would end the process in Arrow's parser, is refused."""
    with pytest.raises((BadRequest, PayloadTooLarge)):
        read_parquet(deep_parquet(depth), None)


def test_a_schema_that_is_there_twice_is_refused() -> None:
    """Arrow's parser takes the last schema of a footer, so a harmless first one proves nothing."""
    harmless, deep = deep_parquet(3), deep_parquet(40_000)
    # Both without the end of their footers; then the fields start anew at number 2, by its long form.
    first, second = harmless[4:-9], deep[6:-9]
    footer = first + b"\x09\x04" + second[1:] + b"\x00"
    body = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(BadRequest):
        read_parquet(body, None)


def test_a_flat_and_a_nested_schema_are_read() -> None:
    """What people send passes: many columns, lists of structs, several row groups, an index."""
    frame = pd.DataFrame({f"column {i}": np.arange(50) / 7 for i in range(300)}, index=pd.Index(range(5, 55)))
    sink = io.BytesIO()
    frame.to_parquet(sink, row_group_size=20)
    pd.testing.assert_frame_equal(read_parquet(sink.getvalue(), None).data, frame)
    nested = pa.array([[{"a": [1, 2], "b": {"c": "x"}}], []] * 20)
    assert read_parquet(parquet(nested), None).rows == 40


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False},
        {"use_dictionary": False, "column_encoding": {"a": "DELTA_BYTE_ARRAY"}},
        {"use_dictionary": False, "column_encoding": {"a": "DELTA_LENGTH_BYTE_ARRAY"}},
        {"compression": "none"},
        {"compression": "zstd", "data_page_version": "2.0"},
        {"compression": "gzip", "row_group_size": 3000},
    ],
)
def test_repetitive_texts_are_read(options: dict[str, Any]) -> None:
    """Texts that a file keeps in far fewer bytes than they have are read, in every encoding."""
    texts = [f"the text number {number % 700} of a few" for number in range(20_000)]
    assert list(read_parquet(parquet(pa.array(texts), **options), None).data["a"]) == texts


def test_a_dictionary_of_long_and_short_texts_is_judged_by_what_is_shown() -> None:
    """One long text in a dictionary of which the rows show the short one is no bomb, in both formats."""
    rows = 30_000
    array = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["y", columnar_bombs.TEXT]))
    assert read_arrow(arrow(array), None).rows == rows
    plain = pa.array(["y", columnar_bombs.TEXT, *["y"] * rows])
    assert read_parquet(parquet(plain, store_schema=False), None).rows == rows + 2


@pytest.mark.parametrize(
    ("array", "at_least"),
    [
        (pa.array(np.zeros(100)), 800),
        (pa.nulls(100), 800),
        (pa.array(["abc"] * 100), 300),
        (views("z" * 100, 50), 5000),
        (shown("z" * 100, 50), 5000),
        (list_views(100), 100 * 100),
        (pa.array([[1, 2], [3]]), 24),
        (pa.array([{"a": "xyz", "b": [1]}]), 11),
        (pa.RunEndEncodedArray.from_arrays(pa.array([1000], pa.int32()), pa.array(["abcdef"])), 6000),
    ],
)
def test_a_footprint_is_never_below_what_is_shown(array: Any, at_least: int) -> None:
    """What an array stands for is at least the bytes that all its rows show together."""
    assert footprint(array) >= at_least


@given(st.data())
def test_lies_about_sizes_are_found_or_refused(data: st.DataObject) -> None:
    """A bomb with changed bytes never becomes a large table, whatever its metadata claims then."""
    kind = data.draw(st.sampled_from(["arrow", "parquet"]))
    bombs = columnar_bombs.ARROW if kind == "arrow" else columnar_bombs.PARQUET
    body = bytearray(data.draw(st.sampled_from([body for bomb in bombs.values() if len(body := bomb()) < 4000])))
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    read = read_arrow if kind == "arrow" else read_parquet
    try:
        assert read(bytes(body), None, Bounds(table_bytes=1_000_000, rows=100_000)).rows <= 100_000
    except TiltyardError as error:
        assert isinstance(error, BadRequest | PayloadTooLarge)


def test_dictionaries_that_grow_piece_by_piece_are_bounded() -> None:
    """Each piece is copied with all before it, so many pieces after a large one are refused."""
    schema = pa.schema([("a", pa.dictionary(pa.int32(), pa.string()))])
    texts = [f"{number:0100d}" for number in range(10_300)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as writer:
        for size in range(10_000, 10_300):
            column = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array(texts[:size]))
            writer.write_batch(pa.record_batch([column], schema=schema))
    with pytest.raises(PayloadTooLarge, match="max_table_bytes"):
        read_arrow(sink.getvalue().to_pybytes(), None)


@pytest.mark.parametrize("signature", [None, Signature(Schema((TensorSpec("str", (-1,)),)))])
@pytest.mark.parametrize("other", ['""', "1"])
def test_one_long_text_does_not_make_all_others_as_long(signature: Signature | None, other: str) -> None:
    """In an array all texts are as long as the longest: a small body that becomes a gigabyte so is refused."""
    body = f'{{"inputs": ["{columnar_bombs.TEXT}", {", ".join([other] * 14_000)}]}}'.encode()
    with no_memory(), pytest.raises(PayloadTooLarge, match="max_table_bytes"):
        decode(body, JSON, signature)
    body = f'{{"inputs": {{"a": ["{columnar_bombs.TEXT}"], "b": [{", ".join([other] * 14_000)}]}}}}'.encode()
    if signature is None:
        assert set(decode(body, JSON, None).data) == {"a", "b"}


@pytest.mark.parametrize("number", ["1.5", "7", "true"])
def test_numbers_beside_a_text_are_as_long_as_they_may_be(number: str) -> None:
    """An array of numbers with one text among them holds them all as texts: it counts as what it will be."""
    body = f'{{"inputs":["a"{f",{number}" * 30_000}]}}'.encode()
    with pytest.raises(PayloadTooLarge, match="'max_table_bytes'"):
        Decoder(None, bounds=Bounds(table_bytes=500_000))(body, "application/json")


SMALL = Bounds(rows=10, columns=20, values=1000)
BODIES: dict[str, tuple[str, bytes, str]] = {
    "rows of JSON": (
        JSON,
        b'{"dataframe_split": {"columns": ["a", "b"], "data": [%s]}}' % b",".join([b"[1,2]"] * 11),
        "rows",
    ),
    "rows of records": (JSON, b'{"dataframe_records": [%s]}' % b",".join([b'{"a":1.5,"b":2}'] * 11), "rows"),
    "rows of CSV": ("text/csv", b"a,b\n" + b"1,2\n" * 11, "rows"),
    "rows of Arrow": (ARROW_STREAM, arrow(pa.array(np.zeros(11))), "rows"),
    "rows of Parquet": (PARQUET, parquet(pa.array(np.zeros(11))), "rows"),
    "columns of CSV": ("text/csv", ",".join(f"c{i}" for i in range(21)).encode() + b"\n", "columns"),
    "values of JSON": (JSON, b'{"inputs": [%s]}' % b",".join([b"1"] * 1000), "values"),
    "lists of JSON": (JSON, b'{"inputs": [%s]}' % b",".join([b"[]"] * 600), "values"),
    "values of CSV": ("text/csv", b"a,b\n" + b"1,2\n" * 600, "values"),
}


@pytest.mark.parametrize(("content_type", "body", "limit"), BODIES.values(), ids=BODIES)
def test_each_bound_names_itself_and_its_value(content_type: str, body: bytes, limit: str) -> None:
    """A body over a bound is refused as too large, by a message with the setting's name and value."""
    for signature in (None, NUMBERS):
        with pytest.raises(PayloadTooLarge, match=rf"'max_{limit}' of {getattr(SMALL, limit)}\."):
            Decoder(signature, bounds=SMALL)(body, content_type)


def test_predictions_are_bounded_before_they_are_written() -> None:
    """An array of more cells than an answer has bytes is not written at all; an answer over the bound is refused."""
    bounds = Bounds(answer_bytes=1000)
    bounds.check_predictions(np.zeros(400))
    bounds.check_predictions({"a": 1})
    with pytest.raises(PayloadTooLarge, match="'max_answer_bytes' of 1000"):
        bounds.check_predictions(np.zeros(501))
    with pytest.raises(PayloadTooLarge, match="'max_answer_bytes' of 1000"):
        bounds.check_answer(1001)


def test_only_what_is_brief_by_size_and_layout_is_read_at_once() -> None:
    """Small JSON, larger JSON of the signature's own types, a matrix in its body; all else is for a thread."""
    numbers, free = Decoder(NUMBERS), Decoder(None)
    small = b'{"inputs": {"a": [1], "b": [2]}}'
    assert numbers.at_once(small, JSON) is not None
    assert free.at_once(small, JSON + "; charset=utf-8; ") is not None
    rows = [[number / 7, 1.5] for number in range(1200)]
    typed = json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": rows}}).encode()
    assert AT_ONCE_BYTES < len(typed) <= TYPED_AT_ONCE_BYTES
    assert numbers.at_once(typed, JSON) is not None
    assert free.at_once(typed, JSON) is None
    # Of another type in its last row, so that it would have to be read twice.
    assert numbers.at_once(typed[:-3] + b"false]]}}", JSON) is None
    assert numbers.at_once(typed + b" " * TYPED_AT_ONCE_BYTES, JSON) is not None
    assert numbers.at_once(typed + b"," * TYPED_AT_ONCE_BYTES, JSON) is None
    assert numbers.at_once(typed + b" " * LARGEST_BYTES, JSON) is None
    for decoder in (numbers, free):
        assert decoder.at_once(b"a,b\n1,2\n", "text/csv") is None
        assert decoder.at_once(parquet(pa.array([1.0])), PARQUET) is None


def test_arrow_tables_are_read_at_once_where_that_is_brief() -> None:
    """A large matrix in place and a small table of plain columns are; many batches, columns or lists are not."""
    matrix = pa.table({"a": np.zeros(200_000), "b": np.zeros(200_000)})
    plain = pa.table({"a": [1.5, 2], "b": ["x", "y"]})
    assert NUMBERS.inputs is not None
    read = read_arrow_at_once(whole(matrix), NUMBERS.inputs)
    assert read is not None
    assert read.rows == 200_000
    assert read_arrow_at_once(whole(plain), None) is not None
    assert read_arrow_at_once(whole(matrix), None) is None
    assert read_arrow_at_once(whole(matrix.select(["b", "a"])), NUMBERS.inputs) is None
    assert read_arrow_at_once(whole(plain, 1) + b"", None) is not None
    many = pa.table({"a": np.zeros(20), "b": np.zeros(20)})
    assert read_arrow_at_once(whole(many, 1), NUMBERS.inputs) is None
    assert read_arrow_at_once(whole(pa.table({"a": [[1.5]], "b": [[2.5]]})), None) is None
    assert read_arrow_at_once(whole(pa.table({str(i): [1] for i in range(40)})), None) is None
    assert read_arrow_at_once(b"\xff\xff\xff\xff\xff\xff\xff\x7f" + whole(plain)[8:], None) is None


def whole(table: Any, rows: int | None = None) -> bytes:
    """An IPC stream, with so many rows in each batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return bytes(sink.getvalue())


def test_pq_reads_what_the_deep_file_is_made_like() -> None:
    """The file that is made by hand for the depth is one that Arrow itself reads, where it is not deep."""
    assert pq.ParquetFile(io.BytesIO(deep_parquet(20))).metadata.num_columns == 1
    assert read_parquet(deep_parquet(20), None).rows == 0
