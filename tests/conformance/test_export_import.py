"""mlflow-export-import, a stock tool that copies models and runs between servers, against a running registry."""

import json
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fixtures.client_environments import packages, with_packages
from tests.fixtures.environments import python_with
from tests.fixtures.services import Service

# Its last release cannot write what clients from 2.3 on say of a version's aliases, whichever server they ask.
CLIENT = "mlflow-skinny==2.2.2"


@pytest.fixture(scope="session")
def tool() -> tuple[Path, Path]:
    """An interpreter with a client that the tool works with, and the folder with the tool."""
    return python_with(CLIENT, "pandas<3", "setuptools<81", "tabulate==0.9.0"), packages("mlflow-export-import==1.2.0")


def run(tool: tuple[Path, Path], registry: Service, module: str, *arguments: str) -> str:
    """What a command of the tool prints; the registry is the one that its environment names."""
    python, folder = tool
    environment = with_packages(folder) | {"MLFLOW_TRACKING_URI": registry.url, "GIT_PYTHON_REFRESH": "quiet"}
    command = [os.fspath(python), "-m", f"mlflow_export_import.{module}", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_a_model_is_exported_with_its_versions_and_their_runs(
    mlflow: ModuleType,
    client: Any,
    experiment: Any,
    unique: str,
    shared_registry: Service,
    tool: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    """`export-model` writes model, versions, alias and runs with their files; `import-run` makes the run again."""
    client.create_registered_model(unique, tags={"team": "churn"}, description="Who leaves")
    runs = []
    for number in (1, 2):
        with mlflow.start_run() as started:
            mlflow.log_param("depth", number)
            mlflow.log_metric("auc", number / 4, step=3)
            mlflow.log_text(f"flavors: {{number: {number}}}", "model/MLmodel")
        runs.append(started.info)
        client.create_model_version(unique, f"{started.info.artifact_uri}/model", started.info.run_id)
    client.set_registered_model_alias(unique, "champion", 2)

    output = tmp_path / "exported"
    told = run(tool, shared_registry, "model.export_model", "--model", unique, "--output-dir", str(output))
    assert f"Exported 2/2 'all' versions for model '{unique}'" in told
    exported = json.loads((output / "model.json").read_text())["mlflow"]["registered_model"]
    assert (exported["name"], exported["description"]) == (unique, "Who leaves")
    assert exported["tags"] == [{"key": "team", "value": "churn"}]
    assert exported["aliases"] == [{"alias": "champion", "version": "2"}]
    versions = [(str(version["version"]), version["run_id"]) for version in exported["versions"]]
    assert versions == [("1", runs[0].run_id), ("2", runs[1].run_id)]
    for number, info in enumerate(runs, 1):
        said = json.loads((output / info.run_id / "run.json").read_text())["mlflow"]
        assert said["params"] == {"depth": str(number)}
        assert [(point["value"], point["step"]) for point in said["metrics"]["auc"]] == [(number / 4, 3)]
        file = output / info.run_id / "artifacts/model/MLmodel"
        assert file.read_text() == f"flavors: {{number: {number}}}"

    copies = f"{unique}-copies"
    source = str(output / runs[1].run_id)
    run(tool, shared_registry, "run.import_run", "--input-dir", source, "--experiment-name", copies)
    (copy,) = client.search_runs([client.get_experiment_by_name(copies).experiment_id])
    assert (copy.info.status, copy.data.params, copy.data.metrics) == ("FINISHED", {"depth": "2"}, {"auc": 0.5})
    assert "number: 2" in mlflow.artifacts.load_text(f"{copy.info.artifact_uri}/model/MLmodel")
