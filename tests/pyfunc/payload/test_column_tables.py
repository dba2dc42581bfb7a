"""Columns that come as columns make the table that their rows would make, and no row is built."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.errors import TiltyardError
from tiltyard.pyfunc.enforcement import tensors
from tiltyard.pyfunc.enforcement.tensors import reshape_column
from tiltyard.pyfunc.payload import dataframe_json, tf_serving
from tiltyard.pyfunc.payload.casts import Coerce
from tiltyard.pyfunc.payload.data import Payload
from tiltyard.pyfunc.payload.dataframe_json import table, table_of_columns
from tiltyard.pyfunc.schema import Schema, TensorSpec

TYPES = ("double", "float", "integer", "long", "boolean", "string", "datetime", "binary", "any")
CELLS = st.one_of(
    *(st.integers(-(2**65), 2**65), st.integers(-5, 5), st.floats(), st.booleans(), st.none()),
    *(st.sampled_from(["1.5", "2", "a", "", "true", "2024-01-01", "YQ=="]), st.just([1]), st.just({"a": 1})),
)
NAMES = ["a", "b", "c"]


def outcome(payload: Any) -> Any:
    """What a payload holds, to be compared, or how it is refused."""
    try:
        made: Payload = payload()
    except TiltyardError as error:
        return type(error), error.message
    arrays = made.data if isinstance(made.data, list) else [made.data]
    return made.rows, made.merge_key, [(array.dtype, array.shape, repr(array.tolist())) for array in arrays]


@given(
    st.lists(st.sampled_from(TYPES), min_size=1, max_size=3) | st.sampled_from([["double"] * 2, ["float"] * 2]),
    st.integers(1, 3),
    st.integers(0, 4),
    st.data(),
    st.sampled_from(["strict", "lenient"]),
)
def test_columns_make_the_table_of_their_rows(
    types: list[str], width: int, rows: int, data: st.DataObject, coerce: Coerce
) -> None:
    """Of the same types and values, or refused in the same words, whatever the signature and the cells are."""
    schema = Schema.from_json(
        json.dumps([{"name": name, "type": kind} for name, kind in zip(NAMES, types, strict=False)])
    )
    kind = data.draw(st.sampled_from([CELLS, st.floats(-9, 9) | st.none(), st.integers(-9, 9)]))
    columns = [data.draw(st.lists(kind, min_size=rows, max_size=rows)) for _ in range(width)]
    labels = data.draw(st.permutations(NAMES))[:width]
    by_rows = [list(row) for row in zip(*columns, strict=True)]
    assert outcome(lambda: table_of_columns(columns, labels, schema, coerce, tf_form=True)) == outcome(
        lambda: table(by_rows, labels, schema, coerce, tf_form=True)
    )


@pytest.mark.parametrize(
    "value", [[1.5, None, 2.0], {"a": [1.5, None, 2.0]}, [{"a": 1.5, "x": 1}, {"a": None}, {"a": 2.0}]]
)
def test_a_column_is_not_made_of_rows(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of cells, an object of columns, and a list of objects need no list for each of their rows."""
    for module, name in (
        (tf_serving, "table"),
        (dataframe_json, "table"),
        (dataframe_json, "columns_of"),
        (dataframe_json, "cast_matrix"),
    ):
        monkeypatch.setattr(module, name, pytest.fail)
    specs = [{"type": "double"}] if value == [1.5, None, 2.0] else [{"name": "a", "type": "double"}]
    payload = tf_serving.read_inputs(value, Schema.from_json(json.dumps(specs)), "strict")
    np.testing.assert_array_equal(payload.data, [[1.5], [np.nan], [2.0]])


@given(
    st.sampled_from(["float64", "float32", "int64", "bool"]),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.sampled_from([(-1,), (-1, 1), (-1, 2), (-1, 2, 2), (-1, 6), (2, 2)]),
)
def test_an_array_is_the_tensor_of_its_cells(dtype: str, sizes: list[int], shape: tuple[int, ...]) -> None:
    """A column that is an array already is reshaped as its cells would be, one by one, or refused as they are."""
    array = (np.arange(np.prod(sizes)) % 2).astype(dtype).reshape(sizes)
    spec = TensorSpec(dtype, shape, "a")
    outcomes = []
    for values in (array, list(array) if array.ndim > 1 else array.tolist()):
        try:
            tensor = reshape_column(values, spec)
            outcomes.append((tensor.dtype, tensor.shape, tensor.tolist()))
        except TiltyardError as error:
            outcomes.append(error.message)
    assert outcomes[0] == outcomes[1]


def test_a_table_of_numbers_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of a tensor's own type become tensors as they are; others are converted value by value."""
    taken: list[type] = []
    monkeypatch.setattr(tensors, "reshape_column", lambda values, _spec: taken.append(type(values)))
    schema = Schema((TensorSpec("float64", (-1,), "a"), TensorSpec("int64", (-1,), "b")))
    tensors.enforce_tensors(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}), schema)
    assert taken == [np.ndarray, list]
