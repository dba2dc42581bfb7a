"""Answers of many rows are written in pieces, and say what one call would say."""

import datetime as dt
import json
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from tiltyard.errors import InternalError, PayloadTooLarge
from tiltyard.pyfunc.payload import output
from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard.pyfunc.payload.chunks import CHUNK_VALUES
from tiltyard.pyfunc.payload.output import to_jsonable

COUNT = CHUNK_VALUES + 1
NUMBERS = np.arange(COUNT) / 3
MISSING = np.where(np.arange(COUNT) % 7 == 0, np.nan, NUMBERS)
LONG: dict[str, Any] = {
    "numbers": NUMBERS,
    "whole numbers": np.arange(COUNT),
    "rows": MISSING.reshape(-1, 1).repeat(3, axis=1),
    "three dimensions": np.zeros((COUNT // 6 + 1, 3, 2), dtype="float32"),
    "masked": np.ma.masked_array(NUMBERS, mask=np.arange(COUNT) % 2),
    "fields": np.array([(1, "a")] * COUNT, dtype=[("n", "i8"), ("s", "U1")]),
    "texts": np.array(["ä", None] * (COUNT // 2 + 1), dtype=object),
    "a list": MISSING.tolist(),
    "a tuple": tuple(MISSING.tolist()),
    "lists": [[1, None], ["x"]] * (COUNT // 2),
    "records": [{"a": 1.5, "when": dt.date(2024, 5, 1)}] * COUNT,
    "a column": pd.Series(MISSING, name="p"),
    "a table": pd.DataFrame({"p": MISSING, "label": pd.Categorical(["no", "yes", None] * (COUNT // 3 + 1))[:COUNT]}),
}


@pytest.mark.parametrize("predictions", LONG.values(), ids=LONG)
def test_pieces_say_what_one_call_says(predictions: Any) -> None:
    """The text is the same byte by byte, in JSON and as a tensor's data."""
    whole = msgspec.json.encode(to_jsonable(predictions))
    assert output.encode(predictions) == b'{"predictions":' + whole + b"}"
    pieces = output.long_json(predictions)
    assert pieces is not None
    assert bytes(pieces) == whole


def test_what_is_short_is_written_by_one_call() -> None:
    """A few values, an empty array, a mapping and a text are not taken apart."""
    for value in ([1.0] * CHUNK_VALUES, np.zeros((0, 3)), np.float64(1.0), {"a": [1.0] * COUNT}, "x" * COUNT, []):
        assert output.long_json(value) is None


def test_half_a_character_among_many_texts_is_an_escape() -> None:
    """Where UTF-8 cannot say a text, JSON's escapes do, and the other texts stay."""
    texts = ["ä"] * COUNT + ["\ud800"]
    assert json.loads(output.encode(texts)) == {"predictions": texts}


def test_what_json_cannot_say_among_many_values_is_named() -> None:
    """The error is that of a short answer."""
    with pytest.raises(InternalError, match="type 'list' cannot be written as JSON: it holds a 'set'"):
        output.encode([1.0] * COUNT + [{1}])


class Rows(list[Any]):
    """Knows how many of its rows were asked for."""

    asked = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.asked += len(found) if isinstance(key, slice) else 1
        return found


@pytest.mark.parametrize("write", [output.encode, output.long_json])
def test_of_an_answer_over_its_bound_no_more_is_written(write: Any) -> None:
    """A million rows are not made into text when the first of them fill what an answer may take."""
    rows = Rows([{"a": 1.0, "b": "text"}] * 1_000_000)
    with pytest.raises(PayloadTooLarge, match="'max_answer_bytes' of 1000000"):
        write(rows, Bounds(answer_bytes=1_000_000))
    assert rows.asked < 200_000
