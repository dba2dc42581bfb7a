"""Arrow columns to model inputs and back, without Spark."""

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.schema import ColSpec, DataType, Schema, TensorSpec
from tiltyard.spark.columns import Arguments, Predictions
from tiltyard.spark.result_types import result_type_of

TWO = Schema((ColSpec(DataType.double, "x"), ColSpec(DataType.long, "y")))


def arguments(inputs: Schema | None = None) -> Arguments:
    return Arguments(inputs, time_zone="Europe/Berlin")


def test_doubles_become_one_matrix_with_names():
    """Plain double columns share one block, and keep their gaps as NaN."""
    frame = arguments().to_input([pa.array([1.0, None]), pa.array([2.0, 3.0])])
    assert list(frame.columns) == ["0", "1"]
    assert frame.to_numpy()[0].tolist() == [1.0, 2.0]
    assert np.isnan(frame.iloc[1, 0])
    assert len(frame._mgr.blocks) == 1


def test_a_struct_brings_its_own_names():
    """The fields of a struct are columns by their names, and a null struct is null in each of them."""
    struct = pa.StructArray.from_arrays(
        [pa.array([1, 2]), pa.array(["a", "b"])], ["n", "s"], mask=pa.array([False, True])
    )
    frame = arguments().to_input([struct])
    assert frame["s"].tolist() == ["a", None]


def test_columns_take_the_names_of_the_signature():
    """Plain columns are named in the order of the signature; too few of them are refused."""
    frame = arguments(TWO).to_input([pa.array([1.0]), pa.array([2])])
    assert frame.dtypes.astype(str).to_dict() == {"x": "float64", "y": "int64"}
    with pytest.raises(InvalidParameterValue, match="received only 1"):
        arguments(TWO).to_input([pa.array([1.0])])


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([dt.datetime(2026, 7, 1, 12)], pa.timestamp("us", tz="UTC")), pd.Timestamp("2026-07-01 14:00")),
        (pa.array([dt.datetime(2026, 7, 1, 12)], pa.timestamp("us")), pd.Timestamp("2026-07-01 12:00")),
        (pa.array([dt.date(2026, 7, 1)]), pd.Timestamp("2026-07-01")),
        (pa.array([decimal.Decimal("1.25")]), 1.25),
        (pa.array([[1, 2]]), [1, 2]),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), {"k": 1}),
        (pa.array([b"ab"]), b"ab"),
        (pa.array([None], pa.string()), None),
    ],
)
def test_other_columns_become_what_pandas_users_expect(array: pa.Array, expected: Any):
    """Instants are wall-clock times of the session's zone, dates are midnights, maps are dictionaries."""
    frame = arguments().to_input([array, pa.array(["x"])])
    value = frame.iloc[0, 0]
    assert (value.tolist() if isinstance(value, np.ndarray) else value) == expected


def test_one_array_column_is_a_tensor():
    """A list column is the tensor itself for a model with a tensor signature."""
    tensor = arguments(Schema((TensorSpec("float64", (-1, 2)),))).to_input([pa.array([[1.0, 2.0], [3.0, 4.0]])])
    assert tensor.shape == (2, 2)


@pytest.mark.parametrize(
    ("output", "arrow_type", "expected"),
    [
        (np.array([1, 2]), pa.int64(), [1, 2]),
        (np.array([1, 2]), pa.int32(), [1, 2]),
        (np.array([1.5, np.nan]), pa.float64(), [1.5, pytest.approx(np.nan, nan_ok=True)]),
        (np.array([1, 2]), pa.string(), ["1", "2"]),
        (np.array([[0.1, 0.9], [0.4, 0.6]]), pa.list_(pa.float64()), [[0.1, 0.9], [0.4, 0.6]]),
        (np.array([[0.1, 0.9], [0.4, 0.6]]), pa.float64(), [0.1, 0.4]),
        (["a", None], pa.string(), ["a", None]),
        ([[1, 2], [3]], pa.list_(pa.int64()), [[1, 2], [3]]),
        (pd.Series([True, False]), pa.bool_(), [True, False]),
        (pd.DataFrame({"t": ["x", "y"], "n": [1, 2]}), pa.int64(), [1, 2]),
        (
            pd.DataFrame({"b": [1, 2], "a": [3, 4]}),
            pa.struct([("a", pa.int64()), ("b", pa.float64())]),
            [{"a": 3, "b": 1.0}, {"a": 4, "b": 2.0}],
        ),
        ({"a": np.array([1, 2])}, pa.struct([("a", pa.int64())]), [{"a": 1}, {"a": 2}]),
    ],
)
def test_predictions_become_a_column_of_the_result_type(output: Any, arrow_type: pa.DataType, expected: list[Any]):
    """The leftmost fitting column, all columns as an array, or columns by name as a struct."""
    assert Predictions(arrow_type).to_arrow(output, 2).to_pylist() == expected


@pytest.mark.parametrize(
    ("output", "arrow_type"),
    [
        (np.array([1, 2]), pa.bool_()),
        (np.array([1.5, 2.0]), pa.int64()),
        (np.array([2**40, 1]), pa.int32()),
        (np.array(["1", "2"]), pa.float64()),
        (np.array([1, 2]), pa.struct([("a", pa.int64())])),
        (np.array([1, 2, 3]), pa.int64()),
        (7, pa.int64()),
    ],
)
def test_predictions_that_do_not_fit_are_refused(output: Any, arrow_type: pa.DataType):
    """Nothing is cut off, guessed or repeated: a wrong type, field or count is an error."""
    with pytest.raises(InvalidParameterValue):
        Predictions(arrow_type).to_arrow(output, 2)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (None, "double"),
        (Schema((ColSpec(DataType.long),)), "bigint"),
        (
            Schema((ColSpec(DataType.double, "p"), ColSpec(DataType.string, "c`d"))),
            "struct<`p`: double, `c``d`: string>",
        ),
        (Schema((TensorSpec("int64", (-1,)),)), "bigint"),
        (Schema((TensorSpec("float32", (-1,)),)), "float"),
        (Schema((TensorSpec("float64", (-1, 3)),)), "array<double>"),
    ],
)
def test_the_result_type_follows_the_output_signature(outputs: Schema | None, expected: str):
    """One output is a scalar, named outputs a struct, a matrix an array per row."""
    assert result_type_of(outputs) == expected


def test_a_deep_tensor_needs_a_result_type():
    """An output that Spark has no type for is refused with a hint."""
    with pytest.raises(InvalidParameterValue, match="result_type"):
        result_type_of(Schema((TensorSpec("float64", (-1, 2, 2)),)))
