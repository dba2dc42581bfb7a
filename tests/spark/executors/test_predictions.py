"""What a model returned, as one Arrow column, and the result type that is asked for. Without Spark."""

import datetime as dt
import enum
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import types as T

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.data_types import AnyType, Array, DataType, Map, Object, Property
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec
from tiltyard.spark.executors.predictions import Predictions
from tiltyard.spark.scoring.result_types import check_result_type, inferred_type, result_type_of


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
        (np.array([2**53 + 1, 1]), pa.float64()),
        ([2**70, 1], pa.int64()),
        ({"a": "texts", "b": 1}, pa.int64()),
        ({"a": [1, 2], "b": [1]}, pa.int64()),
        ([[1], 2], pa.list_(pa.int64())),
        ([{"a": 1}, 2], pa.struct([("a", pa.int64())])),
        ([], pa.int64()),
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


class Label(str, enum.Enum):  # noqa: UP042 - the older form is what users have
    FRAUD = "fraud"


NUMBERS = [1.0, None]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (np.array([1.0, np.nan]), NUMBERS),
        ([1.0, float("nan")], NUMBERS),
        ([1.0, None], NUMBERS),
        (pd.Series([1.0, np.nan]), NUMBERS),
        (pd.Series([1, None], dtype="Int64"), NUMBERS),
        (pd.Series([1.0, pd.NA], dtype=object), NUMBERS),
        (pd.DataFrame({"p": [1.0, np.nan]}), NUMBERS),
        ({"p": [1.0, np.nan]}, NUMBERS),
        ([{"p": 1.0}, {"p": np.nan}], NUMBERS),
        ([{"p": 1.0}, None], NUMBERS),
        (np.ma.array([1.0, 2.0], mask=[False, True]), NUMBERS),
    ],
)
def test_missing_is_null_whatever_the_container(output: Any, expected: list[Any]):
    """A missing prediction is null as a number, as a text, and within an array."""
    assert Predictions(pa.float64()).to_arrow(output, 2).to_pylist() == expected
    texts = Predictions(pa.string()).to_arrow(output, 2).to_pylist()
    assert [text is None for text in texts] == [False, True]
    assert Predictions(pa.list_(pa.float64())).to_arrow([[value, 2.0] for value in expected], 2).to_pylist() == [
        [1.0, 2.0],
        [None, 2.0],
    ]


@pytest.mark.parametrize(
    ("output", "arrow_type", "expected"),
    [
        ([Label.FRAUD, Label.FRAUD], pa.string(), ["fraud", "fraud"]),
        (np.array([Label.FRAUD, None], dtype=object), pa.string(), ["fraud", None]),
        (pd.Series([Label.FRAUD, Label.FRAUD], dtype=object), pa.string(), ["fraud", "fraud"]),
        ([[Label.FRAUD], []], pa.list_(pa.string()), [["fraud"], []]),
        ([{"label": Label.FRAUD}] * 2, pa.struct([("label", pa.string())]), [{"label": "fraud"}] * 2),
        ([{Label.FRAUD: 1.0}] * 2, pa.map_(pa.string(), pa.float64()), [[("fraud", 1.0)]] * 2),
        ([enum.IntEnum("Level", "LOW HIGH").HIGH] * 2, pa.int64(), [2, 2]),
    ],
)
def test_an_enum_is_what_it_extends(output: Any, arrow_type: pa.DataType, expected: list[Any]):
    """A label that is a text enum is its text, wherever it stands, and never its name."""
    assert Predictions(arrow_type).to_arrow(output, 2).to_pylist() == expected


@pytest.mark.parametrize(
    ("columns", "arrow_type", "expected"),
    [
        ({"label": ["x", "y"], "flag": [True, False], "p": [0.5, 0.6]}, pa.float64(), [0.5, 0.6]),
        ({"p": [1.0, 2.0], "n": [3, 4]}, pa.int64(), [3, 4]),
        ({"n": [1, 2], "flag": [True, False]}, pa.bool_(), [True, False]),
        ({"label": [None, None], "score": [None, 7]}, pa.int64(), [None, 7]),
        ({"label": ["x", "y"], "a": [1, 2], "b": [0.5, None]}, pa.list_(pa.float64()), [[1.0, 0.5], [2.0, None]]),
        ({"label": ["x", "y"], "e": [[0.5], [1.5, None]]}, pa.list_(pa.float64()), [[0.5], [1.5, None]]),
    ],
)
def test_the_column_is_chosen_by_its_kind(columns: dict[str, list[Any]], arrow_type: pa.DataType, expected: list[Any]):
    """Of a table the first column of the type's kind is the prediction, of an array type all of them."""
    assert Predictions(arrow_type).to_arrow(pd.DataFrame(columns), 2).to_pylist() == expected
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert Predictions(arrow_type).to_arrow(rows, 2).to_pylist() == expected


def test_a_value_that_does_not_fit_never_moves_the_choice():
    """A key too large for the type ends the batch: the column beside it is no prediction."""
    frame = pd.DataFrame({"key": [2**53 + 1, 1], "p": [0.5, 0.6]})
    with pytest.raises(InvalidParameterValue, match="double"):
        Predictions(pa.float64()).to_arrow(frame, 2)


NESTED = pa.struct([("a", pa.list_(pa.struct([("x", pa.int64()), ("y", pa.map_(pa.string(), pa.float64()))])))])


def test_nested_types_take_what_fits_at_every_level():
    """Structs in arrays in structs, with maps in them; None is null on each level, and a row may lack a field."""
    rows = [{"a": [{"x": 1, "y": {"k": 0.5}}, {"x": None}, None]}, {"a": None}]
    found = Predictions(NESTED).to_arrow(rows, 2).to_pylist()
    assert found == [{"a": [{"x": 1, "y": [("k", 0.5)]}, {"x": None, "y": None}, None]}, {"a": None}]
    with pytest.raises(InvalidParameterValue, match=r"'a\.y' that the model does not give"):
        Predictions(NESTED).to_arrow([{"a": [{"x": 1}]}, {"a": []}], 2)


def test_an_optional_field_may_be_missing_from_a_whole_batch():
    """Where the signature calls a field optional it is null; any other missing one ends the job."""
    entry = Object((Property("x", DataType.long), Property("y", DataType.double, required=False)))
    outputs = Schema((ColSpec(Array(entry), "a"), ColSpec(DataType.string, "note", required=False)))
    kind = pa.struct([("a", pa.list_(pa.struct([("x", pa.int64()), ("y", pa.float64())]))), ("note", pa.string())])
    found = Predictions(kind, outputs=outputs).to_arrow([{"a": [{"x": 1}]}], 1).to_pylist()
    assert found == [{"a": [{"x": 1, "y": None}], "note": None}]
    with pytest.raises(InvalidParameterValue, match=r"\['note'\] that the model does not give"):
        Predictions(kind).to_arrow([{"a": [{"x": 1}]}], 1)


def test_times_without_a_zone_are_in_that_of_the_session():
    """A model's times are wall-clock times; those with a zone, and dates, are what they are."""
    moments = [dt.datetime(2026, 7, 1, 12), dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)]
    kind = pa.timestamp("us", tz="UTC")
    for moment, hour in zip(moments, (16, 12), strict=True):
        for output in ([moment], pd.Series([moment]), pd.DataFrame({"at": [moment]})):
            (found,) = Predictions(kind, time_zone="America/New_York").to_arrow(output, 1).to_pylist()
            assert found == dt.datetime(2026, 7, 1, hour, tzinfo=dt.UTC)


INFERRED = {
    "struct<a:bigint,b:array<double>>": Object((Property("a", DataType.long), Property("b", Array(DataType.double)))),
    "map<string,struct<x:string>>": Map(Object((Property("x", DataType.string),))),
    "array<array<int>>": Array(Array(DataType.integer)),
    "timestamp": DataType.datetime,
    "binary": DataType.binary,
}


@pytest.mark.parametrize("text", INFERRED)
def test_every_output_signature_that_spark_has_a_type_for_is_inferred(spark: Any, text: str):
    """Objects, maps, arrays of arrays, times and bytes, alone and beside another column."""
    assert inferred_type(Schema((ColSpec(INFERRED[text], "out"),))).simpleString() == text
    two = Schema((ColSpec(INFERRED[text], "out"), ColSpec(DataType.double, "p")))
    assert inferred_type(two).simpleString() == f"struct<out:{text},p:double>"
