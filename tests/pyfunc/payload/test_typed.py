"""A parse made for the signature reads what the general route reads, to the same columns, or leaves it alone."""

import json
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from tests.pyfunc.payload.test_generated_forms import COLUMN_SCHEMAS, bodies
from tests.pyfunc.specs import to_input
from tiltyard.errors import BadRequest
from tiltyard.pyfunc import Signature
from tiltyard.pyfunc.data_types import DataType
from tiltyard.pyfunc.payload import decoder as payload
from tiltyard.pyfunc.payload.casts import Coerce
from tiltyard.pyfunc.payload.data import Payload
from tiltyard.pyfunc.payload.typed_json import typed_decoder
from tiltyard.pyfunc.schema import ColSpec, Schema

CELLS: dict[DataType, st.SearchStrategy[Any]] = {
    DataType.boolean: st.booleans(),
    DataType.integer: st.integers(-(2**31) - 1, 2**31),
    DataType.long: st.integers(-(2**63) - 1, 2**63) | st.just(3.0),
    DataType.float: st.floats(allow_nan=False, width=32) | st.integers(-(2**25), 2**25) | st.none(),
    DataType.double: st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**54), 2**54) | st.none(),
    DataType.string: st.text(max_size=3) | st.none() | st.just(5),
    DataType.binary: st.sampled_from(["aGk=", "", "a", 1]),
    DataType.datetime: st.sampled_from(["2020-01-01", "2020-01-01T10:00:00", None, "no"]),
}


@st.composite
def fitting(draw: st.DrawFn) -> tuple[Schema, bytes]:
    """A schema of scalars, and a body that is nearly always right for it."""
    kinds = draw(st.lists(st.sampled_from(list(DataType)), min_size=1, max_size=3))
    names = [f"n{i}" for i in range(len(kinds))]
    rows = draw(st.lists(st.tuples(*(CELLS[kind] for kind in kinds)), max_size=4))
    schema = Schema(tuple(ColSpec(kind, name, draw(st.booleans())) for kind, name in zip(kinds, names, strict=True)))
    split: dict[str, Any] = {"columns": names, "data": rows}
    if draw(st.booleans()):
        split["index"] = draw(st.sampled_from([None, list(range(len(rows))), list(range(1, len(rows) + 1))]))
    records = [dict(zip(names, row, strict=True)) for row in rows]
    form = draw(st.sampled_from([{"dataframe_split": split}, {"dataframe_records": records}]))
    return schema, json.dumps(form).encode()


@settings(max_examples=200)
@given(case=fitting() | st.tuples(COLUMN_SCHEMAS, bodies()), coerce=st.sampled_from(["strict", "lenient"]))
def test_what_is_read_in_one_parse_is_what_the_general_route_reads(case: tuple[Schema, bytes], coerce: Coerce) -> None:
    """The same DataFrame of the same types, as many rows, merged with the same requests."""
    schema, body = case
    decoder = typed_decoder(schema, coerce)
    typed = None if decoder is None else decoder(body)
    if typed is None:
        return
    general = payload.decode(body, "application/json", Signature(schema), coerce=coerce)
    assert (typed.rows, typed.merge_key, typed.params) == (general.rows, general.merge_key, None)
    pd.testing.assert_frame_equal(frame(typed), frame(general), check_exact=True)


def frame(read: Payload) -> Any:
    """What the model would get."""
    return to_input([read])


KINDS = [DataType.double, DataType.string, DataType.long, DataType.boolean]
MIXED = Schema(tuple(ColSpec(kind, name) for kind, name in zip(KINDS, "abcd", strict=True)))
ROW = [1.5, "x", 3, True]


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        ({"dataframe_split": {"columns": list("abcd"), "data": [ROW, [None, None, -4, False]]}}, True),
        ({"dataframe_split": {"columns": list("abcd"), "index": [0], "data": [ROW]}}, True),
        ({"dataframe_records": [dict(zip("abcd", ROW, strict=True))]}, True),
        ({"dataframe_records": [dict(zip("dcba", reversed(ROW), strict=True))]}, True),
        # What needs a second look.
        ({"dataframe_split": {"columns": list("dcba"), "data": [ROW[::-1]]}}, False),
        ({"dataframe_split": {"columns": list("abcd"), "index": [7], "data": [ROW]}}, False),
        ({"dataframe_split": {"columns": list("abcd"), "data": [["1.5", "x", 3, True]]}}, False),
        ({"dataframe_split": {"columns": list("abcd"), "data": []}}, False),
        ({"dataframe_records": [{**dict(zip("abcd", ROW, strict=True)), "extra": 1}]}, False),
        ({"dataframe_records": [dict(zip("abcd", ROW, strict=True))], "params": {}}, False),
    ],
)
def test_plain_bodies_are_taken(body: Any, taken: bool) -> None:
    """Bodies as clients send them are read in one parse; the rest is left to the general route."""
    decoder = typed_decoder(MIXED, "strict")
    assert decoder is not None
    assert (decoder(json.dumps(body).encode()) is not None) == taken


def test_a_decoder_refuses_as_the_general_route_does() -> None:
    """A wrong value is still named by its column and row."""
    decoder = payload.Decoder(Signature(MIXED))
    body = {"dataframe_split": {"columns": list("abcd"), "data": [ROW, [1.5, "x", 3.5, True]]}}
    with pytest.raises(BadRequest, match=r"column 'c' .*Row 1: 3\.5 has a fraction"):
        decoder(json.dumps(body).encode(), "application/json")


def test_numbers_of_one_type_become_one_matrix() -> None:
    """A row of another length, or a number that a double cannot hold, is not taken."""
    decoder = typed_decoder(Schema((ColSpec(DataType.double, "a"), ColSpec(DataType.double, "b"))), "strict")
    assert decoder is not None
    columns = b'{"dataframe_split":{"columns":["a","b"],"data":'
    read = decoder(columns + b"[[1,2.5],[null,-0.0]]}}")
    assert read is not None
    np.testing.assert_array_equal(read.data, [[1, 2.5], [np.nan, -0.0]])
    for data in (b"[[1]]", b"[[1,2,3]]", b"[[1,9007199254740993]]", b"[[1,NaN]]", b"[[1,1e400]]", b"[[1,2]],"):
        assert decoder(columns + data + b"}}") is None
