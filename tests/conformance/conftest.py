"""The stock MLflow client, pointed at a running registry over each database."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conformance.iris import Iris, fit_iris
from tests.fixtures.services import Service

# The client's retries hide what a 5xx said for minutes; a test wants to see it. Set before the import reads them.
CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


@pytest.fixture(scope="session")
def mlflow_package() -> ModuleType:
    """The stock client, imported once: that takes seconds."""
    os.environ.update(CLIENT_ENVIRONMENT)
    import mlflow
    import mlflow.sklearn

    return mlflow


@pytest.fixture
def mlflow(
    mlflow_package: ModuleType, shared_registry: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    """The client with the registry under test as tracking server and model registry, in an empty directory."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_") and name not in CLIENT_ENVIRONMENT:
            monkeypatch.delenv(name)
    # The client remembers the last experiment that any test set, of whichever server.
    monkeypatch.setattr(mlflow_package.tracking.fluent, "_active_experiment_id", None)
    monkeypatch.chdir(tmp_path)
    mlflow_package.set_tracking_uri(shared_registry.url)
    mlflow_package.set_registry_uri(shared_registry.url)
    yield mlflow_package
    while mlflow_package.active_run():
        mlflow_package.end_run("KILLED")
    mlflow_package.set_tracking_uri("")
    mlflow_package.set_registry_uri("")


@pytest.fixture
def client(mlflow: ModuleType) -> Any:
    """The low-level client."""
    return mlflow.MlflowClient()


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name nobody else uses: tests share their registry."""
    return f"{request.node.originalname}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def experiment(mlflow: ModuleType, unique: str) -> Any:
    """A fresh experiment, set as the active one."""
    return mlflow.set_experiment(unique)


@pytest.fixture(scope="session")
def iris() -> Iris:
    """A small fitted classifier, its input and its answers."""
    return fit_iris()
