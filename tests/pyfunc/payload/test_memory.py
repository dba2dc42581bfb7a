"""What a payload is said to take of memory is about what it does take."""

import io
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiltyard.pyfunc.data_types import DataType
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.payload.decoder import decode
from tiltyard.pyfunc.payload.memory import memory_bytes
from tiltyard.pyfunc.schema import ColSpec, Schema

JSON, PARQUET = "application/json", "application/vnd.apache.parquet"
ROWS = 100_000
CELLS = {"lists": "[{}]", "objects": "{}", "texts": '"abc"', "objects with a key": '{"x":1}', "nested": "[[1.5]]"}
NUMBERS = Signature(Schema((ColSpec(DataType.double, "a"), ColSpec(DataType.double, "b"))))


def taken(body: bytes) -> tuple[int, int]:
    """How much memory the data of a body take, and how much they are said to."""
    tracemalloc.start()
    try:
        payload = decode(body, JSON, None)
        real_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return real_bytes, memory_bytes(payload.data, body)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("form", ['{"inputs":[%s]}', '{"dataframe_split":{"columns":["a"],"data":[[%s]]}}'])
def test_objects_are_told_from_the_text(cell: str, form: str) -> None:
    """No less than a third of it, and no more than five times as much: of rows the lists are gone."""
    separator = "],[" if "split" in form else ","
    real_bytes, said_bytes = taken((form % separator.join([cell] * ROWS)).encode())
    assert real_bytes / 3 < said_bytes < 5 * real_bytes


def test_arrays_say_it_themselves() -> None:
    """Numbers of a signature take eight bytes each, however long their text is."""
    row = "[1.000000000000001,2.000000000000001]"
    body = f'{{"dataframe_split":{{"columns":["a","b"],"data":[{",".join([row] * ROWS)}]}}}}'.encode()
    assert memory_bytes(decode(body, JSON, NUMBERS).data, body) == 16 * ROWS


def test_tables_say_it_by_their_columns() -> None:
    """Of numbers exactly, of texts about, and of what stands for much more than the body has bytes as well."""
    body = b"a,b,c\n" + b"1,2.5,abc\n" * ROWS
    assert memory_bytes(decode(body, "text/csv", None).data, body) >= 16 * ROWS + 8 * ROWS
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": np.zeros(ROWS), "b": np.zeros(ROWS)}), sink)
    assert len(sink.getvalue()) < ROWS
    assert memory_bytes(decode(sink.getvalue(), PARQUET, NUMBERS).data, sink.getvalue()) == 16 * ROWS


def test_what_is_small_is_not_counted() -> None:
    """Objects of a short text are not worth a look at each of its bytes."""
    body = b'{"inputs":[{},{}]}'
    assert memory_bytes(decode(body, JSON, None).data, body) == 0
