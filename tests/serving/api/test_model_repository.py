"""Triton's extensions and KServe's V1 protocol, asked by Triton's and KServe's own clients."""

import json
import subprocess
from typing import Any

import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.fixtures.environments import python_with
from tests.serving.http_calls import request
from tests.serving.in_process import running
from tests.serving.saved_models import IRIS, MODELS, SETOSA, VIRGINICA
from tests.serving.scoring.test_open_inference import client, columns  # noqa: F401 - a fixture

KSERVE = "kserve==0.21.0"
JSON = {"content-type": "application/json"}
_ASK = """
import asyncio, json, sys
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

port, rows, names = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
url = f"http://127.0.0.1:{port}"

async def main():
    old, new = (InferenceRESTClient(RESTConfig(protocol=each, timeout=30)) for each in ("v1", "v2"))
    records = [dict(zip(names, row)) for row in rows]
    answers = {"v1": (await old.infer(url, {"instances": records}, "default"))["predictions"]}
    answers["ready"] = [await old.is_model_ready(url, "default"), await new.is_model_ready(url, "default")]
    answers["live"] = [await new.is_server_live(url), await new.is_server_ready(url)]
    tensor = InferInput("all", [len(rows), len(names)], "FP64", [value for row in rows for value in row])
    answers["v2"] = (await new.infer(url, InferRequest("default", [tensor]), "default")).outputs[0].data
    try:
        await old.infer(url, {"instances": []}, "absent")
    except Exception as error:
        answers["absent"] = str(error)
    print(json.dumps(answers))

asyncio.run(main())
"""


def test_the_index_lists_every_model_and_its_state(client: triton.InferenceServerClient) -> None:  # noqa: F811
    """Triton's client reads the repository index; every endpoint is in it with the version that answers."""
    index = client.get_model_repository_index()
    assert {entry["name"] for entry in index} == set(MODELS)
    assert {entry["state"] for entry in index} == {"READY"}
    [default] = [entry for entry in index if entry["name"] == "default"]
    assert default["version"] == client.get_model_metadata("default")["versions"][0]


async def test_the_index_says_why_a_model_is_not_there() -> None:
    """A model that is not loaded is UNAVAILABLE with a reason, and left out of the index of what is ready."""
    async with running() as app:
        empty = await app.request("POST", "/v2/repository/index", b"")
        assert (empty.status, json.loads(empty.body)) == (200, [])
        bad = await app.request("POST", "/v2/repository/index", b"[")
        assert bad.status == 400
        assert "error" in json.loads(bad.body)
        refused = await app.request("GET", "/v2/repository/index")
        assert (refused.status, list(refused.json)) == (405, ["error"])


def test_the_configuration_names_tensors_as_triton_does(client: triton.InferenceServerClient) -> None:  # noqa: F811
    """The model configuration has the tensors of the metadata, in Triton's own types."""
    config = client.get_model_config("default")
    assert config["input"] == [{"name": name, "data_type": "TYPE_FP64", "dims": [-1]} for name in IRIS]
    assert config["output"] == [{"name": "predictions", "data_type": "TYPE_INT64", "dims": [-1]}]
    assert config["max_batch_size"] == 0
    with pytest.raises(InferenceServerException, match="absent"):
        client.get_model_config("absent")


def test_the_statistics_count_what_was_asked(client: triton.InferenceServerClient, port: int) -> None:  # noqa: F811
    """Statistics count rows, predictions, answers and refusals of a version, with the time that they took."""

    def stats() -> dict[str, Any]:
        [entry] = client.get_inference_statistics("default")["model_stats"]
        return entry

    client.infer("default", columns(binary=True))
    before = stats()
    client.infer("default", columns(binary=True))
    assert request(port, "POST", "/v2/models/default/infer", b'{"inputs": [{}]}').status == 400
    bad = {"dataframe_records": [{"nothing": 1}]}
    assert request(port, "POST", "/v1/models/default:predict", json.dumps(bad).encode(), JSON).status == 400
    after = stats()
    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] - before["execution_count"] == 1
    counted = {
        name: after["inference_stats"][name]["count"] - before["inference_stats"][name]["count"]
        for name in ("success", "fail", "compute_infer")
    }
    assert counted == {"success": 1, "fail": 2, "compute_infer": 1}
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"] > 0
    assert after["inference_stats"]["fail"]["ns"] > before["inference_stats"]["fail"]["ns"]
    assert after["last_inference"] >= before["last_inference"] > 1_700_000_000_000
    names = {entry["name"] for entry in client.get_inference_statistics()["model_stats"]}
    assert names == set(MODELS)


def test_models_are_not_loaded_by_name(client: triton.InferenceServerClient) -> None:  # noqa: F811
    """Loading and unloading by name is refused with what to do instead."""
    for ask in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="--model"):
            ask("default")


def test_kserves_own_client_is_answered(port: int) -> None:
    """KServe's client gets predictions by both of its protocols, and a refusal that it can read."""
    python = python_with(KSERVE)
    words = [str(python), "-c", _ASK, str(port), json.dumps([SETOSA, VIRGINICA]), json.dumps(IRIS)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers["v1"] == answers["v2"] == [0, 2]
    assert answers["ready"] == [True, True]
    assert answers["live"] == [True, True]
    assert "There is no serving endpoint 'absent'" in answers["absent"]


def test_the_first_protocol_of_kserve(port: int) -> None:
    """Models are listed and asked by name; what is wrong comes as `error`."""
    listed = request(port, "GET", "/v1/models")
    assert set(json.loads(listed.body)["models"]) == set(MODELS)
    ready = request(port, "GET", "/v1/models/default")
    assert json.loads(ready.body) == {"name": "default", "ready": True}
    for method, path, body, status in (
        ("POST", "/v1/models/default:predict", b"{", 400),
        ("POST", "/v1/models/absent:predict", b'{"instances": [[1]]}', 404),
        ("POST", "/v1/models/default:explain", b"{}", 405),
        ("GET", "/v1/models/default:predict", b"", 405),
        ("GET", "/v1/nothing", b"", 404),
    ):
        answer = request(port, method, path, body, JSON)
        assert answer.status == status, (path, answer)
        assert isinstance(json.loads(answer.body)["error"], str)
