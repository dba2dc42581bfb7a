"""What is decoded in the event loop costs little whatever it holds, by counted work; all else is for a thread."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiltyard.errors import TiltyardError
from tiltyard.pyfunc.data_types import AnyType, Array, DataType, Map, Object, Property
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.payload.bounds import DEFAULT
from tiltyard.pyfunc.payload.decoder import AT_ONCE_BYTES, NESTED_AT_ONCE_BYTES, TYPED_AT_ONCE_BYTES, Decoder
from tiltyard.pyfunc.payload.typed_json import AT_ONCE_BYTES as LARGEST_BYTES
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec
from tiltyard_serving.scoring.protocols import open_inference, tensor_payload

# About 5 ms on a quiet machine. One column of pandas for each value would be ten times as many.
MOST_CALLS = 60_000

KINDS: list[Any] = [
    *DataType,
    *map(Array, (DataType.double, DataType.long, DataType.datetime, DataType.binary, DataType.string)),
    *(Object((Property("b", kind, required=False),)) for kind in DataType),
    *map(Map, (DataType.long, DataType.datetime, DataType.double)),
    Array(Object((Property("b", DataType.long),))),
    Array(Array(DataType.double)),
    Object((Property("b", Array(DataType.double), required=False),)),
    AnyType(),
]
SIGNATURES: list[Signature | None] = [
    None,
    *(Signature(Schema((ColSpec(kind, "a"),))) for kind in KINDS),
    Signature(Schema(tuple(ColSpec(DataType.double, f"c{number}", required=False) for number in range(3000)))),
    Signature(Schema((TensorSpec("float32", (-1, 2)),))),
    Signature(Schema((TensorSpec("str", (-1,)),))),
]
VALUES = st.recursive(
    st.sampled_from(
        [0, 1, 1.5, -7, 2**60, 10**30, None, True, "", "a", "1", "YQ==", "2020-01-01", "2020-01-01T00:00:00.5+01:00"]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
# How one value becomes a body that holds it so many times.
FORMS: dict[str, Callable[[Any, int], Any]] = {
    "rows": lambda value, n: {"dataframe_split": {"columns": ["a"], "data": [[value]] * n}},
    "columns": lambda value, n: {"dataframe_split": {"columns": [f"{i:x}" for i in range(n)], "data": [[value] * n]}},
    "records": lambda value, n: {"dataframe_records": [{"a": value}] * n},
    "no records": lambda _value, n: {"dataframe_records": [{}] * n},
    "keys of their own": lambda value, n: {"dataframe_records": [{f"{i:x}": value} for i in range(n)]},
    "one record": lambda value, n: {"dataframe_records": [{"a": value, **{f"{i:x}": value for i in range(n)}}]},
    "in a list": lambda value, n: {"dataframe_records": [{"a": [value] * n}]},
    "in a map": lambda value, n: {"dataframe_records": [{"a": {f"{i:x}": value for i in range(n)}}]},
    "inputs": lambda value, n: {"inputs": [value] * n},
    "named inputs": lambda value, n: {"inputs": {f"{i:x}": [value] for i in range(n)}},
    "instances": lambda value, n: {"instances": [{"a": value}] * n},
    "pairs": lambda value, n: {"instances": [[value, value]] * n},
}
DATATYPES = ["INT8", "FP64", "BOOL", "BYTES"]
V2_FORMS: dict[str, Callable[[Any, int], Any]] = {
    "values": lambda value, n: {"shape": [n], "data": [value] * n},
    "lists": lambda value, n: {"shape": [n, 1], "data": [[value]] * n},
    "columns": lambda value, n: {"shape": [1, n], "data": [value] * n},
}


def text(make: Callable[[Any, int], Any], value: Any, size_bytes: int) -> bytes:
    """About the largest body of a form that has at most so many bytes."""

    def written(times: int) -> bytes:
        return json.dumps(make(value, times), separators=(",", ":")).encode()

    each_bytes = max(1.0, (len(written(101)) - len(written(1))) / 100)
    times = int(size_bytes / each_bytes)
    while len(body := written(times)) > size_bytes:
        times = times * 19 // 20
    return body


def work(run: Callable[[], object]) -> int:
    """How many calls something makes."""
    calls = 0

    def count(_frame: Any, event: str, _what: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        run()
    except TiltyardError:
        pass
    finally:
        sys.setprofile(before)
    return calls


def is_brief(run: Callable[[], object]) -> bool:
    """Whether something is little work; what it imports when it is run for the first time does not count."""
    return work(run) <= MOST_CALLS or work(run) <= MOST_CALLS


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    signature=st.sampled_from(SIGNATURES),
    form=st.sampled_from(list(FORMS)),
    value=VALUES,
    size_bytes=st.sampled_from([1024, NESTED_AT_ONCE_BYTES, AT_ONCE_BYTES, TYPED_AT_ONCE_BYTES, LARGEST_BYTES]),
)
def test_what_the_event_loop_decodes_is_little_work(
    signature: Signature | None, form: str, value: Any, size_bytes: int
) -> None:
    """For every kind of signature and body, what is not left to a thread makes few calls and builds little."""
    body = text(FORMS[form], value, size_bytes)
    decoder = Decoder(signature)
    assert is_brief(lambda: decoder.at_once(body, "application/json"))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_is_valid_and_fits_is_little_work(kind: Any) -> None:
    """Bodies full of values that the signature asks for, which no refusal cuts short."""
    leaf = {DataType.datetime: "2020-01-01", DataType.binary: "YQ==", DataType.string: "a", DataType.boolean: True}

    def value(kind: Any) -> Any:
        if isinstance(kind, Array):
            return [value(kind.items)]
        if isinstance(kind, Object):
            return {"b": value(kind.properties[0].type)}
        if isinstance(kind, Map):
            return {"": value(kind.values)}
        return leaf.get(kind, 1)

    decoder = Decoder(Signature(Schema((ColSpec(kind, "a"),))))
    for form in ("rows", "records"):
        for size_bytes in (NESTED_AT_ONCE_BYTES, AT_ONCE_BYTES, TYPED_AT_ONCE_BYTES, LARGEST_BYTES):
            body = text(FORMS[form], value(kind), size_bytes)
            assert is_brief(lambda body=body: decoder.at_once(body, "application/json"))  # type: ignore[misc]
    small = json.dumps(FORMS["rows"](value(kind), 1)).encode()
    assert decoder.at_once(small, "application/json") is not None


@pytest.mark.parametrize("kind", [DataType.double, DataType.string])
def test_a_large_body_of_few_values_needs_no_thread(kind: DataType) -> None:
    """How many values it has counts, not how many characters each of them takes."""
    decoder = Decoder(Signature(Schema(tuple(ColSpec(kind, f"c{at}") for at in range(16)))))
    names = [f"c{at}" for at in range(16)]

    def body(value: Any, rows: int) -> bytes:
        return json.dumps({"dataframe_split": {"columns": names, "data": [[value] * 16] * rows}}).encode()

    few, many = (0.1234567890123456, 1) if kind is DataType.double else ("a" * 18, "a")
    assert len(body(few, 1000)) > 4 * TYPED_AT_ONCE_BYTES
    assert decoder.at_once(body(few, 1000), "application/json") is not None
    assert len(body(many, 5000)) < LARGEST_BYTES
    assert decoder.at_once(body(many, 5000), "application/json") is None


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(
    signature=st.sampled_from(SIGNATURES),
    form=st.sampled_from(list(V2_FORMS)),
    datatype=st.sampled_from(DATATYPES),
    value=st.sampled_from([1, 1.5, True, "a", "{}", '{"b":1}', '{"b":"a"}', '{"b":"2020-01-01"}', "2020-01-01"]),
    inputs=st.booleans(),
)
def test_what_the_event_loop_reads_of_tensors_is_little_work(
    signature: Signature | None, form: str, datatype: str, value: Any, inputs: bool
) -> None:
    """So it is in the Open Inference Protocol, be it one tensor or many."""

    def make(value: Any, n: int) -> Any:
        if not inputs:
            return {"inputs": [{"name": "a", "datatype": datatype, **V2_FORMS[form](value, n)}]}
        one = V2_FORMS[form](value, 1)
        return {"inputs": [{"name": f"{number:x}", "datatype": datatype, **one} for number in range(n)]}

    size_bytes = TYPED_AT_ONCE_BYTES
    while not open_inference.is_brief(b" " * size_bytes, None):
        size_bytes //= 2
    body = text(make, value, size_bytes)

    def read() -> object:
        asked, arrays = open_inference.read(body, None, DEFAULT)
        if not open_inference.is_brief_to_convert(len(body), signature):
            return None
        return tensor_payload.to_payload(asked, arrays, signature)

    assert is_brief(read)
