"""A plain MLflow server with things on it, and copies of its database to import from."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from tests.conformance.conftest import iris, mlflow_package  # noqa: F401 - fixtures
from tests.conformance.iris import Iris
from tests.fixtures.mlflow_server import MLflowServer, running_in
from tests.registry.importing.mlflow_house import House, furnish


class Furnished(NamedTuple):
    """The server, what was put on it, and the path of its SQLite file."""

    server: MLflowServer
    house: House
    database: Path


@pytest.fixture(scope="session")
def used_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    """A plain server of these tests' own: everything on it is counted."""
    with running_in(tmp_path_factory.mktemp("used-mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def furnished(used_server: MLflowServer, mlflow_package: ModuleType, iris: Iris) -> Furnished:  # noqa: F811
    """The server once a team has used it."""
    mlflow_package.set_tracking_uri(used_server.url)
    mlflow_package.set_registry_uri(used_server.url)
    house = furnish(mlflow_package, iris, "moving-house")
    # The client remembers the last experiment that was set, of whichever server; in the environment, too.
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    mlflow_package.tracking.fluent._active_experiment_id = None
    mlflow_package.set_tracking_uri("")
    mlflow_package.set_registry_uri("")
    return Furnished(used_server, house, Path(used_server.database_url.removeprefix("sqlite:///")))


@pytest.fixture
def copied(furnished: Furnished, tmp_path: Path) -> Callable[..., Path]:
    """Gives a function that copies the server's database, runs statements in the copy, and gives its path."""

    def copy(*statements: str) -> Path:
        path = tmp_path / f"mlflow-{len(list(tmp_path.glob('mlflow-*')))}.db"
        with sqlite3.connect(furnished.database) as source, sqlite3.connect(path) as target:
            source.backup(target)
            for statement in statements:
                target.execute(statement)
        return path

    return copy
