"""Enforcement equals the peer's in-process enforcement, on generated schemas and inputs."""

import copy
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from tests.pyfunc import peer
from tests.pyfunc.specs import COLUMNS, TENSOR_SCHEMAS, TYPES, frames, schemas
from tiltyard.errors import SchemaEnforcementFailed
from tiltyard.pyfunc.data_types import Array, DataType, Map, Object, Property
from tiltyard.pyfunc.enforcement.enforce import enforce
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec


def ours(data: Any, schema: Schema) -> Any:
    """What we make of it, or REFUSED."""
    try:
        return enforce(data, schema)
    except SchemaEnforcementFailed:
        return peer.REFUSED


def agree(data: Any, schema: Schema) -> None:
    expected = peer.enforce(copy.deepcopy(data), schema)
    actual = ours(copy.deepcopy(data), schema)
    assert (actual is peer.REFUSED) == (expected is peer.REFUSED), (data, schema, expected, actual)
    if actual is not peer.REFUSED:
        assert peer.same(expected, actual), (data, schema, expected, actual)


@pytest.mark.parametrize("kind", list(DataType))
def test_every_type_takes_the_columns_the_peer_takes(kind: DataType) -> None:
    """Every scalar type, against every kind of column pandas can hold."""
    for column in COLUMNS:
        agree(pd.DataFrame({"a": column}), Schema((ColSpec(kind, "a"),)))


@settings(max_examples=300)
@given(st.data())
def test_frames(data: st.DataObject) -> None:
    """Frames with missing, extra, reordered and unsafe columns."""
    schema = data.draw(schemas())
    agree(data.draw(frames(schema.names)), schema)


@settings(max_examples=100)
@given(st.data())
def test_unnamed_columns(data: st.DataObject) -> None:
    """Schemas without names check the count and the types by position."""
    named = data.draw(schemas())
    schema = Schema(tuple(ColSpec(spec.type) for spec in named.columns))
    agree(data.draw(frames(["a", "b", "c"])), schema)


NUMBERS = st.sampled_from([1, 0, 2, 1.5, np.float32(1.5), np.int32(3), np.int64(3), True, None, float("nan")])
CELLS = st.recursive(
    NUMBERS | st.sampled_from(["x", "1.5", "2020-01-01", b"x", np.datetime64("2020-01-01")]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(kind=TYPES, required=st.booleans(), cells=st.lists(CELLS, min_size=1, max_size=3))
def test_nested_types(kind: Any, required: bool, cells: list[Any]) -> None:
    """Arrays, objects and maps, and values of any shape in them."""
    if isinstance(kind, DataType) or _divergent(kind):
        return
    column = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):
        column[i] = cell
    agree(pd.DataFrame({"a": pd.Series(column)}), Schema((ColSpec(kind, "a", required),)))


def _divergent(kind: Any) -> bool:
    """Arrays of text and binary: a null stays a null with us, and bytes keep their zeros."""
    if isinstance(kind, Array):
        return kind.items in (DataType.string, DataType.binary) or _divergent(kind.items)
    if isinstance(kind, Map):
        return _divergent(kind.values)
    return isinstance(kind, Object) and any(_divergent(entry.type) for entry in kind.properties)


@pytest.mark.parametrize(
    "items",
    [["a", "b"], [], [1.5, 2.5], ["a", 1], [b"x", b"y"], np.array(["a", "b"]), np.array([1.5])],
)
def test_arrays_of_text(items: Any) -> None:
    """Items of an array of text become text."""
    agree(pd.DataFrame({"a": [items, items]}), Schema((ColSpec(Array(DataType.string), "a"),)))


def test_a_null_in_an_array_of_text_stays_a_null() -> None:
    """Upstream writes the text 'None' there; we keep the null."""
    result = enforce(pd.DataFrame({"a": [["x", None]]}), Schema((ColSpec(Array(DataType.string), "a"),)))
    assert result["a"][0] == ["x", None]


OTHER_INPUTS = [
    {"a": [1.5, 2.5], "b": ["x", "y"]},
    {"a": 1.5, "b": "x"},
    {"a": np.array([1.5, 2.5]), "b": np.array(["x", "y"])},
    {"a": np.array([[1.5], [2.5]]), "b": ["x", "y"]},
    {"a": [1.5], "b": ["x", "y"]},
    {"a": np.array(1.5), "b": np.array("x")},
    {"b": ["x", "y"]},
    [{"a": 1.5, "b": "x"}, {"a": 2.5}],
    [[1.5, "x"], [2.5, "y"]],
    [1.5, 2.5],
    1.5,
    "x",
    None,
    np.array([[1.5, 2.5]]),
    np.array([1.5, 2.5]),
    np.zeros((1, 2, 3)),
    pd.Series([1.5, 2.5], name="a"),
    pd.DataFrame(),
    {},
    [],
    pd.DataFrame([[1.5, "x", 2]], columns=["a", "b", "b"]),
]
OTHER_SCHEMAS = [
    Schema((ColSpec(DataType.double, "a"), ColSpec(DataType.string, "b"))),
    Schema((ColSpec(DataType.double, "a"), ColSpec(DataType.string, "b", required=False))),
    Schema((ColSpec(DataType.double, "a"),)),
    Schema((ColSpec(DataType.double),)),
    Schema((ColSpec(DataType.double), ColSpec(DataType.double))),
    Schema((ColSpec(DataType.string),)),
    Schema((ColSpec(Array(DataType.double), "a"), ColSpec(DataType.string, "b"))),
    Schema((TensorSpec("float64", (-1,)),)),
    Schema((TensorSpec("float64", (-1, 2)),)),
    Schema((TensorSpec("float64", (-1, 1)),)),
    Schema((TensorSpec("float64", (-1,), "a"),)),
    Schema((TensorSpec("float64", (-1,), "a"), TensorSpec("str", (-1,), "b"))),
    Schema((TensorSpec("int64", (-1, 2), "a"), TensorSpec("float64", (-1,), "b"))),
]


@pytest.mark.parametrize("schema", OTHER_SCHEMAS, ids=str)
@pytest.mark.parametrize("data", OTHER_INPUTS, ids=lambda data: repr(data)[:40])
def test_inputs_that_are_no_frames(data: Any, schema: Schema) -> None:
    """Mappings, lists, arrays, series and scalars become what the peer makes of them."""
    agree(data, schema)


@settings(max_examples=200)
@given(
    schema=TENSOR_SCHEMAS,
    shape=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    dtype=st.sampled_from(["float32", "float64", "int64", "int32", "bool", "uint8", "object", "U3"]),
)
def test_tensors(schema: Schema, shape: list[int], dtype: str) -> None:
    """Shape and dtype of an ndarray must be those of the spec, -1 being any length."""
    agree(np.ones(shape).astype(dtype), schema)


@settings(max_examples=100)
@given(
    schema=TENSOR_SCHEMAS, width=st.integers(1, 3), cell=st.sampled_from([1.5, 2, "x", True, [1.5, 2.5], [1], [[1.5]]])
)
def test_frames_for_tensors(schema: Schema, width: int, cell: Any) -> None:
    """Frames of scalars and of lists are reshaped into the tensor."""
    agree(pd.DataFrame({f"c{i}": [cell, cell] for i in range(width)}), schema)


def test_sparse_matrices() -> None:
    """Sparse matrices are checked like arrays and stay sparse."""
    from scipy.sparse import csc_matrix, csr_matrix

    schema = Schema((TensorSpec("float64", (-1, 2)),))
    for form in (csr_matrix, csc_matrix):
        assert enforce(form(np.eye(2)), schema).format == form(np.eye(2)).format
        assert ours(form(np.eye(3)), schema) is peer.REFUSED
        assert ours(form(np.eye(2, dtype="float32")), schema) is peer.REFUSED


@settings(max_examples=100)
@given(st.data())
def test_enforcement_is_idempotent(data: st.DataObject) -> None:
    """What came out goes through again unchanged."""
    schema = data.draw(schemas())
    once = ours(data.draw(frames(schema.names)), schema)
    if once is not peer.REFUSED:
        assert peer.same(once, ours(once, schema))


def test_the_input_is_left_as_it_was() -> None:
    """Enforcing casts into a new frame."""
    frame = pd.DataFrame({"a": np.array([1, 2], dtype="int32"), "o": [{"p": 0}, {"p": 1}]})
    before = copy.deepcopy(frame)
    schema = Schema((ColSpec(DataType.double, "a"), ColSpec(Object((Property("p", DataType.double),)), "o")))
    enforce(frame, schema)
    pd.testing.assert_frame_equal(frame, before)
