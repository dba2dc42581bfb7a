"""Signatures inferred as upstream infers them; outputs written as its clients read them, in valid JSON."""

import datetime as dt
import decimal
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pyfunc import peer
from tiltyard import pyfunc
from tiltyard.errors import InternalError
from tiltyard.pyfunc.payload import output

DATA = {
    "frame": pd.DataFrame(
        {
            "long": [1, 2],
            "integer": np.array([1, 2], "int32"),
            "float": np.array([1, 2], "float32"),
            "double": [1.5, 2.5],
            "optional": [1.5, np.nan],
            "text": ["a", "b"],
            "flag": [True, False],
            "kind": pd.Series(["a", "b"], dtype="category"),
            "when": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "raw": [b"a", b"b"],
        }
    ),
    "matrix": np.zeros((3, 4)),
    "vector": np.zeros(3, "int64"),
    "images": np.zeros((2, 3, 3), "uint8"),
    "tensors": {"a": np.zeros((2, 2), "float32"), "b": np.zeros(2, "int64")},
    "series": pd.Series([1, 2], name="score"),
    "records": [{"a": 1, "b": "x"}, {"a": 2}],
    "texts": ["a", "b"],
    "nested": pd.DataFrame({"obj": [{"x": 1, "y": ["a"]}, {"x": 2, "y": ["b", "c"]}]}),
}


@pytest.mark.parametrize("name", list(DATA))
def test_signatures_are_those_of_the_peer(name: str) -> None:
    """Frames, arrays, series and lists of records describe themselves as they do to MLflow."""
    from mlflow.models import infer_signature

    ours = pyfunc.infer_signature(DATA[name], DATA[name]).to_dict()
    theirs = infer_signature(DATA[name], DATA[name]).to_dict()
    for part in ("inputs", "outputs"):
        assert json.loads(str(ours[part])) == json.loads(theirs[part]), part


def test_params_are_inferred() -> None:
    """Default params have the types and shapes that MLflow gives them."""
    from mlflow.models import infer_signature

    params = {"n": 3, "rate": 0.5, "flag": True, "stop": ["a", "b"]}
    ours = pyfunc.infer_signature(None, None, params).to_dict()
    theirs = infer_signature(FRAME, None, params).to_dict()
    assert json.loads(str(ours["params"])) == json.loads(theirs["params"])


FRAME = pd.DataFrame({"x": [1.0]})


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        (pd.DataFrame({"x": [1, 2], "y": ["a", None]}), [{"x": 1, "y": "a"}, {"x": 2, "y": None}]),
        (pd.Series([1.5, np.nan]), [{"0": 1.5}, {"0": None}]),
        (pd.Series([1], name="score"), [{"score": 1}]),
        (np.array([[1.5, np.inf], [-np.inf, np.nan]]), [[1.5, None], [None, None]]),
        (np.array(["a", "b"]), ["a", "b"]),
        ({"p": np.array([0.5])}, {"p": [0.5]}),
        ([np.int64(3), np.float32(0.5), np.bool_(True)], [3, 0.5, True]),
        (b"ab", "YWI="),
        (dt.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05"),
        ([pd.Timestamp("2024-01-02"), pd.NaT], ["2024-01-02T00:00:00", None]),
        (None, None),
        ("text", "text"),
        (2**70, 2**70),
        (pd.Series([1, None], dtype="Int64"), [{"0": 1}, {"0": None}]),
    ],
)
def test_outputs_are_written_as_clients_read_them(predictions: Any, expected: Any) -> None:
    """Frames are rows, arrays are lists; what JSON has no number for is null."""
    assert json.loads(output.encode(predictions), parse_constant=pytest.fail) == {"predictions": expected}


@pytest.mark.parametrize("predictions", [{1, 2}, decimal.Decimal(1), object(), [{"a": {1}}]])
def test_what_json_cannot_say_is_our_fault_and_says_nothing(predictions: Any) -> None:
    """An output that cannot be written is an internal error that names its type only."""
    with pytest.raises(InternalError, match="cannot be written as JSON"):
        output.encode(predictions)


def test_a_list_that_holds_itself_is_refused() -> None:
    """An endless output is an error, not a crash."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InternalError):
        output.encode(endless)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_plain_value_is_valid_json(value: Any) -> None:
    """Strict parsers read whatever plain Python values a model returns."""
    json.loads(output.encode(value), parse_constant=pytest.fail)


def test_the_peer_is_the_pinned_one() -> None:
    """What these tests compare with is the release that the protocol was read from."""
    assert peer.mlflow.__version__.startswith("3.17.")
