"""Arrow columns to model inputs and back, without Spark."""

import contextlib
import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import types as T

from tiltyard.errors import InvalidParameterValue, SchemaEnforcementFailed
from tiltyard.pyfunc.enforce import enforce
from tiltyard.pyfunc.schema import AnyType, ColSpec, DataType, Schema, TensorSpec
from tiltyard.spark.checks import _POSSIBLE
from tiltyard.spark.columns import Arguments, is_proven
from tiltyard.spark.predictions import Predictions
from tiltyard.spark.result_types import check_result_type, result_type_of
from tiltyard.spark.worker import joined

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
        (pa.array([dt.date(2026, 7, 1)]), dt.date(2026, 7, 1)),
        (pa.array([decimal.Decimal("1.25")]), decimal.Decimal("1.25")),
        (pa.array([[1, 2]]), [1, 2]),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), {"k": 1}),
        (pa.array([b"ab"]), b"ab"),
        (pa.array([None], pa.string()), None),
    ],
)
def test_other_columns_become_what_pandas_users_expect(array: pa.Array, expected: Any):
    """Without a signature instants are wall-clock times of the session's zone, dates are dates, maps dictionaries."""
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
        (np.array([1.5, np.nan]), pa.float64(), [1.5, None]),
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


def test_small_batches_are_joined_and_large_ones_left_alone():
    """Batches of few rows come out together, no row is lost, and a batch of useful size is not copied."""
    large = (pa.array(range(100)), pa.array(range(100)))
    batches = [(pa.array([i]), pa.array([i])) for i in range(25)] + [(pa.array([], pa.int64()),) * 2, large]
    tuples = list(joined(iter(batches), useful_rows=10))
    assert [len(columns[0]) for columns in tuples] == [10, 10, 105]
    assert sum(tuples[2][1].to_pylist()) == sum(range(20, 25)) + sum(range(100))
    assert next(joined(iter([large]), useful_rows=10)) is large


def test_arrow_types_prove_what_enforcement_would_check():
    """Only numbers of exactly the signature's types, integers without nulls, need no enforcement."""
    doubles, longs = pa.array([1.0, None]), pa.array([1, 2])
    assert is_proven([doubles, longs], ["float64", "int64"])
    assert not is_proven([doubles, pa.array([1, None])], ["float64", "int64"])
    assert not is_proven([longs], ["float64"])
    assert not is_proven([pa.array([True])], ["bool"])
    assert not is_proven([doubles], ["float64", "float64"])


@pytest.mark.parametrize("spark_type", sorted(_POSSIBLE))
def test_types_refused_before_the_job_are_those_that_enforcement_refuses(spark_type: str):
    """A pair of types is refused early exactly when no sample of it, with or without nulls, passes enforcement."""
    for target in DataType:
        schema = Schema((ColSpec(target, "x"),))
        passed = False
        for array in SAMPLES[spark_type]:
            frame = Arguments(schema, time_zone="UTC", names=["x"]).to_input([array])
            with contextlib.suppress(SchemaEnforcementFailed):
                enforce(frame, schema)
                passed = True
        assert passed == (target in _POSSIBLE[spark_type]), (spark_type, target)


def sample(kind: pa.DataType, *values: Any) -> list[pa.Array]:
    return [pa.array([value, *rest], kind) for value in values for rest in ([], [None])]


SAMPLES = {
    "tinyint": sample(pa.int8(), 0, 5),
    "smallint": sample(pa.int16(), 0, 5),
    "int": sample(pa.int32(), 0, 5),
    "bigint": sample(pa.int64(), 0, 5),
    "float": sample(pa.float32(), 0.0, 1.5),
    "double": sample(pa.float64(), 0.0, 1.5),
    "decimal": sample(pa.decimal128(10, 2), decimal.Decimal("1.00")),
    "date": sample(pa.date32(), dt.date(2026, 7, 1)),
    "timestamp": sample(pa.timestamp("us", tz="UTC"), dt.datetime(2026, 7, 1)),
    "timestamp_ntz": sample(pa.timestamp("us"), dt.datetime(2026, 7, 1)),
    "boolean": sample(pa.bool_(), True),
    "string": sample(pa.string(), "x", "1.5", "2026-07-01"),
    "array": sample(pa.list_(pa.int64()), [1, 2]),
    "struct": sample(pa.struct([("a", pa.int64())]), {"a": 1}),
    "map": sample(pa.map_(pa.string(), pa.int64()), [("k", 1)]),
}


@pytest.mark.parametrize(
    ("result_type", "outputs", "names"),
    [
        (T.StructType().add("a", "long"), Schema((ColSpec(DataType.long, "b"),)), r"struct<a:bigint>.*'b'.*no \['a'\]"),
        (T.DoubleType(), Schema((ColSpec(DataType.string, "t"),)), r"double.*'t': string"),
        (T.BooleanType(), Schema((TensorSpec("int64", (-1,)),)), r"boolean.*int64"),
        (T.ArrayType(T.LongType()), Schema((TensorSpec("str", (-1,)),)), r"array<bigint>.*str"),
    ],
)
def test_a_result_type_that_the_outputs_cannot_have_is_refused(result_type: Any, outputs: Schema, names: str):
    """The message names the type that was asked for and the output signature."""
    with pytest.raises(InvalidParameterValue, match=names):
        check_result_type(result_type, outputs)


@pytest.mark.parametrize(
    ("result_type", "outputs"),
    [
        (T.StringType(), Schema((TensorSpec("int64", (-1,)),))),
        (T.LongType(), Schema((ColSpec(DataType.string, "t"), ColSpec(DataType.double, "n")))),
        (T.StructType().add("t", "string"), Schema((ColSpec(DataType.string, "t"), ColSpec(DataType.double, "n")))),
        (T.ArrayType(T.DoubleType()), Schema((TensorSpec("float64", (-1, 3)),))),
        (T.DoubleType(), Schema((ColSpec(AnyType()),))),
        (T.DoubleType(), None),
    ],
)
def test_a_result_type_that_may_do_is_left_to_the_rows(result_type: Any, outputs: Schema | None):
    """Where types do not settle it, nothing is refused."""
    check_result_type(result_type, outputs)
