"""What is worked on in chunks comes out as in one go."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.pyfunc.payload import chunks
from tiltyard.pyfunc.payload.chunks import array_of, columns_of, flat, lengths_of, numbers_of, range_of, types_of

CELLS = st.one_of(
    st.booleans(), st.integers(-(2**65), 2**65), st.integers(-5, 5), st.floats(), st.text(max_size=3), st.none()
)
ROWS = st.integers(0, 3).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1))


@pytest.fixture(scope="module", autouse=True)
def _small_chunks() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_VALUES", 3)
        yield


@given(ROWS)
def test_rows_have_the_same_columns(rows: list[list[Any]]) -> None:
    """Transposed, flattened, and asked for their types and lengths."""
    assert repr([list(column) for column in columns_of(rows)]) == repr(
        [list(column) for column in zip(*rows, strict=True)]
    )
    assert repr(flat(rows)) == repr([cell for row in rows for cell in row])
    assert types_of(flat(rows)) == set(map(type, flat(rows)))
    assert lengths_of(rows) == set(map(len, rows))


@given(st.lists(st.integers() | st.floats(allow_nan=False), min_size=1))
def test_values_have_the_same_range(values: list[Any]) -> None:
    """The least and the largest."""
    assert range_of(values) == (min(values), max(values))


@given(st.lists(st.floats() | st.none()) | st.lists(st.integers()) | st.lists(st.booleans()) | st.lists(CELLS))
def test_numbers_are_those_that_pandas_infers(values: list[Any]) -> None:
    """A column of many values is of the type that pandas gives it, and holds the same."""
    inferred, made = pd.Series(values), pd.Series(numbers_of(values))
    assert made.dtype == inferred.dtype
    assert repr(made.tolist()) == repr(inferred.tolist())


def test_few_rows_are_transposed_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """An iterator is made for each row of a call, so narrow rows are no reason for many at a time."""
    monkeypatch.setattr(chunks, "CHUNK_VALUES", 1000)
    taken: list[int] = []

    class Rows(list[Any]):
        def __getitem__(self, at: Any) -> Any:
            if isinstance(at, slice):
                taken.append(len(range(*at.indices(len(self)))))
            return super().__getitem__(at)

    (column,) = columns_of(Rows([[at] for at in range(950)]))
    assert list(column) == list(range(950))
    assert max(taken) == 100 and sum(taken) == 950


@given(
    ROWS | st.lists(CELLS) | st.lists(st.lists(CELLS, max_size=2), max_size=6) | st.lists(st.floats() | st.booleans()),
    st.sampled_from([None, None, "float64", "int64", "object", "float32"]),
)
def test_arrays_are_those_of_numpy(values: Any, dtype: str | None) -> None:
    """Of the same type and shape, with the same values; or refused with the same kind of error.

    Of lists that differ in length numpy says where, as is said here without giving it the whole.
    """
    outcomes = []
    for make in (array_of, np.array):
        try:
            array = make(values, dtype=dtype)
            # How wide texts are that stand for numbers hangs on which of them numpy meets first.
            kind = "U" if array.dtype.kind == "U" else array.dtype
            outcomes.append((kind, array.shape, repr(array.tolist())))
        except (ValueError, TypeError, OverflowError) as error:
            outcomes.append((type(error), str(error) if "inhomogeneous" in str(error) and dtype is None else ""))
    assert outcomes[0] == outcomes[1]
