"""Generated signatures, columns and bodies for the tests of this directory."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd

from tiltyard.pyfunc.data_types import AnyType, Array, DataType, Map, Object, Property
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec

SCALARS = st.sampled_from(list(DataType))
NAMES = st.sampled_from(["a", "b", "c d", "é", "1", "x.y"])

TYPES = st.recursive(
    SCALARS | st.just(AnyType()),
    lambda inner: st.one_of(
        inner.map(Array),
        inner.map(Map),
        st.dictionaries(st.sampled_from("pqr"), st.tuples(inner, st.booleans()), min_size=1, max_size=3).map(
            lambda entries: Object(tuple(Property(name, kind, need) for name, (kind, need) in entries.items()))
        ),
    ),
    max_leaves=4,
)


def schemas(types: Any = SCALARS, *, max_columns: int = 4) -> Any:
    """Schemas of named columns."""
    return st.dictionaries(NAMES, st.tuples(types, st.booleans()), min_size=1, max_size=max_columns).map(
        lambda entries: Schema(tuple(ColSpec(kind, name, need) for name, (kind, need) in entries.items()))
    )


TENSOR_SCHEMAS = st.builds(
    lambda dtype, shape: Schema((TensorSpec(dtype, (-1, *shape)),)),
    st.sampled_from(["float32", "float64", "int64", "int32", "bool", "uint8", "object", "str"]),
    st.lists(st.integers(1, 3), max_size=2),
)

# Columns as callers of the Python API hold them: most dtypes, nulls, mixed objects.
_VECTORS = {
    "bool": [True, False, True],
    "int8": [1, 2, -3],
    "int16": [1, 2, -3],
    "int32": [1, 2, -3],
    "int64": [1, 2, -3],
    "uint8": [1, 2, 3],
    "uint32": [1, 2, 3],
    "uint64": [1, 2, 3],
    "float16": [1.5, 2.0, np.nan],
    "float32": [1.5, 2.0, np.nan],
    "float64": [1.5, 2.0, np.nan],
    "datetime64[ns]": ["2020-01-01", "2021-01-01", None],
    "datetime64[s]": ["2020-01-01", "2021-01-01", None],
    "timedelta64[ns]": [1, 2, 3],
    "category": ["x", "y", "x"],
    "string": ["x", "y", None],
    "Int64": [1, 2, 3],
    "Int32": [1, None, 3],
    "Float64": [1.5, 2.0, 3.0],
    "boolean": [True, False, True],
    "complex128": [1, 2, 3],
}
_OBJECTS = [
    ["x", "y", "z"],
    ["x", None, 3],
    [1, 2, 3],
    [1, None, 3],
    [1.5, None, 2],
    [True, None, False],
    [True, False, True],
    ["1.5", "2", "nan"],
    ["2020-01-01", "2020-01-02", None],
    [b"x", b"y", b""],
    [None, None, None],
    [[1.0], [2.0, 3.0], []],
    [{"p": 1}, {"p": 2}, {"p": 3}],
    [0, 1, 1],
    [pd.Timestamp("2020-01-01"), None, pd.NaT],
    [2**40, 2**41, -5],
]
COLUMNS: list[Any] = [pd.Series(values).astype(dtype) for dtype, values in _VECTORS.items()]
COLUMNS += [pd.Series([0, 1, 1]), pd.Series([1.0, 2.0, np.nan]), pd.Series([0.0, 1.0, 1.0])]
COLUMNS += [pd.Series(values, dtype=object) for values in _OBJECTS]
COLUMNS += [pd.Series(["2020-01-01"] * 3).astype("datetime64[ns, UTC]")]


def frames(names: list[Any]) -> Any:
    """DataFrames of three rows with some of the names, some others, in any order."""
    return st.lists(
        st.tuples(st.sampled_from([*names, "extra"]), st.sampled_from(COLUMNS)),
        min_size=1,
        max_size=6,
        unique_by=lambda entry: entry[0],
    ).map(lambda entries: pd.DataFrame(dict(entries)))


def to_input(payloads):
    """One model input from payloads that have one merge key, or from a single one of any kind."""
    return payloads[0].build([payload.data for payload in payloads])
