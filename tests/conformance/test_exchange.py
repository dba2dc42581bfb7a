"""Models cross between MLflow and Tiltyard, both ways, through one registry."""

import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import tiltyard
from tests.conformance.iris import Iris
from tests.fixtures.services import Service

# Loads and scores with every import of MLflow refused, as on a machine that does not have it.
LOAD_WITHOUT_MLFLOW = """
import json, sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlflow":
            raise ImportError("MLflow is not installed here")

sys.meta_path.insert(0, Refused())
import pandas, tiltyard
model = tiltyard.load_model(sys.argv[1], registry_url=sys.argv[2], cache_dir=sys.argv[3])
rows = pandas.read_json(sys.stdin, orient="split")
print(json.dumps([float(value) for value in model.predict(rows)]))
"""


@pytest.mark.parametrize("serialization_format", ["cloudpickle", "pickle", "skops"])
def test_what_mlflow_logs_loads_without_mlflow(
    mlflow: ModuleType, shared_registry: Service, experiment: Any, iris: Iris, tmp_path: Any, serialization_format: str
) -> None:
    """Every format of MLflow's scikit-learn flavor is read by Tiltyard alone, with equal answers."""
    name = f"main.ml.from_mlflow_{experiment.experiment_id}"
    trusted = {"skops_trusted_types": []} if serialization_format == "skops" else {}
    mlflow.sklearn.log_model(
        iris.model,
        name="model",
        serialization_format=serialization_format,
        signature=mlflow.models.infer_signature(iris.features, iris.answers),
        pip_requirements=["scikit-learn"],
        registered_model_name=name,
        **trusted,
    )
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD_WITHOUT_MLFLOW, f"models:/{name}/1", shared_registry.url, str(tmp_path / "cache")],
        input=iris.features.to_json(orient="split"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == [float(answer) for answer in iris.answers]


def test_what_tiltyard_logs_loads_in_mlflow(
    mlflow: ModuleType, shared_registry: Service, client: Any, experiment: Any, iris: Iris
) -> None:
    """An estimator that Tiltyard logged is MLflow's pyfunc and scikit-learn model, signature and example included."""
    name = f"main.ml.to_mlflow_{experiment.experiment_id}"
    signature = tiltyard.infer_signature(iris.features, iris.answers)
    tiltyard.log_model(
        iris.model,
        "model",
        registered_model_name=name,
        signature=signature,
        input_example=iris.features.head(2),
        experiment=experiment.name,
        registry_url=shared_registry.url,
    )
    uri = f"models:/{name}/1"
    assert list(mlflow.pyfunc.load_model(uri).predict(iris.features)) == list(iris.answers)
    assert list(mlflow.sklearn.load_model(uri).predict(iris.features)) == list(iris.answers)
    info = mlflow.models.get_model_info(uri)
    assert info.signature == mlflow.models.infer_signature(iris.features, iris.answers)
    assert mlflow.pyfunc.load_model(uri).input_example.shape == (2, 4)
    (logged,) = mlflow.search_logged_models(output_format="list")
    assert (logged.name, str(logged.status)) == ("model", "READY")


def test_a_python_function_that_tiltyard_logs_loads_in_mlflow(
    mlflow: ModuleType, shared_registry: Service, experiment: Any, iris: Iris
) -> None:
    """A plain function becomes a pyfunc that MLflow predicts with."""
    name = f"main.ml.function_{experiment.experiment_id}"

    def widest(rows: Any) -> Any:
        return rows.max(axis=1)

    tiltyard.log_model(
        widest, "widest", registered_model_name=name, experiment=experiment.name, registry_url=shared_registry.url
    )
    predicted = mlflow.pyfunc.load_model(f"models:/{name}/1").predict(iris.features)
    assert list(predicted) == list(iris.features.max(axis=1))
