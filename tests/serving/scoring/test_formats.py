"""One table through every format that is read and written; compressed bodies, and what is too large or damaged."""

import gzip
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.http_calls import Answer, request
from tests.serving.saved_models import IRIS
from tiltyard.errors import BadRequest, PayloadTooLarge, TiltyardError
from tiltyard.pyfunc.data_types import DataType
from tiltyard.pyfunc.payload.columnar.arrow import read_arrow
from tiltyard.pyfunc.payload.columnar.parquet import read_parquet
from tiltyard.pyfunc.payload.output_tables import encode_arrow, encode_csv
from tiltyard.pyfunc.schema import ColSpec, Schema
from tiltyard_serving.scoring.bodies import inflate_gzip, inflate_zstd
from tiltyard_serving.scoring.formats import wanted

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
ROWS = np.random.default_rng(5).uniform(0.1, 8, (200, 4)).round(2)
FRAME = pd.DataFrame(ROWS, columns=IRIS)


def arrow(table: Any, **options: Any) -> bytes:
    """An IPC stream."""
    table = pa.Table.from_pandas(table, preserve_index=False) if isinstance(table, pd.DataFrame) else table
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=64)
    return bytes(sink.getvalue())


def parquet(frame: pd.DataFrame) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    frame.to_parquet(sink)
    return sink.getvalue()


def as_json(frame: pd.DataFrame, form: str) -> bytes:
    """One of the JSON forms."""
    values: dict[str, Any] = {
        "dataframe_split": {"columns": list(frame.columns), "data": frame.to_numpy().tolist()},
        "dataframe_records": frame.to_dict(orient="records"),
        "instances": frame.to_dict(orient="records"),
        "inputs": frame.to_dict(orient="list"),
    }
    return json.dumps({form: values[form]}).encode()


def zstd(data: bytes) -> bytes:
    """A zstd stream."""
    return bytes(pa.Codec("zstd").compress(data).to_pybytes())


BODIES = {
    **{form: ("application/json", as_json(FRAME, form)) for form in ("dataframe_split", "dataframe_records")},
    **{form: ("application/json", as_json(FRAME, form)) for form in ("instances", "inputs")},
    "csv": ("text/csv", FRAME.to_csv(index=False).encode()),
    "parquet": (PARQUET, parquet(FRAME)),
    "arrow": (ARROW, arrow(FRAME)),
}


def post(port: int, body: bytes, **headers: str) -> Answer:
    return request(port, "POST", "/invocations", body, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.fixture
def expected(port: int) -> list[int]:
    """What the model says to the table."""
    predictions = post(port, BODIES["dataframe_split"][1], content_type="application/json").predictions
    assert set(predictions) == {0, 1, 2}
    return list(predictions)


@pytest.mark.parametrize(("content_type", "body"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("encoding", [None, "identity", "gzip", "x-gzip", "zstd"])
def test_all_formats_say_the_same(
    port: int, expected: list[int], content_type: str, body: bytes, encoding: str | None
) -> None:
    """The same rows give the same predictions in every format, plain and compressed."""
    if encoding:
        data = zstd(body) if encoding == "zstd" else gzip.compress(body) if "gzip" in encoding else body
        answer = post(port, data, content_type=content_type, content_encoding=encoding)
    else:
        answer = post(port, body, content_type=content_type)
    assert answer.predictions == expected


def test_answers_by_accept(port: int, expected: list[int]) -> None:
    """Arrow and CSV answers hold the predictions of the JSON one; the preferred format wins."""
    content_type, body = BODIES["arrow"]
    answer = post(port, body, content_type=content_type, accept=f"text/csv;q=0.5, {ARROW}")
    assert answer.headers["content-type"] == ARROW
    with pa.ipc.open_stream(answer.body) as stream:
        assert stream.read_all().to_pydict() == {"predictions": expected}
    answer = post(port, body, content_type=content_type, accept="text/csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert pd.read_csv(io.BytesIO(answer.body)).to_dict("list") == {"predictions": expected}


def test_what_is_too_large_inflated_is_413(port: int) -> None:
    """A small body that becomes a large one is refused, without being read whole."""
    zeros = b" " * 50_000_000
    for encoding, body in (("gzip", gzip.compress(zeros)), ("zstd", zstd(zeros))):
        answer = post(port, body, content_type="application/json", content_encoding=encoding)
        assert answer.refusal() == (413, "BAD_REQUEST")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("body", [b"nonsense", gzip.compress(b"{}" * 99, mtime=0)[:-9], zstd(b"ab" * 4000)[:-3]])
def test_damaged_compression_is_400(port: int, encoding: str, body: bytes) -> None:
    """A body that is not what its encoding says is the caller's fault."""
    answer = post(port, body, content_type="application/json", content_encoding=encoding)
    assert answer.refusal() == (400, "BAD_REQUEST")


def test_inflating_stops_at_the_bound() -> None:
    """The bound is on what comes out, exactly, over all members."""
    twice = gzip.compress(b"a" * 50) + gzip.compress(b"b" * 50)
    assert b"".join(inflate_gzip(twice, 100)) == b"a" * 50 + b"b" * 50
    assert b"".join(inflate_zstd(zstd(b"a" * 100), 100)) == b"a" * 100
    for inflate, body in ((inflate_gzip, twice), (inflate_zstd, zstd(b"a" * 100))):
        with pytest.raises(PayloadTooLarge):
            b"".join(inflate(body, 99))


def test_gzip_members_cost_no_square() -> None:
    """Members are read one after another without copying the rest each time; very many of them are refused."""
    empty = gzip.compress(b"", mtime=0)
    assert b"".join(inflate_gzip(empty * 9000 + gzip.compress(b"ab"), 100)) == b"ab"
    assert b"".join(inflate_gzip(gzip.compress(b"ab" * 50_000) * 3, 300_000)) == b"ab" * 150_000
    with pytest.raises(PayloadTooLarge, match="over 10000 gzip members"):
        b"".join(inflate_gzip(empty * 100_000, 100))
    with pytest.raises(BadRequest, match="ends too early"):
        b"".join(inflate_gzip(empty + gzip.compress(b"ab" * 50_000)[:-1], 300_000))


@pytest.mark.parametrize("kind", [DataType.double, DataType.float])
def test_an_arrow_table_of_numbers_is_read_as_one_matrix(kind: DataType) -> None:
    """The same DataFrame as column by column, nulls too; a table of other columns or row labels is no matrix."""
    schema = Schema(tuple(ColSpec(kind, name) for name in "abc"))
    frame = FRAME.iloc[:, :3].set_axis(list("abc"), axis=1).astype(kind.dtype)
    frame.iloc[3, 1] = np.nan
    with_nulls = pa.table({name: pa.array(frame[name].shift()) for name in frame})
    for table in (frame, pa.Table.from_pandas(frame), with_nulls):
        read = read_arrow(arrow(table), schema)
        plain = read_arrow(arrow(table), None)
        assert read.merge_key == ("matrix", np.dtype(kind.dtype).char, ("a", "b", "c"))
        pd.testing.assert_frame_equal(read.build([read.data]), plain.build([plain.data]))
    for table in (frame[["b", "a", "c"]], pa.Table.from_pandas(frame[5:])):
        assert read_arrow(arrow(table), schema).merge_key is None


def in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of any size are looked at where they are."""
    monkeypatch.setattr("tiltyard.pyfunc.payload.columnar.arrow.LARGE_CELLS", 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_numbers_are_the_same_where_they_lie_and_copied(data: st.DataObject, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the columns lie in the body: sliced, with nulls, in batches, off their alignment."""
    kind = data.draw(st.sampled_from([DataType.double, DataType.float]))
    names = [f"c{number}" for number in range(data.draw(st.integers(1, 5)))]
    rows = data.draw(st.integers(1, 40))
    start = data.draw(st.integers(0, rows - 1))
    nulls = data.draw(st.sampled_from([0.0, 0.1]))
    random = np.random.default_rng(rows)
    columns = [pa.array(random.normal(size=rows).astype(kind.dtype), mask=random.random(rows) < nulls) for _ in names]
    table = pa.table(columns, names=names).slice(start)
    body = arrow(table) if data.draw(st.booleans()) else arrow_whole(table)
    off = data.draw(st.integers(0, 9))
    place = memoryview(bytearray(b"x" * off + body))[off:]
    schema = Schema(tuple(ColSpec(kind, name) for name in names))
    copied = read_arrow(body, schema)
    in_place(monkeypatch)
    for sent in (body, place):
        found = read_arrow(sent, schema)
        assert found.merge_key == copied.merge_key
        np.testing.assert_array_equal(found.data, copied.data)
        frame = found.build([found.data])
        frame.iloc[:, 0] = 0.0
        frame.to_numpy()[:] = 0.0
        del frame
        np.testing.assert_array_equal(read_arrow(sent, schema).data, copied.data)


def test_large_columns_are_not_copied() -> None:
    """The matrix lies in the body, cannot be written to, and keeps the body as long as it is there."""
    body = bytearray(arrow_whole(pa.table({name: np.arange(20_000) / 7 for name in "abc"})))
    matrix = read_arrow(memoryview(body), Schema(tuple(ColSpec(DataType.double, name) for name in "abc"))).data
    assert np.shares_memory(matrix, np.frombuffer(body, dtype=np.uint8))
    assert not matrix.flags.writeable
    with pytest.raises(BufferError):
        body.clear()
    assert (matrix == (np.arange(20_000) / 7)[:, None]).all()


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_numbers_are_refused_where_they_lie(data: st.DataObject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream with changed bytes is read or refused as the caller's fault, and nothing else."""
    in_place(monkeypatch)
    body = bytearray(arrow_whole(pa.table({name: np.arange(9.0) for name in "abc"})))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    schema = Schema(tuple(ColSpec(DataType.double, name) for name in "abc"))
    try:
        read = read_arrow(bytes(body[: data.draw(st.integers(0, len(body)))]), schema)
        # All of it can be looked at.
        assert np.asarray(read.build([read.data])).tobytes() is not None
    except TiltyardError as error:
        assert error.code in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE") or isinstance(error, PayloadTooLarge)


def test_a_table_that_is_too_large_is_refused() -> None:
    """A small stream or file that stands for a huge table is refused before it is built."""
    nulls = pa.table({"a": pa.nulls(1_000_000_000)})
    with pytest.raises(PayloadTooLarge):
        read_arrow(arrow_whole(nulls), None)
    sink = io.BytesIO()
    columns = {str(number): pa.nulls(2_000_000, pa.int8()) for number in range(80)}
    pq.write_table(pa.table(columns), sink)
    assert len(sink.getvalue()) < 400_000
    with pytest.raises(PayloadTooLarge):
        read_parquet(sink.getvalue(), None)


def arrow_whole(table: Any) -> bytes:
    """An IPC stream in one batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_buffers_are_refused(compression: str) -> None:
    """Buffers whose size only they themselves claim are not read."""
    with pytest.raises(BadRequest, match="must not be compressed"):
        read_arrow(arrow(FRAME, compression=compression), None)
    words = pa.table({"a": pa.array(["x", "y"] * 50).dictionary_encode()})
    assert read_arrow(arrow(words), None).rows == 100
    with pytest.raises(BadRequest, match="must not be compressed"):
        read_arrow(arrow(words, compression=compression), None)


@given(st.data())
def test_damaged_streams_are_refused(data: st.DataObject) -> None:
    """A stream with changed bytes is read or refused as the caller's fault, and nothing else."""
    table = pa.table({"a": [1.0, 2.0], "b": ["x", "yz"], "c": [[1], [2, 3]], "d": [True, None]})
    body = bytearray(arrow(table))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_arrow(bytes(body[: data.draw(st.integers(0, len(body)))]), None)
    except TiltyardError as error:
        assert isinstance(error, BadRequest | PayloadTooLarge)


PREDICTIONS: dict[str, tuple[Any, dict[str, list[Any]]]] = {
    "array": (np.array([1.5, 2.5]), {"predictions": [1.5, 2.5]}),
    "list": (["a", "b"], {"predictions": ["a", "b"]}),
    "frame": (pd.DataFrame({"p": [1, 2], "q": ["x", "y"]}), {"p": [1, 2], "q": ["x", "y"]}),
    "dict": ({"p": np.array([1, 2])}, {"p": [1, 2]}),
}


@pytest.mark.parametrize(("predictions", "table"), PREDICTIONS.values(), ids=PREDICTIONS)
def test_what_models_return_as_tables(predictions: Any, table: dict[str, list[Any]]) -> None:
    """Frames keep their columns, everything else with one value per row is the column `predictions`."""
    assert pa.ipc.open_stream(encode_arrow(predictions)).read_all().to_pydict() == table
    assert pd.read_csv(io.BytesIO(encode_csv(predictions))).to_dict("list") == table


def test_matrices_as_tables() -> None:
    """A matrix is a column of lists in Arrow and numbered columns in CSV."""
    matrix = np.array([[0.25, 0.75], [1.0, 0.0]])
    assert pa.ipc.open_stream(encode_arrow(matrix)).read_all().to_pydict() == {"predictions": matrix.tolist()}
    assert encode_csv(matrix) == b"0,1\n0.25,0.75\n1.0,0.0\n"


@pytest.mark.parametrize("predictions", [None, "text", 1, np.float64(1), {1, 2}])
def test_what_is_no_table_is_the_callers_choice(predictions: Any) -> None:
    """One value cannot be a table; the caller is told to accept JSON."""
    for encode in (encode_arrow, encode_csv):
        with pytest.raises(BadRequest, match="accept JSON"):
            encode(predictions)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("text/csv, application/json", "text/csv; charset=utf-8"),
        ("text/csv;q=0.1, */*;q=0.2", "application/json"),
        ("TEXT/CSV;q=x", "application/json"),
        (f"{ARROW};q=1", ARROW),
    ],
)
def test_the_preferred_format(accept: str | None, content_type: str) -> None:
    """The highest quality wins, the first among equals; what is not written here is JSON."""
    assert wanted(accept).content_type.decode() == content_type
