"""The process of one model: children that it forks, and ends that have no name."""

import contextlib
import json
import os
import pickle
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.fixtures.waiting import wait_until
from tiltyard.errors import InternalError, ModelUnreadable
from tiltyard_serving.isolation.environment import Environment
from tiltyard_serving.isolation.process import Limits, Process

# `known` forks as Python does, `unknown` behind its back: then what it does in children is not done.
LOADER = """
import ctypes, os, signal, sys
FORKS = {"known": os.fork, "unknown": ctypes.CDLL(None).fork}
class Model:
    def predict(self, data):
        if data["do"].iloc[0] == "own":
            return [sys.modules["loader"] is sys.modules[__name__]]
        verb, _, way = str(data["do"].iloc[0]).partition(" ")
        if verb in ("leave", "return") and FORKS[way]() == 0:
            with open("CHILDREN", "a") as file:
                file.write(f"{os.getpid()} ")
            while verb == "leave":
                signal.pause()
        if verb == "leave":
            os._exit(3)
        return [verb]
def _load_pyfunc(path):
    return Model()
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """A model's process; what it forked is ended afterwards."""
    children = tmp_path / "children"
    children.touch()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "loader.py").write_text(LOADER.replace("CHILDREN", str(children)))
    flavor = {"loader_module": "loader", "code": "code"}
    (tmp_path / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}))
    process = Process("m/1", lambda: tmp_path, Environment(Path(sys.executable), "server"), Limits(None, None))
    yield process
    process.close()
    for pid in children.read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def ask(process: Process, verb: str) -> Any:
    """What the model answers, or the error; it must come, as no time is set for it."""
    given: list[Any] = []

    def call() -> None:
        try:
            given.append(process.call("predict", pd.DataFrame({"do": [verb]}), None))
        except Exception as error:
            given.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(60)
    assert given, "the call still waits"
    return given[0]


@pytest.mark.parametrize("way", ["known", "unknown"])
def test_a_death_is_known_though_a_child_lives(process: Process, way: str) -> None:
    """A model that forks a child and dies fails its request at once, and is started again."""
    assert isinstance(ask(process, f"leave {way}"), InternalError)
    wait_until(lambda: process.state.state == "running" and process.state.restarts == 1)
    assert ask(process, "hello") == ["hello"]


@pytest.mark.parametrize("way", ["known", "unknown"])
def test_a_child_that_returns_answers_nobody(process: Process, way: str) -> None:
    """A model that forks and returns twice answers its request once, and the requests after it with their own."""
    assert ask(process, f"return {way}") == ["return"]
    assert [ask(process, f"{number}") for number in range(5)] == [[f"{number}"] for number in range(5)]


def test_an_end_by_a_signal_without_a_name(process: Process) -> None:
    """A process that a real-time signal ends is started again, and the state says which one it was."""
    pid = process.state.pid
    assert pid is not None
    os.kill(pid, signal.SIGRTMIN + 6)
    wait_until(lambda: process.state.state == "running" and process.state.restarts == 1)
    assert process.state.last_end == f"was ended by signal {signal.SIGRTMIN + 6:d}"


def test_the_modules_of_its_model_have_their_own_names(process: Process) -> None:
    """Nobody else's modules are there to be told apart from, so code that looks into `sys.modules` finds its own."""
    assert ask(process, "own") == [True]


@pytest.mark.parametrize(
    ("loader", "kind", "said"),
    [
        ("mlflow.lightgbm", ModelUnreadable, "'model.pkl' cannot be read: the process in which lightgbm read it was "),
        ("mlflow.sklearn", InternalError, "The model's process was ended by SIGABRT before the model was loaded"),
    ],
)
def test_an_end_while_it_loads_is_told(tmp_path: Path, loader: str, kind: type[Exception], said: str) -> None:
    """A load that ends its process is an error, not the start of another; a file that native code read is named."""

    class Aborts:
        def __reduce__(self) -> Any:
            return os.abort, ()

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Aborts()))
    flavors: dict[str, Any] = {"python_function": {"loader_module": loader, "data": "model.pkl"}}
    flavors["lightgbm"] = {"data": "model.pkl", "model_class": "lightgbm.sklearn.LGBMRegressor"}
    flavors["sklearn"] = {"pickled_model": "model.pkl", "serialization_format": "pickle"}
    (tmp_path / "MLmodel").write_text(json.dumps({"flavors": flavors}))
    with pytest.raises(kind, match=re.escape(said)):
        Process("m/1", lambda: tmp_path, Environment(Path(sys.executable), "server"), Limits(None, None))
