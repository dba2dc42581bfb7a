"""Models saved once for the whole run, and one scoring service that serves all of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.services import Service
from tests.fixtures.waiting import PATIENCE_S
from tests.serving.saved_models import MODELS


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives a function that gives the directory of a model of `MODELS`, saved on first use."""
    root = tmp_path_factory.mktemp("models")

    def saved(name: str) -> Path:
        path = root / name
        if not path.exists():
            MODELS[name](path)
        return path

    return saved


@pytest.fixture(scope="session")
def without_mlflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which MLflow cannot be imported."""
    folder = tmp_path_factory.mktemp("no-mlflow")
    (folder / "mlflow.py").write_text("raise ImportError('mlflow is not installed here')\n")
    return {"PYTHONPATH": str(folder)}


Start = Callable[..., Service]


@pytest.fixture(scope="session")
def start(
    model_dir: Callable[[str], Path], without_mlflow: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Gives a function that starts a scoring service with models as endpoints, in a process without MLflow."""
    started: list[Service] = []

    def begin(*names: str, request_timeout_s: float) -> Service:
        folder = tmp_path_factory.mktemp("serving")
        models = [argument for name in names for argument in ("--model", f"{name}={model_dir(name)}")]
        limits = ["--max-body-bytes", "2000000", "--request-timeout-s", str(request_timeout_s)]
        cache = ["--cache-dir", str(folder / "cache")]
        service = Service("serving", *models, *limits, *cache, log=folder / "serving.log", env=without_mlflow)
        started.append(service.start())
        return service

    yield begin
    for service in started:
        if service.running:
            service.terminate()


@pytest.fixture(scope="session")
def server(start: Start) -> Service:
    """A scoring service with every model of `MODELS`, whose requests end in time on a busy machine too."""
    return start(*MODELS, request_timeout_s=PATIENCE_S)


@pytest.fixture(scope="session")
def hasty_server(start: Start) -> Service:
    """One with two of them, whose requests are over in two seconds."""
    return start(next(iter(MODELS)), "obedient", request_timeout_s=2)


@pytest.fixture
def port(server: Service) -> int:
    """The port of `server`."""
    return server.port
