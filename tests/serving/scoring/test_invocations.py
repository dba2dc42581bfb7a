"""POST /invocations over HTTP: every accepted form and every refused one, against a real server."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.services import Service
from tests.fixtures.waiting import wait_until
from tests.serving.http_calls import Answer, request, score
from tests.serving.saved_models import IRIS, MODELS, SETOSA, VIRGINICA

SPLIT = {"dataframe_split": {"columns": IRIS, "data": [SETOSA, VIRGINICA]}}
RECORDS = {"dataframe_records": [dict(zip(IRIS, row, strict=True)) for row in (SETOSA, VIRGINICA)]}
INSTANCES = {"instances": RECORDS["dataframe_records"]}
INPUTS = {"inputs": {name: [SETOSA[i], VIRGINICA[i]] for i, name in enumerate(IRIS)}}
CSV = "\n".join([",".join(IRIS), *(",".join(map(str, row)) for row in (SETOSA, VIRGINICA))])


def endpoint(name: str) -> str:
    return f"/serving-endpoints/{name}/invocations"


def one(value: Any, name: str) -> dict[str, Any]:
    """A body with one row and one column."""
    return {"dataframe_split": {"columns": [name], "data": [[value]]}}


@pytest.mark.parametrize("body", [SPLIT, RECORDS, INSTANCES, INPUTS], ids=lambda body: next(iter(body)))
@pytest.mark.parametrize("path", ["/invocations", endpoint("default"), endpoint("cloudpickle")])
def test_all_json_forms_are_read(port: int, body: dict[str, Any], path: str) -> None:
    """Each of the four JSON forms gives the predictions of models that MLflow saved, without MLflow."""
    assert score(port, body, path).predictions == [0, 2]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/json;charset=UTF-8"])
def test_a_charset_may_be_named(port: int, content_type: str) -> None:
    """UTF-8 may be said in words."""
    assert score(port, SPLIT, content_type=content_type).predictions == [0, 2]


def test_csv_is_read(port: int) -> None:
    """A CSV body with a header row gives the same predictions."""
    assert score(port, CSV, content_type="text/csv").predictions == [0, 2]


def test_columns_in_any_order_and_surplus_ones(port: int) -> None:
    """Columns are put in the signature's order, surplus ones and the index are left out."""
    body = {
        "dataframe_split": {
            "columns": ["surplus", *reversed(IRIS)],
            "index": [7],
            "data": [["x", *reversed(VIRGINICA)]],
        },
        "signature_name": "ignored",
    }
    assert score(port, body).predictions == [2]


def test_the_answer_names_its_version(port: int) -> None:
    """Each answer says which version gave it, refusals of that version too."""
    header = score(port, SPLIT).headers["x-tiltyard-model"]
    name, _, version = header.partition("/")
    assert name == "default"
    assert len(version) == 12
    assert score(port, {"dataframe_split": {"data": [[1]]}}).headers["x-tiltyard-model"] == header


def test_probabilities_without_a_signature(port: int) -> None:
    """A model without a signature takes rows by position, here as an array."""
    [first, second] = score(port, {"instances": [SETOSA, VIRGINICA]}, endpoint("probabilities")).predictions
    assert sum(first) == pytest.approx(1)
    assert first.index(max(first)) == 0
    assert second.index(max(second)) == 2


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        (None, "This predictor only supports the following content types"),
        ("", "This predictor only supports the following content types"),
        ("text/plain", "This predictor only supports the following content types"),
        ("application/x-www-form-urlencoded", "This predictor only supports the following content types"),
        ("application/json; charset=latin-1", "The scoring server only supports UTF-8"),
        ("application/json; format=pandas-split", "Unrecognized content type parameters: format."),
        ("\x00;=;", "This predictor only supports the following content types"),
    ],
)
def test_other_content_types_are_415(port: int, content_type: str | None, message: str) -> None:
    """What is not read is refused as plain text, with status 415."""
    answer = score(port, SPLIT, content_type=content_type)
    if answer.status == 400 and content_type == "\x00;=;":
        return  # refused by the HTTP parser before it reaches anybody
    assert answer.status == 415
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.body.decode().startswith(message)


def test_other_content_encodings_are_415(port: int) -> None:
    """What is neither gzip nor zstd is refused and not read as text."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "br"}
    assert request(port, "POST", "/invocations", b"\x1f\x8b", headers).status == 415


UNREADABLE = "Invalid input. Ensure that input is a valid JSON formatted string."
ONE_OF = "The input must be a JSON dictionary with exactly one of the input fields"

BAD_BODIES: dict[str, tuple[Any, str]] = {
    "empty": ("", UNREADABLE),
    "broken": ("{", UNREADABLE),
    "truncated": (json.dumps(SPLIT)[:-1], UNREADABLE),
    "not utf-8": (b'{"inputs": "\xff"}', UNREADABLE),
    "trailing": ("{} {}", UNREADABLE),
    "NaN token": ('{"inputs": -NaN}', UNREADABLE),
    "nul": ("\x00", UNREADABLE),
    "deep": ("[" * 100_000, ""),
    "deep and closed": ('{"inputs":' + "[" * 5000 + "]" * 5000 + "}", ""),
    "list": ([1], "Invalid input."),
    "text": ('"text"', "Invalid input."),
    "number": ("5", "Invalid input."),
    "null": ("null", "Invalid input."),
    "no form": ({}, ONE_OF),
    "other keys": ({"data": [[1]]}, ONE_OF),
    "two forms": (SPLIT | INPUTS, ONE_OF),
    "split list": ({"dataframe_split": [1]}, "Invalid input. Dataframe split format must be a dictionary. Got list."),
    "split null": ({"dataframe_split": None}, "Invalid input. Dataframe split format must be a dictionary."),
    "split without data": (
        {"dataframe_split": {"columns": IRIS}},
        "Invalid input. Dataframe split format must have 'data'",
    ),
    "split extra key": (
        {"dataframe_split": {"columns": IRIS, "data": [SETOSA], "dtypes": []}},
        "Invalid input. Dataframe split format must have 'data'",
    ),
    "split ragged": (
        {"dataframe_split": {"columns": IRIS, "data": [SETOSA, [1]]}},
        "Invalid input. Provided dataframe_split field is not a valid dataframe representation in 'split' format.",
    ),
    "split too wide": (
        {"dataframe_split": {"columns": IRIS[:1], "data": [SETOSA]}},
        "Invalid input. Provided dataframe_split field is not a valid dataframe representation in 'split' format.",
    ),
    "split data scalar": ({"dataframe_split": {"columns": IRIS, "data": 5}}, ""),
    "split data object": ({"dataframe_split": {"columns": IRIS, "data": {"a": 1}}}, ""),
    "split columns number": ({"dataframe_split": {"columns": 5, "data": [SETOSA]}}, ""),
    "split columns nested": ({"dataframe_split": {"columns": [["a"]], "data": [[1]]}}, ""),
    "split twice a column": ({"dataframe_split": {"columns": [IRIS[0]] * 4, "data": [SETOSA]}}, ""),
    "split index wrong": ({"dataframe_split": {"columns": IRIS, "data": [SETOSA], "index": [1, 2]}}, ""),
    "records object": (
        {"dataframe_records": {"a": 1}},
        "Invalid input. Dataframe records format must be a list of records. Got dictionary.",
    ),
    "records of numbers": ({"dataframe_records": [1, 2]}, ""),
    "records mixed": ({"dataframe_records": [{"a": 1}, 5]}, ""),
    "records empty": ({"dataframe_records": []}, ""),
    "records null": ({"dataframe_records": None}, ""),
    "instances unequal": ({"instances": [dict(zip(IRIS, SETOSA, strict=True)), {IRIS[0]: 1}]}, ""),
    "instances null": ({"instances": None}, ""),
    "instances text": ({"instances": "text"}, ""),
    "instances matrix": ({"instances": [SETOSA]}, ""),
    "inputs unequal": ({"inputs": {IRIS[0]: [1, 2], IRIS[1]: [1], IRIS[2]: [1], IRIS[3]: [1]}}, ""),
    "inputs null": ({"inputs": None}, ""),
    "inputs text": ({"inputs": "text"}, ""),
    "inputs scalar": ({"inputs": 5}, ""),
    "missing columns": (one(1.0, IRIS[0]), ""),
    "no columns": ({"dataframe_split": {"data": [SETOSA]}}, ""),
    "no data": ({"dataframe_split": {"columns": IRIS, "data": []}}, ""),
    "text in a number": ({"dataframe_split": {"columns": IRIS, "data": [["x", 1, 1, 1]]}}, ""),
    "object in a number": ({"dataframe_split": {"columns": IRIS, "data": [[{}, 1, 1, 1]]}}, ""),
    "list in a number": ({"dataframe_split": {"columns": IRIS, "data": [[[1], 1, 1, 1]]}}, ""),
    "null in the model": ({"dataframe_split": {"columns": IRIS, "data": [[None, 1, 1, 1]]}}, ""),
    "huge number": ('{"dataframe_split":{"columns":["a"],"data":[[1e999]]}}', ""),
    "huge integer": ('{"instances":[[' + "9" * 5000 + "]]}", ""),
    "lone surrogate": ('{"inputs": {"\\ud800": [1]}}', ""),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies_are_refused(port: int, name: str) -> None:
    """A body that does not fit is a 400 in the protocol's error shape, in valid JSON, and leaks nothing."""
    body, message = BAD_BODIES[name]
    answer = score(port, body)
    assert answer.refusal() in {(400, "BAD_REQUEST"), (400, "INVALID_PARAMETER_VALUE")}
    assert answer.json["message"].startswith(message)
    assert_no_leak(answer)


@pytest.mark.parametrize("body", ["", "a\n", '"', "a,b\n1,2,3\n", "\x00\x01", "x" * 1000, "a,b\n1"])
def test_bad_csv_is_refused(port: int, body: str) -> None:
    """CSV that cannot be read or does not fit is a 400."""
    answer = score(port, body, content_type="text/csv")
    assert answer.refusal()[0] == 400
    assert_no_leak(answer)


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1" + b"\x00" * 100 + b"PAR1", b"text"])
def test_bad_parquet_is_refused(port: int, body: bytes) -> None:
    """Parquet that cannot be read is a 400."""
    answer = score(port, body, content_type="application/vnd.apache.parquet")
    assert answer.refusal()[0] == 400
    assert_no_leak(answer)


def assert_no_leak(answer: Answer) -> None:
    text = answer.body.decode()
    for secret in ("Traceback", "site-packages", ".py", "File \\", "/tmp", "/secret", "stack_trace", "0x"):
        assert secret not in text


def test_missing_inputs_are_named(port: int) -> None:
    """A missing column is an error of schema enforcement that names it, and the surplus ones."""
    answer = score(port, {"dataframe_split": {"columns": ["b", "zz"], "data": [[1.0, 1]]}}, endpoint("required"))
    assert answer.refusal() == (400, "INVALID_PARAMETER_VALUE")
    assert answer.json["error_class"] == "SCHEMA_ENFORCEMENT_FAILED"
    assert answer.json["sqlstate"] == "KAM01"
    assert "Model is missing inputs ['a']" in answer.json["message"]
    assert "extra inputs: ['zz']" in answer.json["message"]


def test_an_absent_optional_column_stays_absent(port: int) -> None:
    """The model sees fewer columns, and a null in an optional column is a null."""
    path = endpoint("required")
    both = {"dataframe_split": {"columns": ["b", "a"], "data": [[1.5, 2]]}}
    assert score(port, both, path).predictions == [["a", "b"]]
    three = {"dataframe_split": {"columns": ["b", "a", "c"], "data": [[1.5, 2, None]]}}
    assert score(port, three, path).predictions == [["a", "b", "c"]]


ACCEPTED = [
    ("integer", 3, "3"),
    ("integer", "3", "3"),
    ("integer", True, "1"),
    ("integer", 3.0, "3"),
    ("long", 2**53 + 1, str(2**53 + 1)),
    ("double", 2, "2.0"),
    ("double", "2.5", "2.5"),
    ("double", True, "1.0"),
    ("double", None, "nan"),
    ("boolean", True, "True"),
    ("boolean", 0, "False"),
    ("string", "a", "'a'"),
    ("string", None, "None"),
    ("binary", "YWI=", "b'ab'"),
    ("datetime", "2024-01-02", "Timestamp('2024-01-02 00:00:00')"),
    ("datetime", "2024-01-02T03:04:05", "Timestamp('2024-01-02 03:04:05')"),
    ("datetime", None, "NaT"),
]


@pytest.mark.parametrize(("kind", "value", "seen"), ACCEPTED, ids=lambda value: repr(value)[:20])
def test_values_are_cast_to_their_columns(port: int, kind: str, value: Any, seen: str) -> None:
    """A JSON value becomes its column's type, where nothing is lost by that."""
    assert score(port, one(value, kind), endpoint("typed")).predictions == [{kind: seen}]


REFUSED = [
    ("integer", 1.7),
    ("integer", 2**31),
    ("integer", None),
    ("integer", "x"),
    ("integer", "1.5"),
    ("integer", [1]),
    ("integer", {}),
    ("long", 2**63),
    ("long", 1e30),
    ("long", 0.5),
    ("double", "x"),
    ("double", {"a": 1}),
    ("boolean", 2),
    ("boolean", "false"),
    ("boolean", "maybe"),
    ("binary", "!!!"),
    ("binary", 5),
    ("binary", None),
    ("datetime", "junk"),
    ("datetime", "2024-01-01T00:00:00+02:00"),
    ("datetime", []),
]


@pytest.mark.parametrize(("kind", "value"), REFUSED, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records"])
def test_values_that_would_lose_something_are_refused(port: int, kind: str, value: Any, form: str) -> None:
    """A lossy cast is a 400 that names the column; MLflow's own server would change the value silently."""
    body = one(value, kind) if form == "dataframe_split" else {form: [{kind: value}]}
    answer = score(port, body, endpoint("typed"))
    assert answer.refusal()[0] == 400
    assert kind in answer.json["message"]
    assert_no_leak(answer)


@pytest.mark.parametrize(
    "row",
    [
        {"obj": {"y": "a"}},
        {"obj": {"x": 1, "z": 1}},
        {"obj": 5},
        {"numbers": 5},
        {"numbers": ["a"]},
        {"sizes": {"a": "b"}},
        {"sizes": [1]},
    ],
    ids=str,
)
def test_nested_columns_are_checked(port: int, row: dict[str, Any]) -> None:
    """Objects, arrays and maps that do not fit are refused."""
    assert score(port, {"dataframe_records": [row]}, endpoint("nested")).refusal()[0] == 400


def test_nested_columns_are_accepted(port: int) -> None:
    """Objects, arrays and maps that fit reach the model."""
    row = {"obj": {"x": 1}, "numbers": [], "sizes": {"a": 1}}
    assert score(port, {"dataframe_records": [row]}, endpoint("nested")).predictions == 1


@pytest.mark.parametrize(
    ("body", "predictions"),
    [
        ({"inputs": [[[1, 2], [3, 4]]]}, [10.0]),
        ({"instances": [[[1, 2], [3, 4]], [[0, 0], [0, 1]]]}, [10.0, 1.0]),
        ({"inputs": [[[1, 2, 3]]]}, None),
        ({"inputs": [[[1, 2], [3]]]}, None),
        ({"inputs": [[["a", 2], [3, 4]]]}, None),
        ({"inputs": {"a": [[[1, 2], [3, 4]]]}}, None),
        ({"inputs": 5}, None),
        ({"inputs": []}, None),
    ],
    ids=str,
)
def test_tensors(port: int, body: dict[str, Any], predictions: Any) -> None:
    """A nested list becomes the tensor, and one of another shape or kind is refused."""
    answer = score(port, body, endpoint("squares"))
    if predictions is None:
        assert answer.refusal()[0] == 400
        assert_no_leak(answer)
    else:
        assert answer.predictions == predictions


@pytest.mark.parametrize(
    ("arrays", "predictions"),
    [
        ({"a": [1], "b": [0.5]}, [1.5]),
        ({"a": [1], "b": [0.5], "c": [1]}, [1.5]),
        ({"a": [1]}, None),
        ({"a": ["x"], "b": [0.5]}, None),
    ],
    ids=str,
)
def test_named_tensors(port: int, arrays: dict[str, Any], predictions: Any) -> None:
    """Tensors are told apart by name; missing ones are refused, surplus ones left out."""
    answer = score(port, {"inputs": arrays}, endpoint("tensors"))
    assert (answer.refusal()[0] == 400) if predictions is None else (answer.predictions == predictions)


@pytest.mark.parametrize(
    ("params", "seen"),
    [
        (None, {"n": 3, "rate": 0.5, "flag": False, "stop": ["a"]}),
        ({}, {"n": 3}),
        ({"n": 5, "unknown": 1}, {"n": 5, "rate": 0.5}),
        ({"rate": 2}, {"rate": 2.0}),
        ({"stop": []}, {"stop": []}),
        ({"when": "2025-01-01T00:00:00"}, {"when": "2025-01-01T00:00:00"}),
        ({"n": 1.5}, None),
        ({"n": "1"}, None),
        ({"flag": 1}, None),
        ({"stop": "a"}, None),
        ({"n": [1]}, None),
        ({"when": 5}, None),
        ({"when": "junk"}, None),
        ([1], None),
        ("text", None),
    ],
    ids=str,
)
def test_params(port: int, params: Any, seen: dict[str, Any] | None) -> None:
    """Params reach the model with their defaults, and those that do not fit are refused."""
    answer = score(port, one(1.0, "a") | {"params": params}, endpoint("params"))
    if seen is None:
        assert answer.refusal()[0] == 400
        assert_no_leak(answer)
    else:
        [given] = answer.predictions
        assert seen.items() <= given.items()


def test_params_of_a_model_without_any_are_ignored(port: int) -> None:
    """A model without params does not see those of the request."""
    assert score(port, SPLIT | {"params": {"n": 1}}).predictions == [0, 2]


@pytest.mark.parametrize(
    ("verb", "status", "code"),
    [
        ("raise", 400, "BAD_REQUEST"),
        ("divide", 500, "INTERNAL_ERROR"),
        ("exit", 500, "INTERNAL_ERROR"),
        ("stop", 500, "INTERNAL_ERROR"),
    ],
)
def test_a_model_that_fails_says_whose_fault_it_is_without_its_words(
    port: int, verb: str, status: int, code: str
) -> None:
    """A `ValueError` may be for the input, the rest is the model's own; the cause stays in the log."""
    answer = score(port, one(verb, "do"), endpoint("obedient"))
    assert (answer.status, answer.json["error_code"]) == (status, code)
    assert ("request_id" in answer.json) == (status == 500)
    assert answer.json["message"].startswith("Encountered an unexpected error while evaluating the model.")
    assert_no_leak(answer)
    assert score(port, one("pid", "do"), endpoint("obedient")).status == 200


@pytest.mark.parametrize("verb", ["decimal", "set"])
def test_an_output_that_json_cannot_say_is_a_json_500(port: int, verb: str) -> None:
    """An unserialisable output is our only 500, in JSON, with an id that the log knows."""
    answer = score(port, one(verb, "do"), endpoint("obedient"))
    assert answer.status == 500
    assert answer.json["error_code"] == "INTERNAL_ERROR"
    assert answer.json["request_id"]
    assert_no_leak(answer)


@pytest.mark.parametrize(
    ("verb", "predictions"),
    [
        ("nan", [None, None, None, 1.0]),
        ("nan-array", [None, None, 1.0]),
        ("frame", [{"x": 1, "y": "a"}, {"x": 2, "y": None}]),
        ("series", [{"0": 1.5}, {"0": None}]),
        ("named-series", [{"score": 1}, {"score": 2}]),
        ("array", [[1, 2], [3, 4]]),
        ("none", None),
        ("text", "text"),
        ("arrays", {"p": [0.5]}),
        ("date", ["2024-01-02T03:04:05", "2024-01-02T00:00:00"]),
    ],
)
def test_outputs(port: int, verb: str, predictions: Any) -> None:
    """Whatever a model returns is valid JSON, NaN and infinities as null."""
    assert score(port, one(verb, "do"), endpoint("obedient")).predictions == predictions


def test_a_body_over_the_limit_is_413(port: int) -> None:
    """A body that says it is too large is refused before it is read, one that does not while it is read."""
    huge = b" " * 2_000_001
    answer = request(port, "POST", "/invocations", huge, {"Content-Type": "application/json"})
    assert answer.refusal() == (413, "BAD_REQUEST")
    chunks = (b" " * 500_000 for _ in range(5))
    assert request(port, "POST", "/invocations", chunks, {"Content-Type": "application/json"}).status == 413


def test_a_large_body_is_read(port: int) -> None:
    """Thousands of rows in one request are one prediction."""
    body = {"dataframe_split": {"columns": IRIS, "data": [SETOSA, VIRGINICA] * 10_000}}
    assert score(port, body).predictions == [0, 2] * 10_000


def test_a_request_over_its_time_is_504(hasty_server: Service, tmp_path: Path) -> None:
    """A prediction that takes too long is answered with 504 in time, and the model is usable afterwards."""
    began, port = time.monotonic(), hasty_server.port
    answer = score(port, one(f"until {tmp_path / 'go'}", "do"), endpoint("obedient"))
    assert answer.refusal() == (504, "DEADLINE_EXCEEDED")
    assert time.monotonic() - began > 1.5
    # The prediction was under way all the time.
    (tmp_path / "go").touch()
    assert score(port, SPLIT).predictions == [0, 2]
    # As soon as it has ended: until then whoever waited for it would wait too long.
    wait_until(lambda: score(port, one("text", "do"), endpoint("obedient")).status == 200)
    assert score(port, one("text", "do"), endpoint("obedient")).predictions == "text"


def test_one_bad_request_among_many_fails_alone(port: int) -> None:
    """Concurrent requests are merged; a null that the model refuses fails only the request that sent it."""
    bad = {"dataframe_split": {"columns": IRIS, "data": [[None, 1.0, 1.0, 1.0]]}}
    answers: dict[int, Answer] = {}

    def ask(number: int) -> None:
        answers[number] = score(port, bad if number % 7 == 0 else SPLIT)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(70)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, answer in answers.items():
        if number % 7 == 0:
            assert answer.refusal() == (400, "BAD_REQUEST")
        else:
            assert answer.predictions == [0, 2]


def test_a_model_that_is_not_row_wise_is_found_out(port: int) -> None:
    """A model that says it is row-wise but is not is found out at warm-up, and never merged."""
    states = {state["served"]: state for state in request(port, "GET", "/api/tiltyard/v1/models").json["models"]}
    assert set(states) == set(MODELS)
    assert {name for name, state in states.items() if state["merging"]} == {
        "default",
        "cloudpickle",
        "probabilities",
        "required",
        "squares",
    }
    answers: list[Answer] = []

    def ask(value: float) -> None:
        answers.append(score(port, {"inputs": {"a": [value, value + 2]}}, endpoint("centred")))

    threads = [threading.Thread(target=ask, args=(float(number),)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.predictions for answer in answers] == [[-1.0, 1.0]] * 20


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/nope", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/invocations", 405, "ENDPOINT_NOT_FOUND"),
        ("PUT", "/invocations", 405, "ENDPOINT_NOT_FOUND"),
        ("POST", "/ping", 405, "ENDPOINT_NOT_FOUND"),
        ("POST", "/invocations/more", 404, "ENDPOINT_NOT_FOUND"),
        ("POST", "/serving-endpoints/nobody/invocations", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "/serving-endpoints/default", 404, "ENDPOINT_NOT_FOUND"),
        ("POST", "/serving-endpoints/", 404, "ENDPOINT_NOT_FOUND"),
        ("POST", "/model/default/1/invocations", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "/model/main.ml.iris/champion/invocations", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "/model/..%2F..%2Fetc/1/invocations", 404, None),
        ("POST", "/model/%00/1/invocations", 404, None),
        ("POST", "/model/%ff/1/invocations", 404, None),
        ("POST", "/model", 404, "ENDPOINT_NOT_FOUND"),
        ("POST", "/model//1/invocations", 404, None),
    ],
)
def test_unknown_paths_and_methods(port: int, method: str, path: str, status: int, code: str | None) -> None:
    """What is not there is a 404 or 405 in the protocol's error shape."""
    answer = request(port, method, path, b"{}" if method != "GET" else None)
    found = answer.refusal()
    assert found[0] == status
    assert code is None or found[1] == code
    assert_no_leak(answer)


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_health_is_a_newline(port: int, path: str) -> None:
    """Once every model is loaded the probes answer 200 with an empty line."""
    answer = request(port, "GET", path)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"\n", "application/json")


def test_version_is_bare_text(port: int) -> None:
    """The version is text without quotes."""
    answer = request(port, "GET", "/version")
    assert answer.status == 200
    assert answer.body.decode().count(".") >= 2


def test_metrics_count_requests_rows_and_batches(port: int) -> None:
    """Requests, rows and predictions are counted by model and version."""

    def counted(name: str, *labels: str) -> float:
        text = request(port, "GET", "/metrics").body.decode()
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(name + "{") and all(label in line for label in labels)
        )

    names: list[tuple[str, ...]] = [
        ("tiltyard_serving_requests_total", 'model="default"', 'status="200"'),
        ("tiltyard_serving_rows_total", 'model="default"'),
        ("tiltyard_serving_requests_total", 'model="default"', 'status="400"'),
    ]
    before = [counted(*name) for name in names]
    score(port, SPLIT)
    score(port, one(1, "x"))
    assert [counted(*name) for name in names] == [before[0] + 1, before[1] + 2, before[2] + 1]


def test_the_server_survived_all_of_this(server: Service) -> None:
    """After every bad request above the process is healthy and has logged no fault of its own."""
    assert server.healthy()
    assert "Exception in ASGI application" not in server.logs
