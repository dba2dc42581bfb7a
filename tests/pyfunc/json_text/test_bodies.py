"""Bare NaN and Infinity, as Python's clients write them, are read where strict JSON fails, and nothing else is."""

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pyfunc import peer
from tests.pyfunc.specs import to_input
from tests.serving.saved_models import column, signature, tensor
from tiltyard import pyfunc
from tiltyard.errors import BadRequest
from tiltyard.pyfunc.json_text import bodies
from tiltyard.pyfunc.json_text.bodies import decode_json
from tiltyard.pyfunc.payload import decoder
from tiltyard_serving.warm_up.row_proof import prove
from tiltyard_serving.warm_up.warm_up import example_payload

VALUES = st.recursive(
    st.floats() | st.text(st.characters(codec="utf-8"), max_size=8) | st.integers(-(2**70), 2**70) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["NaN", 'a"', "b\\"]), inner),
    max_leaves=8,
)


@given(VALUES)
def test_what_python_writes_is_read(value: object) -> None:
    """Any values come back, numbers that are none and infinities too, whatever the texts between them hold."""
    assert repr(decode_json(json.dumps(value).encode())) == repr(json.loads(json.dumps(value)))


@given(VALUES, st.integers(1, 9))
def test_what_is_read_in_pieces_is_the_same(value: object, piece_bytes: int) -> None:
    """Wherever a piece ends, in a constant, in a text or after a backslash, the values are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "PIECE_BYTES", piece_bytes)
        patch.setattr(bodies, "MAX_BYTES", piece_bytes + 16)
        assert repr(decode_json(json.dumps(value).encode())) == repr(json.loads(json.dumps(value)))


@pytest.mark.parametrize("separator", [b"1", b" ", b'"a",', b'"\\\\\\"",', b'"' + b"a" * 3_000_000 + b'",'])
def test_no_part_of_a_large_body_is_read_at_one_go(separator: bytes) -> None:
    """A search for constants hands on the interpreter's lock every piece, whatever the body is made of."""
    body = b"[NaN," + separator * (2_000_000 // len(separator) + 1) + b"1]"
    reads: list[int] = []

    class Watched:
        def __init__(self, pattern: "re.Pattern[bytes]") -> None:
            self._pattern = pattern

        def match(self, text: bytes, at: int, end: int) -> "re.Match[bytes] | None":
            reads.append(end - at)
            return self._pattern.match(text, at, end)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_OUTSIDE", "_INSIDE"):
            patch.setattr(bodies, name, Watched(getattr(bodies, name)))
        assert bodies.without_constants(body) == b"[0," + body[5:]
    assert max(reads) <= bodies.MAX_BYTES


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"NaN,",
        b"[NaN",
        b'["NaN]',
        b"-NaN",
        b"NaNs",
        b"nan",
        b"inf",
        b"1NaN",
        b"5-Infinity",
        b"--Infinity",
        b"[Infinit]",
        b"[N",
        b'[NaN,"\\ud800"]',
        b"{NaN:1}",
    ],
)
def test_what_is_no_json_stays_refused(body: bytes) -> None:
    """The strict parser has the last word: a NaN elsewhere excuses nothing."""
    with pytest.raises((msgspec.DecodeError, UnicodeError)):
        decode_json(body)


def test_a_missing_number_is_missing() -> None:
    """A bare NaN is what a null is: no integer, a missing number, a missing text."""
    columns = signature([column("a", "double"), column("s", "string", required=False)])
    body = b'{"dataframe_split":{"columns":["a","s"],"data":[[NaN,"NaN"],[-Infinity,NaN]]}}'
    [item] = [decoder.decode(body, "application/json", columns)]
    frame = to_input([item])
    assert np.isnan(frame["a"][0])
    assert frame["a"][1] == -np.inf
    assert frame["s"][0] == "NaN"
    assert pd.isna(frame["s"][1])
    with pytest.raises(BadRequest, match=r"'n'.*Row 0.*not an integer"):
        decoder.decode(b'{"dataframe_records":[{"n":NaN}]}', "application/json", signature([column("n", "long")]))
    rows = decoder.decode(b'{"inputs":[[NaN,1]]}', "application/json", signature([tensor("float32", [-1, 2])]))
    assert np.isnan(rows.data[0, 0])


def test_an_example_that_mlflow_wrote_with_nan_is_used(tmp_path: Path) -> None:
    """MLflow writes a missing number of an example as a bare NaN; such an example still warms up and proves rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0, 4.0], "b": [0.5, 1.0, np.nan, 2.0]})
    fitted = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=1).fit(frame, [0, 1, 0, 1])
    peer.mlflow.sklearn.save_model(
        fitted,
        tmp_path / "m",
        input_example=frame,
        serialization_format="cloudpickle",
        signature=peer.mlflow.models.infer_signature(frame),
        pip_requirements=["scikit-learn"],
    )
    assert b"NaN" in (tmp_path / "m" / "serving_input_example.json").read_bytes()
    model = pyfunc.load(tmp_path / "m")
    example = example_payload(model, tmp_path / "m", "strict")
    assert example is not None
    assert example.rows == len(frame)
    assert prove(model, example) is not None
