"""Names of inputs that formats can hardly say: integers, which most know as texts only, and texts with quotes."""

import io
import json
from typing import Any

import pandas as pd
import pytest

from tests.pyfunc.specs import to_input
from tests.serving.saved_models import column, signature, tensor
from tiltyard.errors import SchemaEnforcementFailed
from tiltyard.pyfunc.enforcement.enforce import enforce
from tiltyard.pyfunc.payload import decoder as payload
from tiltyard_serving.scoring.protocols import infer_messages, open_inference, tensor_payload

NUMBERED = signature([column(0, "double"), column(1, "long")])


def parquet(frame: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.to_parquet(sink)
    return sink.getvalue()


BODIES: dict[str, tuple[Any, str]] = {
    "records": ({"dataframe_records": [{"0": 1.5, "1": 2}]}, "application/json"),
    "split": ({"dataframe_split": {"columns": ["1", "0"], "data": [[2, 1.5]]}}, "application/json"),
    "split by numbers": ({"dataframe_split": {"columns": [1, 0], "data": [[2, 1.5]]}}, "application/json"),
    "split without names": ({"dataframe_split": {"data": [[1.5, 2]]}}, "application/json"),
    "columns": ({"inputs": {"0": [1.5], "1": [2]}}, "application/json"),
    "objects": ({"inputs": [{"0": 1.5, "1": 2, "more": 3}]}, "application/json"),
    "instances": ({"instances": [{"0": 1.5, "1": 2}]}, "application/json"),
    "csv": (b"0,1\n1.5,2\n", "text/csv"),
    "parquet": (parquet(pd.DataFrame({"0": [1.5], "1": [2]})), "application/vnd.apache.parquet"),
}


@pytest.mark.parametrize("form", BODIES)
def test_columns_of_a_bare_array_are_found_by_their_text(form: str) -> None:
    """A model fitted on `DataFrame(array)` is asked in every format, and sees the names of its fit."""
    body, content_type = BODIES[form]
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    item = payload.Decoder(NUMBERED)(data, content_type)
    frame = to_input([item])
    assert frame.to_dict(orient="list") == {0: [1.5], 1: [2]}


def test_tensors_and_tables_in_process_are_found_too() -> None:
    """Named tensors, DataFrames and V2 requests match integer names by their text, as the metadata spells them."""
    tensors = signature([tensor("float64", [-1], 0), tensor("float64", [-1], 1)])
    item = payload.decode(b'{"inputs":{"0":[1.5],"1":[2]}}', "application/json", tensors)
    assert {name: array.tolist() for name, array in item.data.items()} == {0: [1.5], 1: [2.0]}
    assert NUMBERED.inputs is not None
    assert list(enforce(pd.DataFrame({"1": [2], "0": [1.5]}), NUMBERED.inputs)) == [0, 1]
    for signed in (signature([column(0, "double"), column(1, "double")]), tensors):
        names = [each.name for each in infer_messages.about("m", "1", signed).inputs]
        inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.5]} for name in names]
        asked, arrays = open_inference.read(json.dumps({"inputs": inputs}).encode(), None)
        assert tensor_payload.to_payload(asked, arrays, signed).rows == 1


def test_names_that_are_not_all_numbers_match_as_they_are() -> None:
    """Text and integer names side by side are not guessed at, and absent ones are named."""
    mixed = signature([column(0, "double"), column("a", "double")])
    with pytest.raises(SchemaEnforcementFailed, match=r"missing inputs \[0\]"):
        payload.decode(b'{"dataframe_records":[{"0":1,"a":1}]}', "application/json", mixed)
    with pytest.raises(SchemaEnforcementFailed, match=r"missing inputs \[1\]"):
        payload.decode(b'{"dataframe_records":[{"0":1}]}', "application/json", NUMBERED)


@pytest.mark.parametrize("name", ['5" pipe', "path\\x", "sales\n(EUR)", "\t", "\x00", "é\u2028", ""])
def test_names_from_spreadsheets_are_served(name: str) -> None:
    """A name that JSON has to escape is a name like any other."""
    columns = signature([column(name, "double")])
    decoder = payload.Decoder(columns)
    for body in ({"dataframe_records": [{name: 1.5}]}, {"dataframe_split": {"columns": [name], "data": [[1.5]]}}):
        item = decoder(json.dumps(body).encode(), "application/json")
        assert to_input([item])[name].tolist() == [1.5]
