"""Strict casts change no value: integers stay exact in tensors, and times are told without a doubt."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pyfunc.specs import to_input
from tests.serving.saved_models import column, signature, tensor
from tiltyard.errors import BadRequest, TiltyardError
from tiltyard.pyfunc.data_types import Array, DataType, Map, Object, Property, Type
from tiltyard.pyfunc.payload import decoder
from tiltyard.pyfunc.payload.casts.columns import cast_column
from tiltyard.pyfunc.payload.casts.tensors import cast_tensor
from tiltyard.pyfunc.schema import ColSpec

NEAR = [2**24, 2**31, 2**53, 2**63, 2**64]
NUMBERS = st.one_of(
    st.sampled_from(NEAR).flatmap(lambda edge: st.integers(edge - 3, edge + 3)),
    st.integers(-5, 5),
    st.sampled_from([0.0, 1.5, -2.0, 2.0**53, 2.0**60, 1e300, float("inf"), float("nan")]),
)


@given(st.lists(NUMBERS, min_size=1, max_size=4), st.sampled_from(["int32", "int64", "uint64", "float32", "float64"]))
def test_a_tensor_holds_the_numbers_that_were_sent(numbers: list[Any], dtype: str) -> None:
    """An integer comes out as it went in, whatever stands beside it, or is refused; decimals only round."""
    try:
        made = cast_tensor([numbers], np.dtype(dtype), "x")
    except BadRequest as refused:
        assert "'x'" in refused.message
        return
    assert made.shape == (1, len(numbers))
    for sent, got in zip(numbers, made[0].tolist(), strict=True):
        if isinstance(sent, int) or dtype.startswith(("int", "uint")):
            assert int(got) == sent
        else:
            assert np.float32(got) == np.float32(sent) or sent != sent


def test_integers_beside_decimals_stay_exact() -> None:
    """Numbers that a double would round reach a tensor of integers unrounded."""
    assert cast_tensor([[1.0, 2**53 + 1]], np.dtype("int64"), None).tolist() == [[1, 2**53 + 1]]
    assert cast_tensor([[1, 2**63 + 1]], np.dtype("uint64"), None).tolist() == [[1, 2**63 + 1]]
    with pytest.raises(BadRequest, match="9007199254740993 cannot be held exactly"):
        cast_tensor([1.0, 2**53 + 1], np.dtype("float64"), None)
    assert cast_tensor([1.0, 2**53 + 1], np.dtype("float64"), None, coerce="lenient").tolist() == [1.0, 2.0**53]


def times(values: list[Any], coerce: Any = "strict") -> list[str]:
    cast = cast_column(values, ColSpec(DataType.datetime, "t"), "t", coerce=coerce)
    return [str(value)[:19] for value in cast]


def test_a_number_is_no_time() -> None:
    """Epoch milliseconds are refused with column and row, in columns, in nested values and in tensors."""
    with pytest.raises(BadRequest, match=r"column 't'.*Row 1: 1704103200000 is a number, expected a text"):
        times(["2024-01-01", 1704103200000])
    assert times([1704103200000], "lenient") == ["1970-01-01T00:28:24"]
    nested: list[tuple[Type, Any]] = [
        (Array(DataType.datetime), [1704103200000]),
        (Map(DataType.datetime), {"k": 1704103200000}),
        (Object((Property("p", Array(DataType.datetime)),)), {"p": [1704103200000]}),
    ]
    for kind, value in nested:
        with pytest.raises(BadRequest, match=r"Row 0: 1704103200000 is a number"):
            cast_column([value], ColSpec(kind, "t"), "t")
    body = b'{"inputs":[1704103200000]}'
    with pytest.raises(BadRequest, match="is a number"):
        decoder.decode(body, "application/json", signature([tensor("datetime64[ns]", [-1])]))


@pytest.mark.parametrize("text", ["01/02/2024", "Jan 3 2024", "10:00", "today", "now", "1704103200", "x", "9999-12-31"])
def test_a_text_that_may_be_two_days_is_no_time(text: str) -> None:
    """Only ISO 8601 texts, which begin with the year, are read."""
    with pytest.raises(BadRequest, match=r"column 't'.*Row 1: .*ISO 8601"):
        times(["2024-01-01", text])
    with pytest.raises(BadRequest):
        cast_column([[text]], ColSpec(Array(DataType.datetime), "t"), "t")


def test_times_of_several_lengths_stand_together() -> None:
    """Dates, minutes, fractions and what is missing may share a column; lenient casts read as MLflow does."""
    given_texts = ["2024-01-31", "2024-01-31T10:00", "2024-01-31 10:00:00.5", None, "20240131"]
    read = times(given_texts)
    assert read == ["2024-01-31T00:00:00", "2024-01-31T10:00:00", "2024-01-31T10:00:00", "NaT", "2024-01-31T00:00:00"]
    assert times(["01/02/2024"], "lenient") == ["2024-01-02T00:00:00"]


def test_what_a_row_lacks_is_no_text() -> None:
    """An optional text that one object lacks is missing to the model, in all forms of a body."""
    columns = signature([column("q", "string"), column("t", "string", required=False)])
    rows = b'[{"q":"a","t":"x"},{"q":"b"}]'
    for form in (b"inputs", b"dataframe_records"):
        item = decoder.decode(b'{"%s":%s}' % (form, rows), "application/json", columns)
        frame = to_input([item])
        assert frame["t"][0] == "x"
        assert frame["t"].isna().tolist() == [False, True]


@pytest.mark.parametrize("coerce", ["strict", "lenient"])
def test_a_null_is_no_integer(coerce: Any) -> None:
    """A null in an optional column of integers is refused, as MLflow does in process and over HTTP."""
    columns = signature([column("a", "double"), column("n", "long", required=False)])
    body = b'{"dataframe_records":[{"a":1,"n":null}]}'
    with pytest.raises(TiltyardError, match="'n'"):
        decoder.decode(body, "application/json", columns, coerce=coerce)
    assert list(to_input([decoder.decode(b'{"inputs":[{"a":1}]}', "application/json", columns)])) == ["a"]


def test_lists_stay_lists_and_absent_objects_are_none() -> None:
    """An array of `inputs` reaches the model as the list that it is; an optional object that a row lacks is None."""
    entry = {"x": {"type": "long", "required": True}}
    columns = signature(
        [
            column("v", "array", items={"type": "double"}),
            column("o", "object", properties=entry, required=False),
        ]
    )
    body = b'{"inputs":[{"v":[1.5,2],"o":{"x":1}},{"v":[0.5,1]}]}'
    frame = to_input([decoder.decode(body, "application/json", columns)])
    assert frame["v"].tolist() == [[1.5, 2.0], [0.5, 1.0]]
    assert frame["o"].tolist() == [{"x": 1}, None]
