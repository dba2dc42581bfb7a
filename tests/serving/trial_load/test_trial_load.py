"""What native code reads is loaded on trial first, so that a damaged file ends no server."""

import contextlib
import json
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightgbm
import psutil
import pytest
import yaml

from tests.fixtures.services import StartService
from tests.fixtures.waiting import wait_until
from tests.fuzz.models import good_models
from tests.serving.http_calls import request, score
from tests.serving.models.test_following import register
from tests.serving.saved_models import IRIS, SETOSA, iris
from tiltyard.cache.model_cache import ModelCache
from tiltyard.client import Client
from tiltyard.errors import InternalError, ModelUnreadable
from tiltyard.pyfunc import infer_signature
from tiltyard_serving.trial_load.trials import Trials

MIB = 1024 * 1024
NAME = "main.ml.boosted"
BODY = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}


class Does:
    """Pickled, it is the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def in_pickle(path: Path, content: Any) -> Path:
    """The directory of an estimator of LightGBM's, whose pickle holds `content`."""
    path.mkdir()
    (path / "model.pkl").write_bytes(pickle.dumps(content))
    flavor = {"data": "model.pkl", "model_class": "lightgbm.sklearn.LGBMRegressor"}
    flavors = {"lightgbm": flavor, "python_function": {"loader_module": "mlflow.lightgbm", "data": "model.pkl"}}
    (path / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors}))
    return path


def boosted(path: Path, rounds: int) -> Path:
    """The directory of a booster of so many trees, without an example."""
    _, frame = iris()
    data = lightgbm.Dataset(frame, [float(number % 3) for number in range(len(frame))])
    path.mkdir()
    lightgbm.train({"verbose": -1, "num_threads": 1}, data, rounds).save_model(path / "model.lgb")
    flavor = {"data": "model.lgb", "model_class": "lightgbm.basic.Booster"}
    flavors = {"lightgbm": flavor, "python_function": {"loader_module": "mlflow.lightgbm", "data": "model.lgb"}}
    signature = infer_signature(frame).to_dict()
    (path / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors, "signature": signature}))
    return path


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    """A cache of nothing yet."""
    return ModelCache(tmp_path / "cache")


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    """Trials with one fork server."""
    trials = Trials("strict")
    yield trials
    trials.close()


def test_a_damaged_version_ends_no_server(registry: StartService, serving: StartService, tmp_path: Path) -> None:
    """A version whose file ends the process that reads it never takes traffic: the one before goes on answering.

    The next good one is served; what was tried is known to the next server on this machine, and of the processes in
    which that was done none is left when the server is killed.
    """
    store = registry()
    ends = in_pickle(tmp_path / "2", Does(signal.raise_signal, signal.SIGSEGV))
    paths = boosted(tmp_path / "1", 1), ends, boosted(tmp_path / "3", 3)
    with Client(store.url) as client:
        for path in (*paths, in_pickle(tmp_path / "4", Does(signal.pause))):
            register(client, path, NAME)
        client.set_alias(NAME, "champion", 1)
        options = ("--registry-url", store.url, "--cache-dir", str(tmp_path / "cache"))
        service = serving("--model", f"models:/{NAME}@champion", *options)
        pid = service.pid
        client.set_alias(NAME, "champion", 2)
        wait_until(lambda: _problem(service.port))
        assert _problem(service.port) == (
            f"{NAME}/2 could not be loaded: The model cannot be loaded: the file 'model.pkl' cannot be read: lightgbm "
            "ended its process (SIGSEGV). It is damaged, or there is too little memory for it."
        )
        assert (service.running, service.pid, service.healthy()) == (True, pid, True)
        assert _version(service.port) == "1"
        config = {"served_entities": [{"model": f"models:/{NAME}/2", "traffic_percentage": 100}]}
        refused = request(service.port, "PUT", "/api/tiltyard/v1/endpoints/e", json.dumps(config), _JSON)
        assert refused.status == 400
        assert "the file 'model.pkl' cannot be read" in refused.body.decode()
        client.set_alias(NAME, "champion", 3)
        wait_until(lambda: _version(service.port) == "3")
        client.set_alias(NAME, "champion", 4)
        wait_until(lambda: len(psutil.Process(pid).children(recursive=True)) == 2)
        left = psutil.Process(pid).children(recursive=True)
        service.kill()
        assert psutil.wait_procs(left, timeout=20)[1] == []

        client.set_alias(NAME, "champion", 3)
        again = serving("--model", f"models:/{NAME}@champion", *options)
        assert _version(again.port) == "3"
        assert psutil.Process(again.pid).children() == []


_JSON = {"content-type": "application/json"}


def _problem(port: int) -> str | None:
    [model] = request(port, "GET", "/api/tiltyard/v1/models").json["models"]
    problem: str | None = model["problem"]
    return problem


def _version(port: int) -> str:
    answer = score(port, BODY)
    assert answer.status == 200
    return answer.headers["x-tiltyard-model"].removeprefix(f"{NAME}/")


def test_a_trial_is_made_once(trials: Trials, cache: ModelCache, tmp_path: Path) -> None:
    """What was tried is noted by digest, for every process, and tried again with another release of the library."""
    path = boosted(tmp_path / "m", 1)
    trials.check(path, "sha256:aa", cache.root)
    assert trials.pid is not None
    later = Trials("strict")
    later.check(path, "sha256:aa", cache.root)
    assert later.pid is None
    note = cache.trial("sha256:aa")
    note.write_text(note.read_text().replace("lightgbm ", "lightgbm 0."))
    trials.check(path, "sha256:aa", cache.root)
    assert f"lightgbm {lightgbm.__version__}" in note.read_text()


@pytest.mark.parametrize(
    ("content", "how"),
    [(Does(os.abort), "SIGABRT"), (Does(signal.raise_signal, 9), "SIGKILL"), (Does(os._exit, 3), "status 3")],
    ids=["abort", "kill", "exit"],
)
def test_every_end_is_told(trials: Trials, cache: ModelCache, tmp_path: Path, content: Does, how: str) -> None:
    """However a load ends its process: it is refused, and for a while without a further trial."""
    path = in_pickle(tmp_path / "m", content)
    for tried in (trials, later := Trials("strict")):
        with pytest.raises(ModelUnreadable, match=rf"'model.pkl' cannot be read: lightgbm ended its process \({how}\)"):
            tried.check(path, "aa", cache.root)
    assert later.pid is None


def test_a_trial_takes_no_more_memory_than_it_may(cache: ModelCache, tmp_path: Path) -> None:
    """A few damaged bytes may name a size of gigabytes: that trial fails where it would take them, no other does."""
    bounded, unbounded = Trials("strict", memory_bytes=256 * MIB), Trials("strict")
    # What is read whole is no estimator.
    cases = (bounded, 512, "MemoryError"), (bounded, 64, "AttributeError"), (unbounded, 512, "AttributeError")
    with contextlib.closing(bounded), contextlib.closing(unbounded):
        for number, (tried, size_mib, why) in enumerate(cases):
            path = in_pickle(tmp_path / str(number), Does(bytes, size_mib * MIB))
            with pytest.raises(ModelUnreadable, match=rf"'model.pkl' cannot be read \({why}\)"):
                tried.check(path, str(number), cache.root)
        for flavor in ("xgboost", "lightgbm", "catboost", "onnx"):
            good_models.KINDS[flavor](tmp_path / flavor)
            bounded.check(tmp_path / flavor, flavor, cache.root)
            assert cache.trial(flavor).exists()


def test_without_a_cache_it_is_tried_each_time(trials: Trials, tmp_path: Path) -> None:
    """A directory is served, or refused, where no folder can be made to note that in."""
    (tmp_path / "file").touch()
    trials.check(boosted(tmp_path / "good", 1), "aa", tmp_path / "file" / "cache")
    with pytest.raises(ModelUnreadable):
        trials.check(in_pickle(tmp_path / "bad", Does(os.abort)), "aa", tmp_path / "file" / "cache")


def test_a_refusal_is_not_for_good(trials: Trials, cache: ModelCache, tmp_path: Path) -> None:
    """What failed is tried again after a while, as it may have been memory that was short."""
    path = in_pickle(tmp_path / "m", Does(os.abort))
    with pytest.raises(ModelUnreadable):
        trials.check(path, "aa", cache.root)
    boosted(tmp_path / "good", 1)
    for file in (tmp_path / "good").iterdir():
        file.rename(path / file.name)
    with pytest.raises(ModelUnreadable):
        trials.check(path, "aa", cache.root)
    later = Trials("strict", refused_for_s=-1.0)
    later.check(path, "aa", cache.root)
    later.close()


def test_what_the_load_tells_is_left_to_it(trials: Trials, cache: ModelCache, tmp_path: Path) -> None:
    """A fault that a load can tell in words is not the trial's: it is told as ever, and nothing is noted."""
    path = boosted(tmp_path / "m", 1)
    (path / "model.lgb").unlink()
    trials.check(path, "aa", cache.root)
    assert not cache.trial("aa").exists()


def test_what_the_library_tells_is_not_tried_again(trials: Trials, cache: ModelCache, tmp_path: Path) -> None:
    """A library that says what is wrong with a file might as well end the process: the server does not read it too."""
    path = in_pickle(tmp_path / "m", Does(int, "no number"))
    with pytest.raises(ModelUnreadable, match=r"'model\.pkl' cannot be read"):
        trials.check(path, "aa", cache.root)
    assert "'model.pkl' cannot be read" in cache.trial("aa").read_text()


def test_code_is_not_tried(cache: ModelCache, model_dir: Callable[[str], Path]) -> None:
    """Models that Python reads start no process."""
    trials = Trials("strict")
    trials.check(model_dir("typed"), "aa", cache.root)
    assert trials.pid is None


def test_a_trial_that_has_no_end_holds_up_no_other(trials: Trials, cache: ModelCache, tmp_path: Path) -> None:
    """Others are made meanwhile, and when its time is over it is ended, alone."""
    path = in_pickle(tmp_path / "m", Does(signal.pause))
    with checking(trials, path, cache) as [failed, child]:
        trials.check(boosted(tmp_path / "good", 1), "good", cache.root)
        hasty = Trials("strict", timeout_s=0.1)
        hasty._running = trials._running
        with pytest.raises(ModelUnreadable, match=r"lightgbm still read it after 0 s"):
            hasty.check(path, "other", cache.root)
        assert child.is_running()
        wait_until(lambda: children_of(trials) == [child])
        child.kill()
    assert isinstance(failed[0], ModelUnreadable)


def test_trials_end_with_their_server(cache: ModelCache, tmp_path: Path) -> None:
    """A fork server that was killed has a successor; one that is closed leaves no process and has none."""
    path, closed = in_pickle(tmp_path / "m", Does(signal.pause)), Trials("strict")
    with checking(closed, path, cache) as [failed, child]:
        first = psutil.Process(closed.pid)
        first.kill()
    assert isinstance(failed[0], InternalError)
    assert psutil.wait_procs([child], timeout=20)[1] == []
    with checking(closed, path, cache) as [failed, child]:
        second = psutil.Process(closed.pid)
        closed.close()
    assert isinstance(failed[0], InternalError)
    assert psutil.wait_procs([second, child], timeout=20)[1] == []
    with pytest.raises(InternalError):
        closed.check(path, "aa", cache.root)
    assert closed.pid is None


@contextlib.contextmanager
def checking(trials: Trials, path: Path, cache: ModelCache) -> Iterator[tuple[list[Exception], psutil.Process]]:
    """A trial that goes on in another thread: what it will fail with, and its process. Afterwards it has ended."""
    failed: list[Exception] = []

    def check() -> None:
        try:
            trials.check(path, "aa", cache.root)
        except Exception as error:
            failed.append(error)

    # A daemon: it must not keep a run from ending whose test has failed.
    thread = threading.Thread(target=check, daemon=True)
    thread.start()
    wait_until(lambda: children_of(trials))
    yield failed, children_of(trials)[0]
    thread.join(60)
    assert failed


def children_of(trials: Trials) -> list[psutil.Process]:
    """The processes of its trials; none while a fork server that has ended has no successor yet."""
    try:
        return [] if trials.pid is None else psutil.Process(trials.pid).children()
    except psutil.NoSuchProcess:
        return []
