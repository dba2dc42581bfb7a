"""A model's YAML files are read within bounds, whoever wrote them."""

import json
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard import model_yaml, pyfunc
from tiltyard.errors import InvalidParameterValue
from tiltyard.model_yaml import MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES, read_yaml
from tiltyard.pyfunc import data_types
from tiltyard.pyfunc.data_types import MAX_TYPE_DEPTH
from tiltyard.pyfunc.schema import Schema

_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "deep lists": "[" * 200_000,
    "deep entries": "- " * 100_000,
    "deep mappings": "{a: " * 100_000,
    "deep keys": "? " * 100_000,
    "aliases of aliases": _LAUGHS,
    "an alias of itself": "&a [*a]",
    "merged again and again": "a: &a {"
    + ", ".join(f"k{i}: 1" for i in range(1000))
    + "}\nb: {<<: ["
    + "*a, " * 60
    + "]}",
    "many values": "[" + "a," * (MAX_NODES + 1) + "]",
    "a number in base 60": "a: " + "1:" * 100_000 + "1",
    "a tagged number in base 60": "a: !!int '" + "1:" * 100_000 + "1'",
    "a tagged fraction in base 60": "a: !!float '" + "1:" * 100_000 + "1.0'",
    "a large file": "#" * (MAX_FILE_BYTES + 1),
    "two documents": "a: 1\n---\na: 2\n",
    "no text": "\0",
    "an object": "!!python/object/apply:os.getcwd []",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_costs_more_than_it_says_is_refused(tmp_path: Path, kind: str) -> None:
    """A file that would be deep, large or slow to build is refused by name, before anything is built of it."""
    with pytest.raises(InvalidParameterValue, match="MLmodel"):
        read_yaml(HOSTILE[kind], file_name="MLmodel")
    (tmp_path / "MLmodel").write_text(HOSTILE[kind])
    with pytest.raises(InvalidParameterValue, match="MLmodel"):
        pyfunc.load(tmp_path)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=40)
@given(_values)
def test_plain_values_come_back(value: object) -> None:
    """Whatever YAML writes of plain values is read as it was, shared lists too."""
    assert read_yaml(yaml.safe_dump({"once": value, "again": value}), file_name="f") == {"once": value, "again": value}


def test_the_bounds_are_wide() -> None:
    """What is just within the bounds is read."""
    assert read_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, file_name="f")
    assert len(read_yaml("- a\n" * (MAX_NODES - 1), file_name="f")) == MAX_NODES - 1
    assert read_yaml("a: " + "x" * 1_000_000, file_name="f") == {"a": "x" * 1_000_000}


def test_a_large_file_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between them other threads run: one long text of a file is not scanned at one go. The pieces are the whole."""
    sizes: list[int] = []

    class Noted(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            sizes.append(len(piece))
            return piece

    monkeypatch.setattr(model_yaml, "BytesIO", Noted)
    text = "xé€\U0001f600" * 40_000
    for content in (f"a: '{text}'", f"a: '{text}'".encode()):
        sizes.clear()
        assert read_yaml(content, file_name="f") == {"a": text}
        assert sum(sizes) == 2 * len(f"a: '{text}'".encode())
        assert max(sizes) <= 65_536


def test_a_long_signature_is_parsed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call of the parser is given more than a part of it; the columns are all there, and a cut text is refused."""
    sizes: list[int] = []
    decode = data_types._decode
    monkeypatch.setattr(data_types, "_decode", lambda text: (sizes.append(len(text)), decode(text))[1])
    columns = [{"name": f"column {at}", "type": "long", "required": True} for at in range(30_000)]
    text = json.dumps(columns)
    assert Schema.from_json(text).to_list() == [{"type": "long"} | column for column in columns]
    assert sum(sizes) > 0.9 * len(text) and max(sizes) < len(text) / 2
    with pytest.raises(InvalidParameterValue, match="not valid JSON"):
        Schema.from_json(text[:-1])


@pytest.mark.parametrize("depth", [MAX_TYPE_DEPTH + 1, 900, 100_000])
def test_types_are_not_nested_without_end(depth: int) -> None:
    """A signature's type that is nested too deep is refused as such, however deep it is."""
    text = '[{"name": "a", "type": "array", "items": ' + '{"type": "array", "items": ' * (depth - 2)
    text += '{"type": "long"}' + "}" * (depth - 2) + "}]"
    with pytest.raises(InvalidParameterValue, match=r"nested more than|not valid JSON"):
        Schema.from_json(text)
