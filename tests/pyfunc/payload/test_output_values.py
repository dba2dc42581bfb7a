"""An answer holds the model's values: not the names of enum members, nor what a mask hides."""

import datetime as dt
import decimal
import enum
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.serving.saved_models import column, signature
from tiltyard.errors import BadRequest, InternalError
from tiltyard.pyfunc.payload import output
from tiltyard_serving.isolation import codec
from tiltyard_serving.scoring.protocols import infer_messages, open_inference, tensor_payload


class Label(str, enum.Enum):  # noqa: UP042 - StrEnum says its value by itself
    FRAUD = "fraud"


class Level(enum.IntEnum):
    HIGH = 3


class Rate(float, enum.Enum):
    HALF = 0.5


class Color(enum.Enum):
    RED = "red"
    BOTH = ("red", 1)


class Text(str):
    def __str__(self) -> str:
        return "something else"


class Day(dt.date):
    pass


RECORDS = pd.DataFrame({"n": [1, 2], "t": pd.to_datetime(["2024-01-01", None]), "s": ["x", "y"]}).to_records(
    index=False
)
ANSWERS: list[tuple[Any, Any]] = [
    ([Label.FRAUD, Level.HIGH, Rate.HALF, Text("ab"), np.str_("c"), True], ["fraud", 3, 0.5, "ab", "c", True]),
    ([Color.RED, {"c": Color.BOTH}], ["red", {"c": ["red", 1]}]),
    (pd.DataFrame({"l": [Label.FRAUD, None]}), [{"l": "fraud"}, {"l": None}]),
    (np.array([Label.FRAUD], dtype=object), ["fraud"]),
    ({Label.FRAUD: [1], Level.HIGH: [2]}, {"fraud": [1], "3": [2]}),
    ([Day(2024, 1, 31)], ["2024-01-31"]),
    (np.ma.array([1.0, 99.0], mask=[False, True]), [1.0, None]),
    (np.ma.array([[1, 99]], mask=[[False, True]]), [[1, None]]),
    (np.ma.array(np.array(["2024-01-01", "2099-01-01"], "M8[s]"), mask=[False, True]), ["2024-01-01T00:00:00", None]),
    (RECORDS, [[1, "2024-01-01T00:00:00.000000000", "x"], [2, None, "y"]]),
    (np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), [[1, 2.5]]),
    (pd.Categorical(["a", None], categories=["b", "a"]), ["a", None]),
    (["half \ud800"], ["half \ud800"]),
]


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_values_are_said_as_what_they_hold(answer: Any, expected: Any) -> None:
    """Subclasses of plain types are what they extend, masked values are null, records keep their times."""
    assert json.loads(output.encode(answer), parse_constant=pytest.fail)["predictions"] == expected


@pytest.mark.parametrize(("answer", "expected"), ANSWERS[:-1])
def test_an_isolated_process_changes_nothing(answer: Any, expected: Any) -> None:
    """What crosses from a model's own process is answered as if the model were here."""
    came = codec.decode(codec.encode(answer))
    assert json.loads(output.encode(came))["predictions"] == expected


def test_categories_reach_an_isolated_model_whole() -> None:
    """Unused categories, their order and whether they are ordered cross, so that codes are the same."""
    frame = pd.DataFrame(
        {
            "c": pd.Categorical(["a", None, "b"], categories=["z", "b", "a"], ordered=True),
            "n": pd.Categorical([3, 1, 3], categories=[1, 2, 3]),
        },
        index=pd.CategoricalIndex(["q", "r", "q"], categories=["r", "s", "q"]),
    )
    came = codec.decode(codec.encode(frame))
    pd.testing.assert_frame_equal(came, frame)
    assert came["c"].cat.codes.tolist() == frame["c"].cat.codes.tolist()


def test_what_cannot_be_said_names_container_and_value() -> None:
    """Both protocols tell which container held which value; a name that comes twice is refused, not lost."""
    for answer in ([decimal.Decimal(1)], {"a": [decimal.Decimal(1)]}):
        kind = type(answer).__name__
        with pytest.raises(InternalError, match=f"type '{kind}' cannot be written as JSON: it holds a 'Decimal'"):
            output.encode(answer)
        with pytest.raises(BadRequest, match=f"type '{kind}' cannot be written as tensors: it holds a 'Decimal'"):
            write(answer)
    with pytest.raises(InternalError, match="type 'ndarray' cannot be written as JSON"):
        output.encode(np.array([1.5], dtype=np.longdouble))
    twice = pd.DataFrame([[1, 2]], columns=["x", "x"])
    with pytest.raises(InternalError, match="the column 'x' more than once"):
        output.encode(twice)
    with pytest.raises(InternalError, match="two values of the name 'x'"):
        write(twice)


def write(answer: Any, **parameters: Any) -> Any:
    asked = infer_messages.InferRequest([], parameters=parameters)
    body, size_bytes = open_inference.write(answer, asked, "m", "1")
    if size_bytes is not None:
        return body[size_bytes:]
    return [(each["name"], each["datatype"], each["data"]) for each in json.loads(body)["outputs"]]


@pytest.mark.parametrize(
    ("answer", "datatype", "data"),
    [
        ([Label.FRAUD, None, "null"], "BYTES", ["fraud", None, "null"]),
        ([1.5, None], "FP64", [1.5, None]),
        ([1, None], "INT64", [1, None]),
        ([True, None], "BOOL", [True, None]),
        (pd.Series([2**53 + 1, None], dtype="Int64"), "INT64", [2**53 + 1, None]),
        ([2**53 + 1, 0.5], "FP64", [2**53 + 1, 0.5]),
        (np.ma.array([1, 99], mask=[False, True]), "INT64", [1, None]),
        (np.ma.array([1.0, 99.0], mask=[False, True]), "FP64", [1.0, None]),
        (np.array([np.float32("nan"), np.float32(0.5)], dtype=object), "FP64", [None, 0.5]),
        ([b"a\x00"], "BYTES", ["YQA="]),
        ([{"a": None}], "BYTES", ['{"a":null}']),
        (["half \ud800"], "BYTES", ["half \ud800"]),
    ],
)
def test_tensors_of_answers_hold_what_the_answer_does(answer: Any, datatype: str, data: Any) -> None:
    """In V2, what is missing is null in every datatype, and is not the text null."""
    assert write(answer) == [("predictions", datatype, data)]


def test_records_are_tensors_by_field() -> None:
    """A structured array is a table: one tensor for each of its fields."""
    assert [(name, data) for name, _, data in write(RECORDS)] == [
        ("n", [1, 2]),
        ("t", ["2024-01-01T00:00:00.000000000", None]),
        ("s", ["x", "y"]),
    ]


def test_binary_tensors_refuse_what_they_cannot_say() -> None:
    """A missing number is NaN in binary data; a missing text, and half a character, is told and asked for in JSON."""
    assert np.isnan(np.frombuffer(write([1.5, None], binary_data_output=True), "<f8")[1])
    for answer in (["null", None], [1, None], ["half \ud800"]):
        with pytest.raises(BadRequest, match="ask for JSON"):
            write(answer, binary_data_output=True)


def read(columns: list[dict[str, Any]], *inputs: tuple[str, list[int], str, list[Any]]) -> Any:
    keys = ("name", "shape", "datatype", "data")
    body = json.dumps({"inputs": [dict(zip(keys, each, strict=True)) for each in inputs]}).encode()
    asked, arrays = open_inference.read(body, None)
    item = tensor_payload.to_payload(asked, arrays, signature(columns))
    return item.build([item.data])


ENTRY = {"x": {"type": "long", "required": True}}
CELLS: list[tuple[dict[str, Any], tuple[list[int], str, list[Any]], list[Any]]] = [
    (column("c", "double"), ([2], "FP64", [1.5, None]), [1.5, None]),
    (column("c", "string", required=False), ([2], "BYTES", ["x", None]), ["x", None]),
    (column("c", "boolean", required=False), ([2], "BOOL", [True, None]), [True, None]),
    (column("c", "array", items={"type": "double"}), ([2, 2], "FP64", [1, 2, 3, 4]), [[1, 2], [3, 4]]),
    (column("c", "array", items={"type": "float"}), ([1, 2], "FP32", [0.1, 2]), [[np.float32(0.1), 2]]),
    (column("c", "array", items={"type": "string"}), ([1, 2], "BYTES", ["a", "b"]), [["a", "b"]]),
    (column("c", "object", properties=ENTRY), ([1], "BYTES", ['{"x":1}']), [{"x": 1}]),
    (column("c", "map", values={"type": "long"}), ([1, 1], "BYTES", ['{"k":2}']), [{"k": 2}]),
]


@pytest.mark.parametrize(("spec", "sent", "expected"), CELLS)
def test_what_the_metadata_offers_can_be_sent(spec: dict[str, Any], sent: Any, expected: list[Any]) -> None:
    """Nulls, arrays as [n, k] and objects as texts of JSON reach the model as they do from JSON bodies."""
    shape, datatype, data = sent
    frame = read([spec], ("c", shape, datatype, data))
    assert [None if isinstance(value, float) and np.isnan(value) else value for value in frame["c"]] == expected
    [offered] = infer_messages.about("m", "1", signature([spec])).inputs
    assert offered.datatype == datatype
    assert len(offered.shape) == (1 if shape[1:] == [1] else len(shape))


@pytest.mark.parametrize(
    ("spec", "sent", "why"),
    [
        (column("c", "long", required=False), ([2], "INT64", [1, None]), r"'c'.*Row 1.*not an integer"),
        (column("c", "array", items={"type": "double"}), ([2], "FP64", [1, 2]), "'c' is a column of arrays"),
        (column("c", "object", properties=ENTRY), ([1], "BYTES", ['{"x"']), "'c'.*no JSON"),
        (column("c", "datetime"), ([1], "BYTES", ["01/02/2024"]), r"'c'.*Row 0.*ISO 8601"),
        (column("c", "double"), ([1], "FP64", [2**53 + 1]), "'c': 9007199254740993 cannot be held exactly"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(spec: dict[str, Any], sent: Any, why: str) -> None:
    """The refusal names the input, and the row where there is one."""
    with pytest.raises(Exception, match=why) as refused:
        read([spec], ("c", *sent))
    assert getattr(refused.value, "status", 400) == 400


def test_bare_nan_is_read_in_v2_too() -> None:
    """A request that Python's json module wrote is read as it is under /invocations."""
    body = b'{"inputs":[{"name":"c","shape":[3],"datatype":"FP64","data":[NaN,-Infinity,1]}]}'
    _, arrays = open_inference.read(body, None)
    assert arrays["c"].tolist()[1:] == [-np.inf, 1.0]
    assert np.isnan(arrays["c"][0])
