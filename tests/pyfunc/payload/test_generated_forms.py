"""Any JSON in any form, under any signature, is an input or a refusal."""

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.pyfunc.specs import TYPES, to_input
from tiltyard.errors import TiltyardError
from tiltyard.pyfunc import Signature
from tiltyard.pyfunc.data_types import DataType
from tiltyard.pyfunc.payload import decoder, output
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec

SCALARS = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        2**31,
        2**53 + 1,
        2**63,
        2**64,
        2**200,
        -(2**63),
        1.5,
        -0.0,
        1e308,
        1e-320,
        "",
        "a",
        "3",
        "nan",
        "inf",
        "1e999",
        "aGk=",
        "é",
        "\x00",
        "2020-01-01",
        "2020-01-01T00:00:00+02:00",
        "99999-01-01",
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abpqx"), inner, max_size=3),
    max_leaves=8,
)
LABELS = st.sampled_from([["a"], ["a", "b"], ["b", "a", "x"]])

COLUMN_SCHEMAS = st.builds(
    lambda kinds, named, required: Schema(
        tuple(
            ColSpec(kind, name if named else None, required or not named)
            for kind, name in zip(kinds, "ab", strict=False)
        )
    ),
    st.lists(TYPES, min_size=1, max_size=2),
    st.booleans(),
    st.booleans(),
)
DTYPES = ["float32", "float64", "int64", "int8", "uint8", "uint64", "bool", "object", "str", "bytes", "float16"]
DTYPES += ["datetime64[ns]", "complex128"]
TENSORS = st.builds(
    lambda dtype, shape, named: Schema(
        tuple(TensorSpec(dtype, tuple(shape), name) for name in ("ab" if named else [None]))
    ),
    st.sampled_from(DTYPES),
    st.lists(st.sampled_from([-1, 1, 2]), max_size=3),
    st.booleans(),
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A body of one of the four forms: often nearly right, sometimes anything."""
    field = draw(st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs"]))
    labels = draw(LABELS)
    rows = draw(st.lists(st.lists(VALUES, min_size=len(labels), max_size=len(labels)), max_size=3))
    shapes: list[Any] = [
        {"columns": labels, "data": rows},
        [dict(zip(labels, row, strict=True)) for row in rows],
        {label: [row[i] for row in rows] for i, label in enumerate(labels)},
        rows,
        draw(VALUES),
    ]
    return json.dumps({field: draw(st.sampled_from(shapes))}).encode()


@settings(max_examples=500)
@given(
    body=bodies(),
    schema=st.none() | COLUMN_SCHEMAS | TENSORS,
    coerce=st.sampled_from(["strict", "lenient"]),
)
def test_any_form_is_an_input_or_a_refusal(body: bytes, schema: Schema | None, coerce: Any) -> None:
    """Nothing but our own errors; what has a merge key can be merged with itself."""
    signature = None if schema is None else Signature(schema)
    try:
        one = decoder.decode(body, "application/json", signature, coerce=coerce)
        made = to_input([one])
    except TiltyardError as error:
        assert len(error.message) < 3000
        return
    if one.merge_key is not None:
        assert len(to_input([one, one])) == (2 * one.rows if not isinstance(made, dict) else len(made))


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (DataType.datetime, [0, "2020-01-01T00:00:00+02:00", "2020-01-01"]),
        (DataType.datetime, ["2020-01-01", "2020-01-01T00:00:00+02:00"]),
        (DataType.float, [2**200]),
    ],
)
def test_cells_that_once_were_too_much(kind: DataType, cells: list[Any]) -> None:
    """Found by generated bodies: texts with and without an offset, integers beyond a float."""
    body = json.dumps({"dataframe_records": [{"a": cell} for cell in cells]}).encode()
    with pytest.raises(TiltyardError, match="Failed to convert column 'a'"):
        decoder.decode(body, "application/json", Signature(Schema((ColSpec(kind, "a"),))))


def test_an_output_of_any_json_is_written() -> None:
    """Values that came in can go out again."""
    for value in [2**200, {"a": [1, None, 2**64]}, [float("nan"), "é"]]:
        assert json.loads(output.encode(value))["predictions"] is not None
