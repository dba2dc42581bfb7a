"""Scoring bodies: the same input as the peer's parser, or a refusal; never another answer, never another error."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pyfunc import peer
from tests.pyfunc.specs import to_input
from tiltyard.errors import TiltyardError
from tiltyard.pyfunc import Signature
from tiltyard.pyfunc.data_types import DataType
from tiltyard.pyfunc.payload import decoder
from tiltyard.pyfunc.schema import ColSpec, Schema

NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**70]),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from([1.7, -0.0, 1e300, 1e-320]),
)
CELLS = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.sampled_from(
        ["", "a", "3", "2.5", "true", "false", "YWI=", "!!!", "2024-01-02", "2024-01-02T03:04:05", "größe"]
    ),
)
KINDS = st.sampled_from([kind for kind in DataType if kind is not DataType.datetime])


@st.composite
def requests(draw: st.DrawFn) -> tuple[Schema, dict[str, Any]]:
    """A schema of scalar columns, and a dataframe body for it whose cells are of any kind."""
    kinds = draw(st.lists(KINDS, min_size=1, max_size=3))
    names = ["a", "b", "c"][: len(kinds)]
    schema = Schema(tuple(ColSpec(kind, name) for kind, name in zip(kinds, names, strict=True)))
    rows = draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), min_size=1, max_size=3))
    if draw(st.booleans()):
        return schema, {"dataframe_split": {"columns": names, "data": rows}}
    return schema, {"dataframe_records": [dict(zip(names, row, strict=True)) for row in rows]}


def decoded(fields: dict[str, Any], schema: Schema, coerce: Any = "strict") -> Any:
    """The model input of a body, or REFUSED."""
    signature = Signature(inputs=schema)
    try:
        one = decoder.decode(json.dumps(fields).encode(), "application/json", signature, coerce=coerce)
    except TiltyardError:
        return peer.REFUSED
    return to_input([one])


@settings(max_examples=300)
@given(requests())
def test_a_body_gives_the_input_that_the_peer_gives_or_is_refused(request_: tuple[Schema, dict[str, Any]]) -> None:
    """Strictly read, what is accepted is what the peer would have made of it; lossy casts are refused instead."""
    schema, fields = request_
    ours = decoded(fields, schema)
    if ours is not peer.REFUSED and not _peer_loses(ours, schema):
        theirs = peer.parse(fields, schema)
        assert peer.same(ours, theirs), (ours, theirs)


def _peer_loses(frame: pd.DataFrame, schema: Schema) -> bool:
    """Whether the peer's parser changes a value on its way.

    It makes False of a null boolean, which its in-process rules, and so batch scoring, keep; it reads integers
    through floats when a column holds both; and numbers in a column of text become floats when one is missing.
    """
    columns = {spec.name: frame[spec.name] for spec in schema.columns}
    kinds = {spec.name: spec.type for spec in schema.columns}
    return any(
        (kinds[name] is DataType.boolean and bool(column.isna().any()))
        or (kinds[name] is DataType.long and bool((column.abs() > 2**53).any()))
        or (kinds[name] is DataType.string and not all(isinstance(value, str) for value in column))
        for name, column in columns.items()
    )


def test_large_integers_stay_exact() -> None:
    """An integer beyond 2**53 beside a float keeps its value, where the peer rounds it."""
    fields = {"dataframe_records": [{"a": 2**53 + 1}, {"a": 0.0}]}
    ours = decoded(fields, Schema((ColSpec(DataType.long, "a"),)))
    assert ours["a"].tolist() == [2**53 + 1, 0]


@settings(max_examples=200)
@given(requests())
def test_what_fits_exactly_is_accepted(request_: tuple[Schema, dict[str, Any]]) -> None:
    """Values that the column's type holds without loss are never refused."""
    schema, fields = request_
    exact = {
        DataType.boolean: [True, False],
        DataType.integer: [1, -5, 2**31 - 1],
        DataType.long: [1, 2**63 - 1],
        DataType.float: [1.5, 3],
        DataType.double: [1.7, 2, -1e300],
        DataType.string: ["a", "größe"],
        DataType.binary: ["YWI="],
    }
    row = [exact[spec.type][len(fields) % len(exact[spec.type])] for spec in schema.columns]
    columns = [spec.name for spec in schema.columns]
    body = {"dataframe_split": {"columns": columns, "data": [row, row]}}
    ours = decoded(body, schema)
    assert ours is not peer.REFUSED
    assert peer.same(ours, peer.parse(body, schema))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", 1.7),
        ("integer", 2**31),
        ("long", 2**63),
        ("long", None),
        ("boolean", "false"),
        ("boolean", 2),
        ("binary", "!!!"),
        ("double", "abc"),
        ("datetime", "junk"),
    ],
)
def test_a_lossy_cast_names_column_and_row(kind: str, value: Any) -> None:
    """Where the peer loses something without a word, the refusal says where; `lenient` brings the cast back."""
    schema = Schema((ColSpec(DataType(kind), "c"),))
    good = {"boolean": True, "binary": "YWI=", "datetime": "2024-01-01"}.get(kind, 1)
    body = json.dumps({"dataframe_split": {"columns": ["c"], "data": [[good], [value]]}}).encode()
    with pytest.raises(TiltyardError) as refused:
        decoder.decode(body, "application/json", Signature(inputs=schema))
    assert "column 'c'" in refused.value.message
    assert "Row 1" in refused.value.message


@pytest.mark.parametrize(
    ("kind", "value", "cast"),
    [("integer", 1.7, 1), ("boolean", "false", True), ("long", 2.9, 2), ("binary", "!!!", b"")],
)
def test_lenient_reads_as_the_peer_does(kind: str, value: Any, cast: Any) -> None:
    """`coerce=lenient` restores the peer's silent cast, for callers who rely on it."""
    schema = Schema((ColSpec(DataType(kind), "c"),))
    fields = {"dataframe_records": [{"c": value}]}
    ours = decoded(fields, schema, "lenient")
    assert ours["c"].tolist() == [cast]
    assert peer.same(ours, peer.parse(fields, schema))


MUTATED = st.builds(
    lambda text, at, junk: text[: at % len(text)] + junk + text[at % len(text) :],
    st.sampled_from(
        [
            b'{"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}, "params": {"x": 1}}',
            b'{"dataframe_records": [{"a": 1}, {"a": null}]}',
            b'{"instances": [[1, 2], [3, 4]]}',
            b'{"inputs": {"a": [1, 2]}}',
        ]
    ),
    st.integers(0, 200),
    st.one_of(
        st.binary(max_size=4), st.sampled_from([b"[" * 100_000, b"1" * 5000, b"NaN", b"-Infinity", b'"\\ud800"'])
    ),
)


@settings(max_examples=400)
@given(
    body=st.one_of(st.binary(max_size=60), MUTATED),
    content_type=st.one_of(
        st.sampled_from(["application/json", "text/csv", "application/vnd.apache.parquet", None]), st.text(max_size=20)
    ),
    typed=st.booleans(),
)
def test_any_bytes_are_a_payload_or_a_refusal(body: bytes, content_type: str | None, typed: bool) -> None:
    """No body raises anything but our own errors, and what is accepted becomes one model input."""
    signature = Signature(inputs=Schema((ColSpec(DataType.double, "a"),))) if typed else None
    try:
        one = decoder.decode(body, content_type, signature)
    except TiltyardError as error:
        assert len(error.message) < 5000
        return
    to_input([one])


def test_merged_payloads_are_one_input_in_order() -> None:
    """Payloads of one merge key become one frame whose rows follow theirs."""
    signature = Signature(inputs=Schema((ColSpec(DataType.double, "a"), ColSpec(DataType.string, "s"))))

    def body(*rows: list[Any]) -> bytes:
        return json.dumps({"dataframe_split": {"columns": ["a", "s"], "data": list(rows)}}).encode()

    parts = [
        decoder.decode(text, "application/json", signature) for text in (body([1, "x"]), body([2.5, None], [3, "z"]))
    ]
    assert parts[0].merge_key == parts[1].merge_key is not None
    merged = to_input(parts)
    assert merged.to_dict("list") == {"a": [1.0, 2.5, 3.0], "s": ["x", None, "z"]}


def test_a_wide_row_is_read_in_milliseconds() -> None:
    """One row of 600 doubles is decoded and built within a few milliseconds, not one cast a column."""
    import timeit

    names = [f"c{i}" for i in range(600)]
    schema = Schema(tuple(ColSpec(DataType.double, name) for name in names))
    signature = Signature(inputs=schema)
    body = json.dumps({"dataframe_split": {"columns": names, "data": [[0.5] * 600]}}).encode()

    def read() -> pd.DataFrame:
        frame: pd.DataFrame = to_input([decoder.decode(body, "application/json", signature)])
        return frame

    assert np.array_equal(read().to_numpy(), np.full((1, 600), 0.5))
    assert min(timeit.repeat(read, number=5, repeat=5)) / 5 < 0.02
