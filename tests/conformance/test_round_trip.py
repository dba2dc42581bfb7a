"""Experiments and models go from one server to another with the stock client alone, as export tools do it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conformance.iris import Iris, log_iris
from tests.fixtures.mlflow_server import MLflowServer
from tests.fixtures.services import Service, StartService

pytestmark = pytest.mark.slow


@contextmanager
def at(mlflow: ModuleType, url: str) -> Iterator[Any]:
    """The low-level client of one server, which is the active one until the end of the block."""
    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    yield mlflow.MlflowClient()


def write(mlflow: ModuleType, client: Any, iris: Iris, name: str) -> None:
    """An experiment with a run, its files and a registered model."""
    mlflow.set_experiment(name)
    with mlflow.start_run(run_name="exported") as run:
        mlflow.log_params({"depth": 3})
        mlflow.set_tag("kind", "tree")
        for step, value in enumerate((0.5, float("nan"), 0.25)):
            client.log_metric(run.info.run_id, "loss", value, timestamp=1_700_000_000_000 + step, step=step)
        mlflow.log_text("größe", "notes/größe.txt")
        log_iris(mlflow, iris, registered_model_name=name)
    client.set_registered_model_alias(name, "champion", 1)
    client.set_model_version_tag(name, 1, "checked", "yes")


def carry(mlflow: ModuleType, there: str, here: str, name: str, folder: Path) -> None:
    """Reads everything of `name` from one server and writes it to the other."""
    from mlflow.entities import Metric, Param, RunTag

    with at(mlflow, there) as client:
        (run,) = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        history = client.get_metric_history(run.info.run_id, "loss")
        files = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(folder / "run"))
        version = client.get_model_version_by_alias(name, "champion")
        model = mlflow.artifacts.download_artifacts(f"models:/{name}@champion", dst_path=str(folder / "model"))
    with at(mlflow, here) as client:
        copy = client.create_run(
            client.create_experiment(name), run_name=run.info.run_name, start_time=run.info.start_time
        )
        client.log_batch(
            copy.info.run_id,
            [Metric(point.key, point.value, point.timestamp, point.step) for point in history],
            [Param(*item) for item in run.data.params.items()],
            [RunTag(*item) for item in run.data.tags.items() if not item[0].startswith("mlflow.")],
        )
        client.log_artifacts(copy.info.run_id, files)
        client.log_artifacts(copy.info.run_id, model, "model")
        client.set_terminated(copy.info.run_id, run.info.status, run.info.end_time)
        client.create_registered_model(name)
        source = f"{copy.info.artifact_uri}/model"
        client.create_model_version(name, source, copy.info.run_id, tags=version.tags, await_creation_for=None)
        client.set_registered_model_alias(name, "champion", 1)


def told(mlflow: ModuleType, url: str, iris: Iris, name: str, folder: Path) -> dict[str, Any]:
    """What a server says of `name`, but for its own ids."""
    with at(mlflow, url) as client:
        (run,) = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        version = client.get_model_version_by_alias(name, "champion")
        path = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(folder)))
        return {
            "run": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time, run.data.params),
            "history": [
                (str(point.value), point.timestamp, point.step)
                for point in client.get_metric_history(run.info.run_id, "loss")
            ],
            "notes": hashlib.sha256((path / "notes/größe.txt").read_bytes()).hexdigest(),
            "version": (version.version, version.tags, version.status),
            "answers": list(mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(iris.features)),
        }


@pytest.fixture(params=["tiltyard", "mlflow"])
def other(request: pytest.FixtureRequest) -> str:
    """The address of another server: one of ours, or a plain MLflow server."""
    if request.param == "tiltyard":
        start: StartService = request.getfixturevalue("registry")
        return start().url
    server: MLflowServer = request.getfixturevalue("mlflow_server")
    return server.url


def test_what_is_exported_from_one_server_is_imported_into_another(
    mlflow: ModuleType, shared_registry: Service, other: str, iris: Iris, unique: str, tmp_path: Path
) -> None:
    """There and back again: after both ways each server says the same of run, history, files and model."""
    with at(mlflow, other) as client:
        write(mlflow, client, iris, unique)
    carry(mlflow, other, shared_registry.url, unique, tmp_path / "out")
    first = told(mlflow, other, iris, unique, tmp_path / "first")
    assert told(mlflow, shared_registry.url, iris, unique, tmp_path / "second") == first
    assert first["answers"] == list(iris.answers)
