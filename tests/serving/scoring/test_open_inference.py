"""The Open Inference Protocol V2, spoken by Triton's own HTTP client."""

import contextlib
import gzip
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

from tests.fixtures.services import Service
from tests.serving.http_calls import Answer, request
from tests.serving.saved_models import IRIS, SETOSA, VIRGINICA
from tiltyard.errors import TiltyardError
from tiltyard_serving.scoring.protocols import open_inference

ROWS = np.array([SETOSA, VIRGINICA])


@pytest.fixture(scope="module")
def client(server: Service) -> Iterator[triton.InferenceServerClient]:
    """Triton's client."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", network_timeout=20) as client:
        yield client


def tensor(name: str, array: Any, datatype: str, *, binary: bool) -> triton.InferInput:
    value = triton.InferInput(name, list(array.shape), datatype)
    value.set_data_from_numpy(array, binary_data=binary)
    return value


def columns(*, binary: bool) -> list[triton.InferInput]:
    return [tensor(name, ROWS[:, i : i + 1], "FP64", binary=binary) for i, name in enumerate(IRIS)]


def infer(port: int, body: Any, model: str = "default", headers: dict[str, str] | None = None) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request(port, "POST", f"/v2/models/{model}/infer", data, headers)


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    """The server and its models are live and ready, and say what they take."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("default")
    assert not client.is_model_ready("absent")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    about = client.get_model_metadata("default")
    assert about["inputs"] == [{"name": name, "datatype": "FP64", "shape": [-1]} for name in IRIS]
    assert about["outputs"] == [{"name": "predictions", "datatype": "INT64", "shape": [-1]}]
    [number] = about["versions"]
    assert client.is_model_ready("default", number)
    assert not client.is_model_ready("default", "9")
    squares = client.get_model_metadata("squares")["inputs"]
    assert squares == [{"name": "input", "datatype": "FP64", "shape": [-1, 2, 2]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_infer(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool, compression: str | None
) -> None:
    """Columns as tensors give the predictions of `/invocations`, in JSON and binary, plain and compressed."""
    for inputs in (columns(binary=binary_in), [tensor("all", ROWS, "FP64", binary=binary_in)]):
        answer = client.infer(
            "default",
            inputs,
            outputs=[triton.InferRequestedOutput("predictions", binary_data=binary_out)],
            request_id="seven",
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
        )
        assert answer.as_numpy("predictions").tolist() == [0, 2]
        response = answer.get_response()
        assert (response["id"], response["model_name"]) == ("seven", "default")


def test_the_version_is_named_and_can_be_asked_for(client: triton.InferenceServerClient, port: int) -> None:
    """The answer names the version in the body and in the header."""
    answer = infer(port, {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}]})
    number = answer.json["model_version"]
    assert answer.headers["x-tiltyard-model"] == f"default/{number}"
    assert client.infer("default", columns(binary=True), model_version=number).as_numpy("predictions").tolist() == [
        0,
        2,
    ]
    with pytest.raises(InferenceServerException, match="serves no version '9'"):
        client.infer("default", columns(binary=True), model_version="9")


def test_text_and_binary_tensors(client: triton.InferenceServerClient) -> None:
    """BYTES tensors are texts for a text column and bytes for a binary one; every scalar type arrives as it is."""
    texts, raw = np.array(["ä", ""], dtype=object), np.array([b"\xff\x00", b"b"], dtype=object)
    for binary in (True, False):
        inputs = [
            tensor("long", np.array([2**53 + 1, -1]), "INT64", binary=binary),
            tensor("integer", np.array([1, 2], dtype=np.int32), "INT32", binary=binary),
            tensor("boolean", np.array([True, False]), "BOOL", binary=binary),
            tensor("string", texts, "BYTES", binary=binary),
            *([tensor("binary", raw, "BYTES", binary=True)] if binary else []),
        ]
        rows = client.infer("typed", inputs).as_numpy("predictions")
        first = json.loads(rows[0])
        expected = {"long": str(2**53 + 1), "integer": "1", "boolean": "True", "string": "'ä'"}
        assert first == expected | ({"binary": repr(b"\xff\x00")} if binary else {})


def test_models_of_tensors(client: triton.InferenceServerClient) -> None:
    """Tensors of a tensor signature arrive in their shape."""
    matrices = np.arange(8.0).reshape(2, 2, 2)
    answer = client.infer("squares", [tensor("x", matrices, "FP64", binary=True)])
    assert answer.as_numpy("predictions").tolist() == [6.0, 22.0]
    named = [
        tensor("a", np.array([1, 2]), "INT64", binary=True),
        tensor("b", np.array([0.5, 0.25]), "FP64", binary=False),
    ]
    assert client.infer("tensors", named).as_numpy("predictions").tolist() == [1.5, 2.25]


def test_params_are_parameters(port: int) -> None:
    """Parameters that the model declares reach it."""
    body = {"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [1]}], "parameters": {"n": 9, "x": 1}}
    [row] = infer(port, body, "params").json["outputs"][0]["data"]
    assert json.loads(row)["n"] == 9


def test_nan_is_null(port: int) -> None:
    """JSON answers are valid JSON."""
    body = {"inputs": [{"name": "do", "shape": [1], "datatype": "BYTES", "data": ["nan-array"]}]}
    assert infer(port, body, "obedient").json["outputs"][0]["data"] == [None, None, 1.0]


X = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}
BAD: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "cannot be read"),
    "no inputs": ({"inputs": []}, "has no inputs"),
    "datatype": ({"inputs": [X | {"datatype": "FP8"}]}, "Input 'x': the datatype 'FP8'"),
    "shape": ({"inputs": [X | {"shape": [2, 4]}]}, "its shape [2, 4] has 8 values, its data 4"),
    "negative": ({"inputs": [X | {"shape": [-1, 4]}]}, "Input 'x': its shape"),
    "huge": ({"inputs": [X | {"shape": [2**31 - 1] * 16}]}, "Input 'x': its shape"),
    "text": ({"inputs": [X | {"data": ["1", 2, 3, 4]}]}, "is FP64 and holds a str"),
    "fraction": ({"inputs": [X | {"datatype": "INT64"}]}, "is INT64 and holds a float"),
    "range": ({"inputs": [X | {"datatype": "INT8", "data": [1, 2, 3, 300]}]}, "out of the range of INT8"),
    "no data": ({"inputs": [{k: v for k, v in X.items() if k != "data"}]}, "neither 'data' nor"),
    "twice": ({"inputs": [X, X]}, "Input 'x' is there twice"),
    "missing": ({"inputs": [X | {"shape": [4], "name": IRIS[0]}]}, "missing inputs"),
    "output": ({"inputs": [X], "outputs": [{"name": "y"}]}, "no output 'y'"),
    "deep": (b'{"inputs":' + b"[" * 3000 + b"]" * 3000 + b"}", "over the limit 'max_nesting' of 100 levels"),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD)
def test_bad_requests_are_400(port: int, body: Any, message: str) -> None:
    """What is wrong is named, in this protocol's shape."""
    answer = infer(port, body)
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert message in answer.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/absent", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models", 404),
        ("POST", "/v2/models/absent/infer", 404),
        ("POST", "/v2/infer", 404),
        ("PUT", "/v2/models/default/infer", 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/v2/models/default/infer", 405),
    ],
)
def test_other_paths(port: int, method: str, path: str, status: int) -> None:
    """Unknown paths and methods are refused in this protocol's shape."""
    body = json.dumps({"inputs": [X]})
    answer = request(port, method, path, body if method == "POST" else None)
    assert (answer.status, list(answer.json)) == (status, ["error"])


@pytest.mark.parametrize("length", ["-1", "x", "99999999", "3"])
def test_a_bad_length_of_the_json(port: int, length: str) -> None:
    """The header that says where the JSON ends must be true."""
    answer = infer(port, {"inputs": [X]}, headers={"Inference-Header-Content-Length": length})
    assert answer.status == 400


def test_a_failing_model_and_a_damaged_body(port: int) -> None:
    """A model that raises is told as `/invocations` does, without its text."""
    body = {"inputs": [{"name": "do", "shape": [1], "datatype": "BYTES", "data": ["raise"]}]}
    answer = infer(port, body, "obedient")
    assert answer.status == 400
    assert "secret" not in answer.json["error"]
    damaged = gzip.compress(json.dumps(body).encode())[:-4]
    assert infer(port, damaged, headers={"Content-Encoding": "gzip"}).status == 400


@given(st.data())
def test_damaged_binary_requests_are_refused(data: st.DataObject) -> None:
    """Whatever the bytes say, they are read or refused as the caller's fault."""
    words = b"".join(struct.pack("<I", len(word)) + word for word in (b"one", b"", b"\xff"))
    sized = {"binary_data_size": data.draw(st.integers(-1, 40))}
    head = json.dumps(
        {
            "inputs": [
                {"name": "a", "shape": [data.draw(st.integers(0, 4))], "datatype": "BYTES", "parameters": sized},
                {
                    "name": "b",
                    "shape": [1, 2],
                    "datatype": data.draw(st.sampled_from(["FP32", "INT8", "BOOL"])),
                    "parameters": {"binary_data_size": data.draw(st.sampled_from([2, 8]))},
                },
            ]
        }
    ).encode()
    body = head + words + b"\x01\x00" + data.draw(st.binary(max_size=8))
    end = data.draw(st.sampled_from([None, len(head), len(head) - 1]))
    with contextlib.suppress(TiltyardError):
        open_inference.read(body, end)
