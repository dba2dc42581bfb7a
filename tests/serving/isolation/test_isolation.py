"""Models in processes of their own: the same answers, other packages, and deaths that nobody else notices."""

import asyncio
import http.client
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import sklearn
import yaml

import tiltyard
from tests.fixtures.services import Service, StartService
from tests.fixtures.waiting import PATIENCE_S, until, wait_until
from tests.serving.http_calls import in_flight, request, score
from tests.serving.in_process import App, running
from tests.serving.saved_models import IRIS, SETOSA, VIRGINICA, column, signature
from tiltyard import pyfunc
from tiltyard.errors import InvalidParameterValue
from tiltyard_serving.isolation import codec
from tiltyard_serving.isolation.environment import environment_of

# An older scikit-learn, and a NumPy of its time, that have wheels for this Python.
OLD, NUMPY = {(3, 13): ("1.5.2", "numpy<2.3"), (3, 14): ("1.7.2", "numpy<2.4")}.get(
    sys.version_info[:2], ("1.5.2", "numpy<2")
)
API = "/api/tiltyard/v1/endpoints"
FLOWER = {"dataframe_split": {"columns": IRIS, "data": [SETOSA, VIRGINICA]}}


def do(verb: str) -> dict[str, Any]:
    """A body that tells the obedient model, or the fragile one, what to do."""
    return {"dataframe_split": {"columns": ["do"], "data": [[verb]]}}


def configure(path: Path, **models: tuple[Path, str]) -> Path:
    """A configuration with one endpoint for each model, isolated or not."""
    endpoints = {
        name: {"served_entities": [{"model": str(model), "traffic_percentage": 100, "isolation": isolation}]}
        for name, (model, isolation) in models.items()
    }
    path.write_text(yaml.safe_dump({"endpoints": endpoints}))
    return path


def fragile(path: Path) -> None:
    """A model that dies or grows when it is told to."""

    def predict(frame: Any) -> Any:
        import ctypes
        import os

        import numpy

        verb = frame["do"].iloc[0]
        if verb == "exit":
            os._exit(7)
        if verb == "crash":
            ctypes.string_at(0)
        if verb == "grow":
            return int(numpy.ones(2**28).sum())
        return verb

    pyfunc.save_model(predict, path, signature=signature([column("do", "string")]), pip_requirements=[])


async def state_of(app: App, name: str) -> Any:
    """What the service says of the process of the endpoint `name`."""
    [entity] = (await app.request("GET", f"{API}/{name}")).json["served_entities"]
    return entity["process"]


async def ask(app: App, name: str, body: Any) -> Any:
    """The answer of an endpoint."""
    return await app.request("POST", f"/serving-endpoints/{name}/invocations", body)


async def back(app: App, name: str, restarts: int) -> Any:
    """The state of a process once it runs again for the so-manieth time."""

    async def again() -> Any:
        state = await state_of(app, name)
        return state if state["state"] == "running" and state["restarts"] >= restarts else None

    return await until(again)


BODIES: dict[str, list[Any]] = {
    "default": [FLOWER, {"instances": [SETOSA]}, {"dataframe_split": {"columns": IRIS[:3], "data": [SETOSA[:3]]}}],
    "typed": [
        {
            "dataframe_records": [
                {"integer": 1, "long": 2, "float": 0.5, "double": 1e300, "boolean": True, "string": "ü"},
                {"binary": "YWI=", "datetime": "2024-01-02T03:04:05.000000006"},
            ]
        },
        {"dataframe_records": [{"long": 1.7}]},
    ],
    "params": [
        {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}},
        {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}, "params": {"n": 5, "when": "2025-01-01T00:00:00"}},
        {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}, "params": {"n": "5"}},
    ],
    "obedient": [
        do(verb)
        for verb in (
            *("raise", "divide", "exit", "stop", "decimal", "set", "nan", "nan-array", "frame", "series"),
            *("named-series", "array", "none", "text", "arrays", "bytes", "date"),
        )
    ],
}


async def test_isolated_models_answer_as_those_in_the_server_do(
    model_dir: Callable[[str], Path], tmp_path: Path
) -> None:
    """Status, body and the version in the header are equal, of answers and of refusals; so is what is merged."""
    models = [f"{name}={model_dir(name)}" for name in BODIES]
    given = []
    for isolation in ("none", "process"):
        async with running(models=models, isolation=isolation, cache_dir=tmp_path) as app:
            answers = []
            for name, bodies in BODIES.items():
                for body in bodies:
                    answer = await ask(app, name, body)
                    content = answer.json
                    content.pop("request_id", None)
                    answers.append((name, answer.status, content, answer.headers["x-tiltyard-model"]))
            served = (await app.request("GET", "/api/tiltyard/v1/models")).json["models"]
            assert {model["process"] for model in served} == ({"running"} if isolation == "process" else {None})
            given.append((answers, {model["served"]: (model["merging"], model["trees"]) for model in served}))
    assert given[0] == given[1]


async def test_a_death_fails_its_own_request_alone(model_dir: Callable[[str], Path], tmp_path: Path) -> None:
    """The model that dies, by whatever, says so to its caller and is back soon; another one answers all the while."""
    fragile(tmp_path / "fragile")
    config = configure(
        tmp_path / "endpoints.yaml",
        fragile=(tmp_path / "fragile", "process"),
        steady=(model_dir("obedient"), "process"),
    )
    limit = 1200 * 2**20
    async with running(config=config, cache_dir=tmp_path / "cache", isolation_memory_bytes=limit) as app:
        steady = (await state_of(app, "steady"))["pid"]
        over = asyncio.Event()
        given: list[Any] = []

        async def caller() -> None:
            while not over.is_set():
                given.append((await ask(app, "steady", do("pid"))).predictions)

        calling = asyncio.create_task(caller())
        grown = await ask(app, "fragile", do("grow"))
        assert (grown.status, grown.json["error_code"]) == (500, "INTERNAL_ERROR")
        assert "more memory than its process may have" in grown.json["message"]
        assert (await state_of(app, "fragile"))["restarts"] == 0
        ends = {"exit": "ended by itself with status 7", "crash": "was ended by SIGSEGV"}
        for restarts, (verb, end) in enumerate(ends.items(), 1):
            died = await ask(app, "fragile", do(verb))
            assert (died.status, died.json["error_code"]) == (500, "INTERNAL_ERROR")
            assert "ended before it had answered" in died.json["message"]
            away = await ask(app, "fragile", do("hello"))
            assert away.refusal() == (503, "TEMPORARILY_UNAVAILABLE")
            assert int(away.headers["retry-after"]) >= 1
            state = await back(app, "fragile", restarts)
            assert (state["last_end"], state["environment"]) == (end, "server")
            assert (await ask(app, "fragile", do("hello"))).predictions == "hello"
        over.set()
        await calling
        assert len(given) > 10
        assert set(given) == {steady}
        metrics = (await app.request("GET", "/metrics")).body.decode()
        counts = [
            line for line in metrics.splitlines() if line.startswith("tiltyard_serving_model_processes_died_total")
        ]
        assert {line.split('"')[1]: line.rpartition(" ")[2] for line in counts} == {"fragile": "2.0", "obedient": "0.0"}


async def test_a_prediction_over_its_time_is_ended(model_dir: Callable[[str], Path], tmp_path: Path) -> None:
    """The caller is told 504 in time, the process that went on is ended, and the next caller is answered."""
    config = configure(tmp_path / "endpoints.yaml", obedient=(model_dir("obedient"), "process"))
    async with running(config=config, cache_dir=tmp_path / "cache", request_timeout_s=2.0) as app:
        late = await ask(app, "obedient", do("sleep 600"))
        assert late.refusal() == (504, "DEADLINE_EXCEEDED")
        assert (await back(app, "obedient", 1))["last_end"] == "was ended: a prediction took too long"
        assert (await ask(app, "obedient", do("text"))).predictions == "text"


@pytest.fixture(scope="module")
def old_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A forest of an older scikit-learn, saved by it, and the cache with the environment that it asks for."""
    folder = tmp_path_factory.mktemp("old")
    directory = folder / "forest"
    directory.mkdir()
    asked = f"scikit-learn=={OLD}\n{NUMPY}\n"
    (directory / "requirements.txt").write_text(asked)
    (directory / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.sklearn}}\n")
    python = environment_of(directory, folder / "cache").python
    code = f"""
        from pathlib import Path
        from shutil import rmtree
        from sklearn.datasets import load_iris
        from sklearn.ensemble import RandomForestClassifier
        from tiltyard import pyfunc

        features, target = load_iris(return_X_y=True, as_frame=True)
        path = Path({str(directory)!r})
        rmtree(path)
        model = RandomForestClassifier(10, random_state=0).fit(features, target)
        pyfunc.save_model(model, path, input_example=features[:5], pip_requirements={asked.split()!r})
    """
    library = str(Path(tiltyard.__file__).parents[1])
    subprocess.run([python, "-c", textwrap.dedent(code)], check=True, env=os.environ | {"PYTHONPATH": library})
    return directory, folder / "cache"


@pytest.fixture
def two_worlds(old_model: tuple[Path, Path], model_dir: Callable[[str], Path], tmp_path: Path) -> Iterator[Service]:
    """A scoring service with a model of its own scikit-learn, and one that needs an older one."""
    config = configure(
        tmp_path / "endpoints.yaml",
        new=(model_dir("cloudpickle"), "none"),
        old=(old_model[0], "process"),
    )
    arguments = ["--config", str(config), "--cache-dir", str(old_model[1])]
    service = Service("serving", *arguments, log=tmp_path / "serving.log").start()
    yield service
    service.kill()


def process_of(service: Service, name: str) -> psutil.Process:
    """The process of the only model of an endpoint."""
    [entity] = request(service.port, "GET", f"{API}/{name}").json["served_entities"]
    return psutil.Process(entity["process"]["pid"])


def test_two_versions_of_scikit_learn_serve_side_by_side(two_worlds: Service, old_model: tuple[Path, Path]) -> None:
    """Each model meets its own packages; killing one's process leaves the other untouched; both end with the server."""
    assert sklearn.__version__ != OLD
    for name in ("new", "old"):
        assert score(two_worlds.port, FLOWER, f"/serving-endpoints/{name}/invocations").predictions == [0, 2]
    victim = process_of(two_worlds, "old")
    environment = old_model[1] / "environments"
    assert str(environment) in victim.cmdline()[0]
    maps = Path(f"/proc/{victim.pid}/maps").read_text()
    loaded = {line.split()[-1] for line in maps.splitlines() if "/sklearn/" in line or "/numpy/" in line}
    assert loaded
    assert all(path.startswith(str(environment)) for path in loaded)
    assert not [path for path in Path(f"/proc/{two_worlds.pid}/maps").read_text().split() if "environments" in path]

    victim.kill()
    statuses = [score(two_worlds.port, FLOWER, "/serving-endpoints/new/invocations").status for _ in range(100)]
    assert set(statuses) == {200}

    def answered_again() -> Any:
        answer = score(two_worlds.port, FLOWER, "/serving-endpoints/old/invocations")
        assert answer.status == 200 or answer.refusal() == (503, "TEMPORARILY_UNAVAILABLE")
        return answer.predictions if answer.status == 200 else None

    assert wait_until(answered_again) == [0, 2]
    successor = process_of(two_worlds, "old")
    assert successor.pid != victim.pid

    assert two_worlds.terminate() == 0
    _, alive = psutil.wait_procs([successor], timeout=PATIENCE_S)
    assert alive == []


def test_a_server_that_is_killed_leaves_no_process(
    model_dir: Callable[[str], Path], serving: StartService, tmp_path: Path
) -> None:
    """After kill -9 of the server the processes of its models end by themselves, whatever they are doing."""
    service = serving("--model", f"obedient={model_dir('obedient')}", "--isolation", "process")
    orphan = process_of(service, "obedient")
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    connection.request("POST", "/invocations", json.dumps(do("sleep 600")), {"Content-Type": "application/json"})
    wait_until(lambda: in_flight(service.port))
    service.kill()
    _, alive = psutil.wait_procs([orphan], timeout=PATIENCE_S)
    assert alive == []


def test_an_environment_is_built_once_by_whoever_comes_first(old_model: tuple[Path, Path], tmp_path: Path) -> None:
    """Processes that want one environment at the same time build one, and what a killed one left is removed."""
    directory, _ = old_model
    code = (
        "import sys; from pathlib import Path; from tiltyard_serving.isolation.environment import environment_of; "
        f"print(environment_of(Path({str(directory)!r}), Path({str(tmp_path)!r})).python)"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    given = {process.communicate()[0] for process in started}
    assert len(given) == 1
    assert len(list((tmp_path / "environments").iterdir())) == 1
    assert list((tmp_path / "partial").iterdir()) == []


@pytest.mark.parametrize(
    ("python", "said"), [("3.9.18", "asks for Python 3.9"), ("new", "no version of Python: 'new'")]
)
def test_a_python_that_cannot_be_is_refused(tmp_path: Path, python: str, said: str) -> None:
    """A model for a Python that the library does not know is refused with the reason."""
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.sklearn}}\n")
    (tmp_path / "python_env.yaml").write_text(f"python: {python}\n")
    with pytest.raises(InvalidParameterValue, match=said):
        environment_of(tmp_path, tmp_path / "cache")


def test_values_cross_as_they_are() -> None:
    """What a model may get or give arrives with its type, its shape and its labels, and arrays can be written."""
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int64"),
            "t": pd.to_datetime(["2024-01-01", None]),
            "z": pd.to_datetime(["2024-01-01", "2024-01-02"]).tz_localize("UTC"),
            "o": ["x", None],
        },
        index=["a", "b"],
    )
    pd.testing.assert_frame_equal(codec.decode(codec.encode(frame)), frame)
    matrix = pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["a", "b"])
    came = codec.decode(codec.encode(matrix))
    pd.testing.assert_frame_equal(came, matrix)
    came.iloc[0, 0] = 5.0
    pd.testing.assert_series_equal(codec.decode(codec.encode(frame["o"])), frame["o"])
    for array in (
        np.arange(6).reshape(2, 3).T,
        np.array(5.5),
        np.array([1, "a", None], dtype=object),
        np.zeros((0, 2)),
    ):
        again = codec.decode(codec.encode(array))
        assert (again.dtype, again.shape, again.tolist()) == (array.dtype, array.shape, array.tolist())
    values = [
        1,
        2**80,
        -(2**63),
        1.5,
        None,
        True,
        "ü",
        b"\0",
        (1, [2, (3,)]),
        {"a": {1: [np.float32(0.5)]}},
        [1, 2**70],
    ]
    for value in [*values, pd.Timestamp("2024-01-02", tz="UTC"), np.datetime64("2024-01-02T03", "ns"), json]:
        came = codec.decode(codec.encode(value))
        assert type(came).__name__ == type(value).__name__
        assert came == value or value is json
