"""Models saved once for the whole run, and one scoring service that serves all of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.services import Service
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


@pytest.fixture(scope="session")
def server(
    model_dir: Callable[[str], Path], without_mlflow: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A scoring service with every model of `MODELS` as an endpoint, in a process without MLflow."""
    folder = tmp_path_factory.mktemp("serving")
    models = [argument for name in MODELS for argument in ("--model", f"{name}={model_dir(name)}")]
    limits = ["--max-body-bytes", "2000000", "--request-timeout-s", "3", "--cache-dir", str(folder / "cache")]
    service = Service("serving", *models, *limits, log=folder / "serving.log", env=without_mlflow).start()
    yield service
    if service.running:
        service.terminate()


@pytest.fixture
def port(server: Service) -> int:
    """The port of `server`."""
    return server.port
