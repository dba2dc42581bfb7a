"""Every form of a body against the peer's parser, and every refusal of the protocol by class and message."""

import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.pyfunc import peer
from tests.pyfunc.specs import to_input
from tiltyard.errors import (
    BadRequest,
    InvalidParameterValue,
    SchemaEnforcementFailed,
    TiltyardError,
    UnsupportedMediaType,
)
from tiltyard.pyfunc import Signature
from tiltyard.pyfunc.data_types import AnyType, Array, DataType, Map, Object, Property
from tiltyard.pyfunc.enforcement.params import ParamSchema, ParamSpec
from tiltyard.pyfunc.payload import decoder
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec

DOUBLE = Schema((ColSpec(DataType.double, "a"),))
PAIR = Schema((ColSpec(DataType.double, "a"), ColSpec(DataType.string, "b")))
OPTIONAL = Schema((ColSpec(DataType.double, "a"), ColSpec(DataType.string, "b", required=False)))
UNNAMED = Schema((ColSpec(DataType.double), ColSpec(DataType.double)))
ONE_UNNAMED = Schema((ColSpec(DataType.long),))
TENSOR = Schema((TensorSpec("float64", (-1, 2)),))
CUBE = Schema((TensorSpec("float32", (-1, 2, 2)),))
TENSORS = Schema((TensorSpec("float64", (-1,), "a"), TensorSpec("int64", (-1, 2), "b")))
OBJECT = Object((Property("x", DataType.long), Property("y", DataType.string, required=False)))
NESTED = Schema((ColSpec(Array(DataType.double), "arr"), ColSpec(OBJECT, "obj"), ColSpec(Map(DataType.long), "map")))
ANY = Schema((ColSpec(AnyType(), "a", required=False),))


def decode(fields: Any, schema: Schema | None, **options: Any) -> Any:
    """The model input of a JSON body."""
    signature = None if schema is None else Signature(schema)
    one = decoder.decode(json.dumps(fields).encode(), "application/json", signature, **options)
    made = to_input([one])
    if hasattr(made, "__len__") and not isinstance(made, dict | str):
        assert one.rows == len(made)
    return made


CELLS = [1, 0, 1.0, 1.5, True, False, "x", "", "3", "2.5", "2020-01-01", "2020-01-01T10:00:00", "nan", 2**53, -(2**31)]
ONE_COLUMN_FORMS = {
    "split": lambda cell: {"dataframe_split": {"columns": ["a"], "data": [[cell], [cell]]}},
    "records": lambda cell: {"dataframe_records": [{"a": cell}]},
    "instances of objects": lambda cell: {"instances": [{"a": cell}, {"a": cell}]},
    "instances": lambda cell: {"instances": [cell]},
    "inputs of columns": lambda cell: {"inputs": {"a": [cell, cell]}},
    "inputs of scalars": lambda cell: {"inputs": {"a": cell}},
    "inputs of objects": lambda cell: {"inputs": [{"a": cell}]},
    "inputs": lambda cell: {"inputs": [cell]},
}


@pytest.mark.parametrize("form", ONE_COLUMN_FORMS)
@pytest.mark.parametrize("kind", list(DataType))
def test_one_column_in_every_form(kind: DataType, form: str) -> None:
    """What is accepted is what the peer makes of it; what the peer refuses is refused."""
    schema = Schema((ColSpec(kind, "a"),))
    for cell in CELLS:
        if kind is DataType.datetime and cell in ("nan", True, False):
            # The peer's two parsers disagree about these; we read both forms alike.
            continue
        fields = ONE_COLUMN_FORMS[form](cell)
        expected = peer.parse(fields, schema)
        for coerce in ("strict", "lenient"):
            try:
                actual = decode(fields, schema, coerce=coerce)
            except TiltyardError:
                continue
            assert expected is not peer.REFUSED, (cell, coerce, actual)
            assert peer.same(expected, actual), (cell, coerce, expected, actual)


ACCEPTED = [
    (PAIR, {"inputs": {"a": [1.5, 2.5], "b": ["x", "y"]}}),
    (PAIR, {"inputs": {"a": [1.5, 2.5], "b": "x"}}),
    (PAIR, {"inputs": {"a": 1.5, "b": "x"}}),
    (PAIR, {"inputs": [{"a": 1.5, "b": "x"}]}),
    (PAIR, {"instances": [{"b": "x", "a": 1.5}, {"a": 2.5, "b": "y"}]}),
    (PAIR, {"dataframe_split": {"columns": ["b", "zz", "a"], "data": [["x", 1, 2.5]]}}),
    (PAIR, {"dataframe_records": [{"b": "x", "zz": [1], "a": 2.5}], "signature_name": "s"}),
    (OPTIONAL, {"dataframe_split": {"columns": ["a"], "data": [[1]]}}),
    (OPTIONAL, {"dataframe_records": [{"a": 1, "b": None}]}),
    (OPTIONAL, {"inputs": {"a": [1.5]}}),
    (UNNAMED, {"dataframe_split": {"data": [[1, 2], [3, 4]]}}),
    (UNNAMED, {"dataframe_split": {"columns": ["p", "q", "r"], "data": [[1, 2, 3]]}}),
    (UNNAMED, {"inputs": [[1, 2], [3, 4]]}),
    (UNNAMED, {"instances": [[1, 2]]}),
    (ONE_UNNAMED, {"inputs": [1, 2]}),
    (ONE_UNNAMED, {"inputs": 3}),
    (ONE_UNNAMED, {"dataframe_split": {"data": [[1], [2]]}}),
    (TENSOR, {"inputs": [[1, 2], [3, 4]]}),
    (TENSOR, {"instances": [["1.5", 2]]}),
    (TENSOR, {"dataframe_split": {"columns": ["p", "q"], "data": [[1.5, 2]]}}),
    (TENSOR, {"dataframe_split": {"columns": ["p"], "data": [[[1.5, 2]], [[3, 4]]]}}),
    (CUBE, {"inputs": [[[1, 2], [3, 4]]]}),
    (CUBE, {"dataframe_records": [{"p": [1, 2, 3, 4]}]}),
    (TENSORS, {"inputs": {"a": [1.5], "b": [[1, 2]], "zz": 3}}),
    (TENSORS, {"instances": [{"a": 1.5, "b": [1, 2]}, {"a": 2.5, "b": [3, 4]}]}),
    (
        NESTED,
        {
            "dataframe_records": [
                {"arr": [1.5], "obj": {"x": 1}, "map": {"k": 2}},
                {"arr": [], "obj": {"x": 2, "y": "t"}, "map": {}},
            ]
        },
    ),
    (NESTED, {"inputs": {"arr": [1.5, 2.5], "obj": {"x": 1}, "map": {"k": 2}}}),
    (ANY, {"dataframe_records": [{"a": {"k": [1, None]}}, {"a": "x"}]}),
    (ANY, {"inputs": {"a": ["x", "y"]}}),
    (ANY, {"inputs": {"a": [1, 2]}}),
]


@pytest.mark.parametrize(("schema", "fields"), ACCEPTED, ids=lambda value: str(value)[:60])
def test_forms_become_the_input_that_the_peer_makes(schema: Schema, fields: dict[str, Any]) -> None:
    """Columns, tensors and nested values in the forms that fit them."""
    expected = peer.parse(fields, schema)
    assert expected is not peer.REFUSED
    assert peer.same(expected, decode(fields, schema))


WITHOUT_SIGNATURE = [
    ({"dataframe_split": {"data": [[1, "x"]]}}, pd.DataFrame([[1, "x"]])),
    ({"dataframe_records": [{"a": 1}, {"b": "x"}]}, pd.DataFrame([{"a": 1}, {"b": "x"}])),
    ({"dataframe_split": {"columns": ["a"], "data": [[1]], "index": [7]}}, pd.DataFrame({"a": [1]}, index=[7])),
    ({"inputs": [[1, 2]]}, np.array([[1, 2]])),
    ({"instances": [1.5]}, np.array([1.5])),
    ({"inputs": {"a": [1]}}, {"a": np.array([1])}),
    ({"instances": [{"a": 1}, {"a": 2}]}, {"a": np.array([1, 2])}),
    ({"inputs": [{"a": 1}]}, [{"a": np.array(1)}]),
]


@pytest.mark.parametrize(("fields", "expected"), WITHOUT_SIGNATURE, ids=lambda value: str(value)[:50])
def test_without_a_signature_nothing_is_cast(fields: dict[str, Any], expected: Any) -> None:
    """The input is what JSON, numpy and pandas make of the body."""
    actual = decode(fields, None)
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(actual, expected)
    else:
        assert repr(actual) == repr(expected)


REFUSALS: list[tuple[Any, Any, type[TiltyardError], str]] = [
    ({}, DOUBLE, BadRequest, "exactly one of the input fields"),
    ({"inputs": [1], "instances": [1]}, DOUBLE, BadRequest, "exactly one of the input fields"),
    ([1], DOUBLE, BadRequest, "Received a list"),
    ("text", DOUBLE, BadRequest, "unexpected input type 'str'"),
    (3, DOUBLE, BadRequest, "unexpected input type 'int'"),
    ({"dataframe_split": []}, DOUBLE, BadRequest, "Dataframe split format must be a dictionary. Got list."),
    ({"dataframe_split": {"columns": ["a"]}}, DOUBLE, BadRequest, "must have 'data' field"),
    ({"dataframe_split": {"data": [], "x": 1}}, DOUBLE, BadRequest, "must have 'data' field"),
    ({"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}, DOUBLE, BadRequest, "not a valid dataframe"),
    ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, DOUBLE, BadRequest, "not a valid dataframe"),
    ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, DOUBLE, BadRequest, "names a column twice"),
    ({"dataframe_split": {"columns": ["a"], "data": [[1]], "index": [1, 2]}}, DOUBLE, BadRequest, "'index'"),
    ({"dataframe_split": {"data": [[1]]}}, DOUBLE, SchemaEnforcementFailed, "Model is missing inputs ['a']. Note that"),
    ({"dataframe_records": {"a": 1}}, DOUBLE, BadRequest, "must be a list of records. Got dictionary."),
    ({"dataframe_records": [{"zz": 1}]}, DOUBLE, SchemaEnforcementFailed, "there were extra inputs: ['zz']."),
    ({"dataframe_split": {"data": [[1]]}}, UNNAMED, SchemaEnforcementFailed, "signature declares 2 inputs  but"),
    ({"instances": [{"a": 1, "b": "x"}, {"a": 1}]}, PAIR, BadRequest, "length of values for each input/column name"),
    ({"instances": [[1, "x"]]}, PAIR, SchemaEnforcementFailed, "Model is missing inputs"),
    ({"inputs": {"a": [1, 2], "b": ["x"]}}, PAIR, SchemaEnforcementFailed, "not the same"),
    ({"inputs": {"a": [1]}}, UNNAMED, BadRequest, "un-named  model signature"),
    ({"inputs": None}, DOUBLE, BadRequest, "must not be null"),
    ({"inputs": {"a": ["x"]}}, DOUBLE, BadRequest, "Failed to convert column 'a' to type 'double'. Row 0: 'x'"),
    ({"inputs": [[1, 2, 3]]}, TENSOR, SchemaEnforcementFailed, "Shape of input (1, 3) does not match expected shape"),
    ({"inputs": [[1, 2], [3]]}, TENSOR, BadRequest, "setting an array element with a sequence"),
    ({"inputs": [["a", 2]]}, TENSOR, BadRequest, "could not convert string to float: 'a'"),
    ({"inputs": {"a": [[1, 2]]}}, TENSOR, BadRequest, "un-named  model signature"),
    ({"inputs": {"a": [1.5]}}, TENSORS, SchemaEnforcementFailed, "Model is missing inputs ['b']."),
    ({"inputs": {"a": [1.5], "b": [[1.7, 2]]}}, TENSORS, BadRequest, "1.7 would be changed by the cast"),
    ({"dataframe_split": {"columns": ["p"], "data": [[1]]}}, TENSOR, SchemaEnforcementFailed, "to be (-1,) or (-1, 1)"),
    ({"dataframe_records": [{"arr": 1, "obj": {"x": 1}, "map": {}}]}, NESTED, BadRequest, "list or numpy array"),
    ({"dataframe_records": [{"arr": [], "obj": {}, "map": {}}]}, NESTED, BadRequest, "Missing required properties"),
    (
        {"dataframe_records": [{"arr": [], "obj": {"x": 1, "q": 1}, "map": {}}]},
        NESTED,
        BadRequest,
        "not defined in the",
    ),
    ({"dataframe_records": [{"arr": ["x"], "obj": {"x": 1}, "map": {}}]}, NESTED, BadRequest, "column 'arr'"),
    ({"dataframe_records": [{"arr": [], "obj": {"x": 1}, "map": {"k": "x"}}]}, NESTED, BadRequest, "column 'map'"),
]


@pytest.mark.parametrize(("fields", "schema", "error", "message"), REFUSALS, ids=lambda value: str(value)[:50])
def test_refusals_say_what_is_wrong(fields: Any, schema: Schema, error: type[TiltyardError], message: str) -> None:
    """Class and message of each refusal of the protocol's tables."""
    with pytest.raises(error) as caught:
        decode(fields, schema)
    assert type(caught.value) is error
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "valid JSON formatted string"),
        (b"{", "valid JSON formatted string"),
        (b'{"inputs": -NaN}', "valid JSON formatted string"),
        (b'{"inputs": [1e400]}', "valid JSON formatted string"),
        (b'{"inputs": [' + b"1" * 5000 + b"]}", "valid JSON formatted string"),
        (b'{"inputs": ["\xff"]}', "not valid UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
    ids=["empty", "cut", "NaN token", "overflow", "digits", "encoding", "depth"],
)
def test_broken_json(body: bytes, message: str) -> None:
    """What is not JSON is a bad request, whatever the parser ran into."""
    with pytest.raises(BadRequest, match=message):
        decoder.decode(body, "application/json", Signature(DOUBLE))


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        (None, "only supports the following content types"),
        ("", "only supports the following content types"),
        ("text/plain", "Got 'text/plain'"),
        ("application/json; charset=latin-1", "only supports UTF-8"),
        ("application/json; format=pandas-split", "Unrecognized content type parameters: format"),
    ],
)
def test_content_types_that_are_refused(content_type: str | None, message: str) -> None:
    """Each is an unsupported media type that says what is read."""
    with pytest.raises(UnsupportedMediaType, match=message):
        decoder.decode(b"{}", content_type, None)


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=UTF-8", "Application/JSON;"])
def test_content_types_that_are_json(content_type: str) -> None:
    """Case, charset and a lone semicolon do not matter; nor does a byte order mark."""
    body = b'\xef\xbb\xbf{"inputs": {"a": [1]}}'
    assert decoder.decode(body, content_type, Signature(DOUBLE)).rows == 1


CSV_SCHEMA = Schema((ColSpec(DataType.integer, "i"), ColSpec(DataType.boolean, "o"), ColSpec(DataType.string, "s")))


def csv(text: str, schema: Schema | None = CSV_SCHEMA, coerce: Any = "strict") -> Any:
    """The model input of a CSV body."""
    signature = None if schema is None else Signature(schema)
    return to_input([decoder.decode(text.encode(), "text/csv", signature, coerce=coerce)])


def test_csv_is_read_by_the_signature() -> None:
    """Types come from the signature, order too; without one pandas infers them."""
    frame = csv("s,o,i,extra\n7,True,1,x\ny,false,2,\n")
    assert frame.dtypes.tolist() == [np.dtype("int32"), np.dtype(bool), np.dtype(object)]
    assert frame.to_dict("list") == {"i": [1, 2], "o": [True, False], "s": ["7", "y"]}
    pd.testing.assert_frame_equal(csv("a,b\n1,x\n", None), pd.read_csv(io.StringIO("a,b\n1,x\n")))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", BadRequest),
        ("i,o,s\n1.5,True,x\n", BadRequest),
        ("i,o,s\n,True,x\n", BadRequest),
        ("i,o,s\n3000000000,True,x\n", BadRequest),
        ("i,o,s\n1,maybe,x\n", BadRequest),
        ('i,o,s\n1,True,"x\n', BadRequest),
        ("i,s\n1,x\n", SchemaEnforcementFailed),
    ],
)
def test_csv_that_does_not_fit(text: str, error: type[TiltyardError]) -> None:
    """Fractions, nulls, overflows and junk are refused; a missing column is a schema error."""
    with pytest.raises(error):
        csv(text)


def test_csv_has_no_datetimes_and_no_nesting() -> None:
    """Types that CSV input does not carry are refused by name."""
    for kind in (DataType.datetime, Array(DataType.double)):
        with pytest.raises(BadRequest, match="which CSV input does not support"):
            csv("t\n2020-01-01\n", Schema((ColSpec(kind, "t"),)))


PARAMS = ParamSchema(
    (
        ParamSpec("n", DataType.integer, 3),
        ParamSpec("x", DataType.double, 0.5),
        ParamSpec("f", DataType.boolean, default=False),
        ParamSpec("s", DataType.string, "t"),
        ParamSpec("l", DataType.long, [1], (-1,)),
        ParamSpec("t", DataType.datetime, "2020-01-01"),
        ParamSpec("o", OBJECT, {"x": 1}),
    )
)
VALUES = [
    1,
    2**40,
    1.5,
    True,
    "x",
    "2020-01-01",
    "2020-01-01T10:00:00",
    None,
    [],
    [1, 2],
    [1.5],
    [[1]],
    {"x": 2},
    {"q": 1},
]
VALUES += [np.int32(3), np.float32(1.5), np.bool_(True), np.array([1, 2])]


@pytest.mark.parametrize("name", [spec.name for spec in PARAMS])
def test_params_are_those_of_the_peer(name: str) -> None:
    """Every type against every kind of value: the peer's value, or a refusal where it refuses."""
    from tiltyard.pyfunc.enforcement.params import validate_params

    for value in VALUES:
        expected = peer.params({name: value, "unknown": 1}, PARAMS)
        try:
            actual: Any = validate_params({name: value, "unknown": 1}, PARAMS)
        except InvalidParameterValue as error:
            assert error.message.startswith(f"Invalid parameters found: {{('{name}', ")
            actual = peer.REFUSED
        assert (actual is peer.REFUSED) == (expected is peer.REFUSED), (value, expected, actual)
        if actual is not peer.REFUSED:
            assert actual.keys() == expected.keys()
            assert repr(actual[name]) == repr(expected[name]), value


def test_params_in_a_body() -> None:
    """They are validated with the body, keep it from being merged, and must be an object."""
    signature = Signature(DOUBLE, params=PARAMS)
    one = decoder.decode(b'{"inputs": {"a": [1]}, "params": {"n": 5}}', "application/json", signature)
    assert one.params is not None
    assert one.params["n"] == 5
    assert one.merge_key is None
    with pytest.raises(InvalidParameterValue, match="Parameters must be a dictionary"):
        decoder.decode(b'{"inputs": {"a": [1]}, "params": [1]}', "application/json", signature)


def test_a_type_hint_signature_takes_plain_lists() -> None:
    """Only `inputs` is read, and reaches the model as it came."""
    signature = Signature(Schema((ColSpec(DataType.string),)), from_type_hint=True)
    one = decoder.decode(b'{"inputs": ["x", {"k": 1}]}', "application/json", signature)
    assert to_input([one]) == ["x", {"k": 1}]
    with pytest.raises(InvalidParameterValue, match="must be a dictionary with 'inputs' key"):
        decoder.decode(b'{"dataframe_records": []}', "application/json", signature)


def test_a_refusal_does_not_repeat_the_input() -> None:
    """Only the offending value is shown, and shortened."""
    secret = "s" * 500
    with pytest.raises(BadRequest) as caught:
        decode({"dataframe_records": [{"a": 1, "zz": "other"}, {"a": secret}]}, DOUBLE)
    assert "other" not in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("field", ["messages", "prompt", "input"])
def test_bodies_of_chat_models_are_no_tables(field: str) -> None:
    """The forms of chat models are refused with what is expected, not handed to the model unread."""
    body = json.dumps({field: [{"role": "user", "content": "hello"}]}).encode()
    with pytest.raises(BadRequest, match=rf"exactly one of the input fields.*Received .*'{field}'"):
        decoder.decode(body, "application/json", Signature(DOUBLE))
