"""Large JSON is read in pieces: the same values, the same refusals, and no call of the parser takes much of it."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pyfunc.json_text.test_bodies import VALUES
from tests.pyfunc.payload.test_typed import MIXED, ROW
from tests.pyfunc.specs import to_input
from tiltyard.pyfunc.data_types import DataType
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.json_text import bodies, nesting, pieces
from tiltyard.pyfunc.json_text.bodies import decode_json
from tiltyard.pyfunc.payload import decoder as payload
from tiltyard.pyfunc.payload import typed_json
from tiltyard.pyfunc.schema import ColSpec, Schema
from tiltyard_serving.scoring.protocols import open_inference

JSON = "application/json"
SPACES = st.sampled_from(["", "", " ", "\n\t "])


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    """Bodies of a few bytes are large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nesting, "BLOCK_BYTES", 16)
        patch.setattr(pieces, "PIECE_BYTES", 16)
        patch.setattr(pieces, "BLOCK_BYTES", 16)
        patch.setattr(bodies, "AT_ONCE_BYTES", 4)
        patch.setattr(typed_json, "AT_ONCE_BYTES", 4)
        patch.setattr(typed_json, "PIECE_BYTES", 8)
        patch.setattr(typed_json, "COMPARED_IN_PIECE", 8)
        patch.setattr(typed_json, "SLOW_S_PER_BYTE", 1.0)
        patch.setattr(open_inference, "IN_PIECES_BYTES", 4)
        yield


@given(st.lists(VALUES, max_size=9) | st.dictionaries(st.text(max_size=40), VALUES), SPACES, SPACES)
def test_the_values_are_the_same(value: Any, comma: str, colon: str) -> None:
    """Wherever the text is cut, in lists and objects of any depth, its values come back in their order."""
    text = json.dumps(value, separators=(comma + ",", colon + ":" + comma)).encode()
    assert repr(decode_json(comma.encode() + text + comma.encode())) == repr(json.loads(text))


@given(st.lists(VALUES, min_size=3, max_size=9), st.data())
def test_what_is_no_json_is_none_in_pieces(value: Any, data: st.DataObject) -> None:
    """A text with a byte changed is refused, or read, as it is in one go."""
    text = bytearray(json.dumps(value).encode())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from(b'[]{},:"\\1a '))
    outcomes = []
    for decode in (decode_json, bodies.parse):
        try:
            outcomes.append(repr(decode(bytes(text))))
        except (msgspec.DecodeError, UnicodeError):
            outcomes.append("refused")
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("text", [b"[" + b"1,,".join([b"2,"] * 20) + b"1]", b"[" + b"1," * 40 + b"]", b"[1}" * 20])
def test_a_piece_of_nothing_is_refused(text: bytes) -> None:
    """Two commas, a comma before the end, and brackets that do not match are no JSON."""
    with pytest.raises(msgspec.DecodeError):
        decode_json(text)


@pytest.mark.parametrize("before", [0, 1, 15, 16, 17, 100])
@pytest.mark.parametrize("after", [0, 1, 15, 16, 17, 100])
def test_white_space_around_a_value_is_left_out(before: int, after: int) -> None:
    """However many blocks of it there are; of white space alone there is no value."""
    text = b" \t\r\n" * 25
    assert decode_json(text[:before] + b'{"a": [1, 2, 3], "b": "long enough to be cut"}' + text[:after]) == {
        "a": [1, 2, 3],
        "b": "long enough to be cut",
    }
    with pytest.raises(msgspec.DecodeError):
        decode_json(text[:before] + text[:after])


def test_what_is_nested_too_deep_is_refused_before_it_is_read() -> None:
    """The levels count across pieces."""
    assert decode_json(b'["[[[["' + b',"[[[["' * 20 + b"]", 1) == ["[[[["] * 21
    with pytest.raises(RecursionError):
        decode_json(b"[" * 30 + b"1" + b"]" * 30, 29)


@pytest.mark.parametrize("kind", [DataType.double, DataType.long, DataType.string, DataType.datetime])
@pytest.mark.parametrize("form", ["split", "records", "columns last", "index"])
def test_rows_read_in_pieces_are_the_same(kind: DataType, form: str) -> None:
    """A table of a signature's own types is read by its decoder, whatever its form and its texts are."""
    schema = Schema((ColSpec(kind, "a"), ColSpec(kind, "data")))
    value = {DataType.string: '],[ "},{', DataType.datetime: "2024-01-02"}.get(kind, 7)
    rows = [[value, value] for _ in range(50)]
    body: Any = {"dataframe_split": {"columns": ["a", "data"], "data": rows}}
    if form == "records":
        body = {"dataframe_records": [{"a": first, "data": second} for first, second in rows]}
    elif form == "columns last":
        body = {"dataframe_split": {"data": rows, "columns": ["a", "data"]}}
    elif form == "index":
        body["dataframe_split"] = {"index": list(range(50)), **body["dataframe_split"]}
    text = json.dumps(body).encode()
    decoder = typed_json.typed_decoder(schema, "strict")
    assert decoder is not None
    read = decoder(text)
    # What looks like the end of a row in a text is left to the general route.
    assert (read is None) == (kind is DataType.string)
    read = payload.Decoder(Signature(schema))(text, JSON)
    general = payload.decode(text, JSON, Signature(schema))
    assert (read.rows, read.merge_key) == (50, general.merge_key)
    assert to_input([read]).equals(to_input([general]))


@pytest.mark.parametrize(
    "change",
    [
        (b"true],[", b"true],,["),
        (b"true],[", b"true]["),
        (b"true]]", b"true],]"),
        (b'"columns"', b'"Columns"'),
        (b'"data":', b'"data":[],"data":'),
        (b'"data":', b'"data":[[1.5,"x",3,true]],"data":'),
        (b'["a"', b'["\\"data\\":["'),
        (b"3,true]]", b'3,true],"' + b"0" * 64 + b'"]'),
    ],
)
def test_a_body_that_only_looks_like_rows_is_not_read_in_pieces(change: tuple[bytes, bytes]) -> None:
    """A cut in the wrong place, a field that is there twice or has another name, is left to the general route."""
    body = json.dumps({"dataframe_split": {"columns": list("abcd"), "data": [ROW] * 9}}, separators=(",", ":")).encode()
    decoder = typed_json.typed_decoder(MIXED, "strict")
    assert decoder is not None
    assert decoder(body) is not None
    last = body.rfind(change[0])
    assert decoder(body[:last] + change[1] + body[last + len(change[0]) :]) is None


def test_tensors_of_a_large_request_are_the_same() -> None:
    """The Open Inference Protocol reads its JSON in pieces too, with its bare NaN."""
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP64", "shape": [3], "data": [1.5, float("nan"), 3]}]})
    _, arrays = open_inference.read(body.encode(), None)
    np.testing.assert_array_equal(arrays["x"], [1.5, np.nan, 3])


def test_no_call_of_the_parser_takes_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, columns, values, objects and members: each call reads a few pieces, however large the text is."""
    rows = [[1, 2.5, "a,b", None]] * 60
    calls: list[int] = []
    parse = bodies.parse

    def watched(text: Any) -> Any:
        calls.append(len(text))
        return parse(text)

    monkeypatch.setattr(bodies, "parse", watched)
    for value in (
        rows,
        {"a": rows, "b": rows},
        [[rows, rows], rows],
        {"inputs": {f"k{number}": number for number in range(300)}},
        [{f"k{number}": [number] for number in range(9)}] * 50,
        {"x" * 9: {"y" * 9: [[[1] * 500]]}},
    ):
        assert decode_json(json.dumps(value).encode()) == value
    assert max(calls) <= 2 * pieces.PIECE_BYTES + 4


def test_a_record_has_few_fields_to_look_for() -> None:
    """Keys are looked for one by one: wide tables come as rows, and few bytes of records are read at once."""
    wide = Schema(tuple(ColSpec(DataType.double, f"c{number}") for number in range(typed_json.MAX_FIELDS + 1)))
    decoder = typed_json.typed_decoder(wide, "strict")
    assert decoder is not None
    row = dict.fromkeys(wide.name_tuple, 1.0)
    assert decoder(json.dumps({"dataframe_records": [row] * 3}).encode()) is None
    narrower = typed_json.typed_decoder(Schema(wide.columns[:500]), "strict")
    assert narrower is not None
    assert narrower.at_once_bytes <= 8 * typed_json.COMPARED_AT_ONCE / 500
