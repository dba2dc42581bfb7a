"""Arrow columns to model inputs and back, without Spark."""

import contextlib
import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tiltyard.errors import InvalidParameterValue, SchemaEnforcementFailed
from tiltyard.pyfunc.data_types import Array, DataType
from tiltyard.pyfunc.enforcement.enforce import enforce
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec
from tiltyard.spark.executors.arrow_columns import Arguments, is_proven
from tiltyard.spark.executors.column_names import match_names
from tiltyard.spark.executors.scorer import joined
from tiltyard.spark.scoring.column_checks import POSSIBLE

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


@pytest.mark.parametrize("spark_type", sorted(POSSIBLE))
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
        assert passed == (target in POSSIBLE[spark_type]), (spark_type, target)


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


INSTANT = pa.timestamp("us", tz="UTC")
NOON = dt.datetime(2026, 7, 1, 12)
LOCAL = pd.Timestamp("2026-07-01 14:00")
ENTRY = pa.struct([("t", INSTANT), ("n", pa.int64())])


def plain(value: Any) -> Any:
    """A value with lists for arrays."""
    if isinstance(value, np.ndarray | list):
        return [plain(item) for item in value]
    return value


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (INSTANT, [NOON, NOON], [LOCAL, LOCAL]),
        (pa.list_(INSTANT), [[NOON], None], [[LOCAL], None]),
        (pa.list_(pa.list_(INSTANT)), [[[NOON, NOON]], [[], None]], [[[LOCAL, LOCAL]], [[], None]]),
        (pa.list_(ENTRY), [[{"t": NOON, "n": 1}, None], []], [[{"t": LOCAL, "n": 1}, None], []]),
        (pa.struct([("t", pa.list_(INSTANT))]), [{"t": [NOON]}, None], [{"t": [LOCAL]}, None]),
        (pa.map_(INSTANT, INSTANT), [[(NOON, NOON)], None], [{LOCAL: LOCAL}, None]),
        (pa.list_(pa.map_(pa.string(), INSTANT)), [[[("k", NOON)]], []], [[{"k": LOCAL}], []]),
    ],
)
@pytest.mark.parametrize("sliced", [False, True], ids=["whole", "a part"])
def test_times_are_those_of_the_session_at_any_depth(kind: pa.DataType, values: Any, expected: Any, sliced: bool):
    """Elements, fields, keys and values are wall-clock times of the session's zone, as a plain column of times is."""
    array = pa.array([values[0], *values], kind)[1:] if sliced else pa.array(values, kind)
    frame = arguments().to_input([array, pa.array(["x", "y"])])
    assert [plain(value) for value in frame["0"]] == expected
    if pa.types.is_list(kind) and kind.value_type == INSTANT:
        typed = Schema((ColSpec(Array(DataType.datetime), "0"), ColSpec(DataType.string, "1")))
        enforced = enforce(arguments(typed).to_input([array[:1], pa.array(["x"])]), typed)
        assert pd.Timestamp(enforced["0"][0][0]) == LOCAL


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([2**53 + 1, None]), [2**53 + 1, None]),
        (pa.array([-(2**53) - 1, None]), [-(2**53) - 1, None]),
        (pa.array([[2**53 + 1, None], None]), [[2**53 + 1, None], None]),
        (pa.array([[[1, None]], []], pa.list_(pa.list_(pa.int32()))), [[[1, None]], []]),
        (pa.array([{"n": 2**53 + 1}, {"n": None}]), [{"n": 2**53 + 1}, {"n": None}]),
    ],
)
def test_a_null_changes_no_other_value(array: pa.Array, expected: list[Any]):
    """Integers keep their digits beside a null, in a column and in arrays; small ones are doubles, as ever."""
    assert [plain(value) for value in arguments().to_input([array, pa.array(["x", "y"])])["0"]] == expected
    small = arguments().to_input([pa.array([5, None]), pa.array(["x", "y"])])["0"]
    assert small.dtype == "float64" and small[0] == 5.0
    typed = Schema((ColSpec(DataType.double, "a"), ColSpec(DataType.double, "b")))
    if array.type == pa.int64():
        with pytest.raises(SchemaEnforcementFailed, match=r"'a'.*too large"):
            arguments(typed).to_input([array, array])


def test_times_beyond_nanoseconds_come_with_microseconds():
    """9999-12-31 ends no job: times keep their value, dates are dates; nested ones too."""
    last, day = dt.datetime(9999, 12, 31, 12), dt.date(9999, 12, 31)
    arrays = [
        pa.array([last], pa.timestamp("us")),
        pa.array([last], INSTANT),
        pa.array([day]),
        pa.array([[last]], pa.list_(INSTANT)),
        pa.array([{"day": day}]),
    ]
    frame = arguments().to_input(arrays)
    assert frame["0"][0] == last and frame["1"][0] == last + dt.timedelta(hours=1)
    assert frame["2"][0] == day and frame["3"][0][0] == last + dt.timedelta(hours=1)
    assert frame["4"][0] == {"day": day}


def test_decimals_are_decimals_or_the_nearest_double():
    """Without a signature they keep all their digits; a column that is double by the signature is rounded right."""
    values = [decimal.Decimal("12345678901234.567"), decimal.Decimal("-93.7400000000"), None]
    array = pa.array(values, pa.decimal128(38, 10))
    assert arguments().to_input([array, array])["0"].tolist() == values
    schema = Schema((ColSpec(DataType.double, "x"), ColSpec(DataType.double, "y")))
    found = arguments(schema).to_input([array, array])["x"].tolist()
    assert found[:2] == [float(value) for value in values if value is not None]
    assert np.isnan(found[2])


def tensor(kind: str, *shape: int) -> Schema:
    return Schema((TensorSpec(kind, shape),))


FLAT = pa.array([[1.5, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])


@pytest.mark.parametrize(
    ("schema", "arrays", "expected"),
    [
        (tensor("float32", -1, 4), [FLAT], np.float32([[1.5, 2, 3, 4], [5, 6, 7, 8]])),
        (tensor("float32", -1, 2, 2), [FLAT], np.float32([[[1.5, 2], [3, 4]], [[5, 6], [7, 8]]])),
        (tensor("float64", -1, 2, 2), [pa.array([[[1.0, 2.0], [3.0, 4.0]]])], np.float64([[[1, 2], [3, 4]]])),
        (tensor("int64", -1, 2), [pa.array([[1.0, 2.0]])], np.int64([[1, 2]])),
        (tensor("float32", -1, 2), [pa.array([1.5, 2.5]), pa.array([3.0, 4.0])], np.float32([[1.5, 3], [2.5, 4]])),
        (tensor("float32", -1), [pa.array([1.5, 2.5])], np.float32([1.5, 2.5])),
        (tensor("float32", -1, 1), [pa.array([1.5, 2.5])], np.float32([[1.5], [2.5]])),
        (tensor("float32", -1, -1), [FLAT], np.float32([[1.5, 2, 3, 4], [5, 6, 7, 8]])),
        (tensor("float64", -1, 2), [pa.array([[1, 2]])], np.float64([[1, 2]])),
        (tensor("float64", -1, 2), [pa.array([[1.0, None]])], np.float64([[1, np.nan]])),
    ],
)
def test_arrays_become_the_tensor_of_the_signature(schema: Schema, arrays: list[pa.Array], expected: Any):
    """Reshaped and cast, from a bare column, from a struct and by name; enforcement has nothing to add."""
    struct = pa.StructArray.from_arrays(arrays, [f"c{i}" for i in range(len(arrays))])
    for given in (arrays, [struct]):
        found = enforce(arguments(schema).to_input(given), schema)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    if len(arrays) == 1:
        named = Schema((TensorSpec(schema.tensors[0].dtype, schema.tensors[0].shape, "c0"),))
        for given in (arrays, [struct]):
            found = enforce(arguments(named).to_input(given), named)["c0"]
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("schema", "array"),
    [
        (tensor("int64", -1, 2), pa.array([[1.5, 2.0]])),
        (tensor("int64", -1, 2), pa.array([[1, None]])),
        (tensor("float32", -1, 2), pa.array([[2**24 + 1, 2]])),
        (tensor("float32", -1, 3), pa.array([[1.0, 2.0]])),
        (tensor("float32", -1, 2), pa.array([[1.0, 2.0], [3.0]])),
        (tensor("float32", -1, 2), pa.array([[1.0, 2.0], None])),
        (tensor("float32", -1, 2), pa.array([["1", "2"]])),
    ],
)
def test_arrays_that_are_no_such_tensor_are_refused(schema: Schema, array: pa.Array):
    """A fraction in an integer, too many digits, another size, a missing array: nothing is cut or invented."""
    with pytest.raises(SchemaEnforcementFailed):
        arguments(schema).to_input([array])


def test_names_are_the_same_in_any_case():
    """As in Spark, unless the session tells cases apart; what is spelled exactly goes first, two alike are refused."""
    assert match_names(["age", "SEX"], ["Age", "sex"], ignore_case=True) == ["Age", "sex"]
    assert match_names(["age"], ["Age"], ignore_case=False) == ["age"]
    assert match_names(["age", "Age"], ["Age"], ignore_case=True) == ["age", "Age"]
    with pytest.raises(InvalidParameterValue, match="'AGE', 'age'"):
        match_names(["AGE", "age"], ["Age"], ignore_case=True)
    struct = pa.StructArray.from_arrays([pa.array([2]), pa.array([1.0])], ["Y", "X"])
    assert enforce(arguments(TWO).to_input([struct]), TWO).to_dict("list") == {"x": [1.0], "y": [2]}


def test_integer_names_are_those_of_columns():
    """A model that was fitted on a bare array has the names 0 and 1, Spark's columns are '0' and '1'."""
    schema = Schema((ColSpec(DataType.double, 0), ColSpec(DataType.double, 1)))
    struct = pa.StructArray.from_arrays([pa.array([2.0]), pa.array([1.0])], ["1", "0"])
    assert enforce(arguments(schema).to_input([struct]), schema).to_dict("list") == {0: [1.0], 1: [2.0]}
    assert enforce(arguments(schema).to_input([pa.array([1.0]), pa.array([2.0])]), schema).to_numpy().tolist() == [
        [1, 2]
    ]
