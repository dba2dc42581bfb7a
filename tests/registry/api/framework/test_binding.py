"""Request bodies by the protocol's rules: what is understood, and in which words the rest is refused."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.errors import InvalidParameterValue
from tiltyard.wire.mlflow.model_versions import CreateModelVersion, TransitionModelVersionStage
from tiltyard.wire.mlflow.registered_models import CreateRegisteredModel, SetRegisteredModelAlias
from tiltyard.wire.mlflow.runs import LogBatch, SearchRuns
from tiltyard.wire.tags import Tag
from tiltyard.wire.v1.aliases import Changes
from tiltyard_registry.api.framework.binding import decode

KINDS = [CreateRegisteredModel, CreateModelVersion, TransitionModelVersionStage, Changes, LogBatch, SearchRuns]
DOCS = "See the API docs for more information about request parameters."


def read(kind: type, body: Any, content_type: str | None = "application/json") -> Any:
    """`body` decoded; text and bytes are taken as the body itself."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode(raw, content_type, kind)


def refusal(kind: type, body: Any, content_type: str | None = "application/json") -> str:
    """The message with which `body` is refused."""
    with pytest.raises(InvalidParameterValue) as raised:
        read(kind, body, content_type)
    return raised.value.message


@pytest.mark.parametrize(
    ("kind", "body", "field", "value"),
    [
        (CreateRegisteredModel, {"name": "m", "unknown": {"a": [1]}}, "name", "m"),
        (CreateRegisteredModel, {"name": "m", "description": None, "tags": None}, "tags", []),
        (CreateRegisteredModel, {"name": "m", "tags": [{"key": "k", "value": None}]}, "tags", [Tag("k", "")]),
        (CreateModelVersion, {"name": "m", "source": "s", "runId": "r"}, "run_id", "r"),
        (SearchRuns, {"experimentIds": ["1"], "maxResults": "7"}, "max_results", 7),
        (SearchRuns, {"max_results": 7.0}, "max_results", 7),
        (TransitionModelVersionStage, {"name": "m", "version": 3, "stage": "s"}, "version", 3),
        (
            TransitionModelVersionStage,
            {"name": "m", "version": "3", "stage": "s", "archive_existing_versions": "TRUE"},
            "archive_existing_versions",
            True,
        ),
        (SearchRuns, json.dumps({"filter": "a"}), "filter", "a"),
        (SearchRuns, None, "max_results", 1000),
        (SearchRuns, {}, "order_by", []),
    ],
    ids=str,
)
def test_bodies_are_read_as_upstream_reads_them(kind: type, body: Any, field: str, value: Any) -> None:
    """Nulls are unset, unknown fields ignored, both cases and numeric texts understood, JSON within JSON too."""
    assert getattr(read(kind, body), field) == value


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e3", "-2.5"])
def test_numbers_may_travel_as_texts(text: str) -> None:
    """A metric's value may be a text, which is how NaN and the infinities travel."""
    batch = read(LogBatch, {"run_id": "r", "metrics": [{"key": "k", "value": text, "timestamp": "1"}]})
    assert batch.metrics[0].value == float(text) or math.isnan(float(text)) == math.isnan(batch.metrics[0].value)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json"])
def test_json_content_types_are_taken(content_type: str) -> None:
    """The content type may carry a charset and any case."""
    assert read(CreateRegisteredModel, {"name": "m"}, content_type).name == "m"


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "json"])
def test_other_content_types_are_refused(content_type: str | None) -> None:
    """A body that does not say that it is JSON is refused: a form of another site cannot post here."""
    message = refusal(CreateRegisteredModel, {"name": "m"}, content_type)
    assert message.startswith("Bad Request. Content-Type must be 'application/json'")


@pytest.mark.parametrize(
    "missing", [{}, {"name": None}, {"name": ""}, {"name": "m", "tags": [{"value": "v"}]}], ids=str
)
def test_missing_values_are_named(missing: dict[str, Any]) -> None:
    """Absent, null and empty are the same for a required text, and the message is upstream's."""
    parameter = "tags[0].key" if "tags" in missing else "name"
    expected = f"Missing value for required parameter '{parameter}'. {DOCS}"
    assert refusal(CreateRegisteredModel, missing) == expected


@pytest.mark.parametrize(
    ("kind", "body", "beginning"),
    [
        (
            CreateRegisteredModel,
            {"name": 5},
            "Invalid value 5 for parameter 'name' supplied:  Hint: Value was of type 'int'.",
        ),
        (
            CreateRegisteredModel,
            {"name": True},
            "Invalid value true for parameter 'name' supplied:  Hint: Value was of type 'bool'.",
        ),
        (
            CreateRegisteredModel,
            {"name": ["m"]},
            "Invalid value [\"m\"] for parameter 'name' supplied:  Hint: Value was of type 'list'.",
        ),
        (CreateRegisteredModel, {"name": "m", "tags": {}}, "Invalid value {} for parameter 'tags' supplied:"),
        (CreateRegisteredModel, {"name": "m", "tags": [3]}, "Invalid value 3 for parameter 'tags[0]' supplied:"),
        (SearchRuns, {"max_results": "many"}, "Invalid value \"many\" for parameter 'max_results' supplied:"),
        (SearchRuns, {"max_results": True}, "Invalid value true for parameter 'max_results' supplied:"),
        (SearchRuns, {"max_results": 1.5}, "Invalid value 1.5 for parameter 'max_results' supplied:"),
        (SearchRuns, {"max_results": 2**63}, "Invalid value 9223372036854775808 for parameter 'max_results' supplied:"),
        (SearchRuns, {"max_results": str(10**30)}, f"Invalid value {10**30} for parameter 'max_results' supplied:"),
        (SearchRuns, {"order_by": "a"}, "Invalid value \"a\" for parameter 'order_by' supplied:"),
        (SearchRuns, {"filter": "a\0b"}, "Invalid value \"a\\u0000b\" for parameter 'filter' supplied:"),
        (
            LogBatch,
            {"run_id": "r", "metrics": [{"key": "k", "value": "high", "timestamp": 1}]},
            "Invalid value \"high\" for parameter 'metrics[0].value' supplied:",
        ),
        (SearchRuns, {"max_results": 1, "maxResults": 1}, "Parameter 'max_results' is given twice"),
        (SearchRuns, {"maxResults": 1, "max_results": None}, "Parameter 'max_results' is given twice"),
        (SearchRuns, b"{", "The request body is not valid JSON"),
        (SearchRuns, b'{"filter": NaN}', "The request body is not valid JSON"),
        (SearchRuns, b'{"filter": "\xff"}', "The request body is not valid JSON"),
        (SearchRuns, b'"{"', "The request body is not valid JSON"),
        (SearchRuns, b"[" * 100_000, "The request body is n"),
        (SearchRuns, b"[]", "The request body must be a JSON object, got an array"),
        (SearchRuns, b"7", "The request body must be a JSON object, got a number"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_wrong_values_are_named(kind: type, body: Any, beginning: str) -> None:
    """What is wrong with a body is said in upstream's words, with the path of the parameter and the value."""
    assert refusal(kind, body).startswith(beginning)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["name", "source", "tags", "version", "stage", "archiveExistingVersions", "changes", "runId", "run_id", "metrics",
     "maxResults", "max_results", "orderBy", "key", "value", "alias"]
)  # fmt: skip


@given(st.sampled_from(KINDS), st.binary() | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(kind: type, body: bytes) -> None:
    """Whatever comes as a body is either understood or refused as the caller's mistake."""
    try:
        assert isinstance(read(kind, body), kind)
    except InvalidParameterValue as error:
        assert error.message


ENTRIES = st.lists(st.dictionaries(FIELDS, JSON_VALUES, max_size=4), max_size=3)


@given(st.sampled_from(KINDS), st.dictionaries(FIELDS, JSON_VALUES | ENTRIES, max_size=6))
def test_any_json_is_read_or_refused(kind: type, body: dict[str, Any]) -> None:
    """JSON with the right names and any values is either understood, within 64 bits and without NUL, or refused."""
    try:
        found = json.dumps(msgspec.to_builtins(read(kind, body)))
    except InvalidParameterValue as error:
        assert error.message
    else:
        assert "\\u0000" not in found.replace("\\\\", "")


@given(st.text(min_size=1).filter(lambda text: "\0" not in text), st.integers(0, 2**31))
def test_both_spellings_mean_the_same(text: str, number: int) -> None:
    """A body in camelCase is the body in snake_case."""
    snake = {"name": text, "alias": text, "version": number, "run_id": text, "source": text, "max_results": number}
    camel = {"runId": text, "maxResults": number, "name": text, "alias": text, "version": number, "source": text}
    for kind in (SetRegisteredModelAlias, CreateModelVersion, SearchRuns):
        assert read(kind, snake) == read(kind, camel)
