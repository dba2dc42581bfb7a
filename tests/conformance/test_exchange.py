"""Models cross between MLflow and Tiltyard, both ways, through one registry."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

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
registry_url, cache_dir, *uris = sys.argv[1:]
rows = pandas.read_json(sys.stdin, orient="split")
models = [tiltyard.load_model(uri, registry_url=registry_url, cache_dir=cache_dir) for uri in uris]
print(json.dumps([[float(value) for value in model.predict(rows)] for model in models]))
"""


def test_what_mlflow_logs_loads_without_mlflow(
    mlflow: ModuleType, shared_registry: Service, experiment: Any, iris: Iris, tmp_path: Path
) -> None:
    """Every format of MLflow's scikit-learn flavor is read by Tiltyard alone, with equal answers."""
    name = f"main.ml.from_mlflow_{experiment.experiment_id}"
    for serialization_format in ("cloudpickle", "pickle", "skops"):
        mlflow.sklearn.log_model(
            iris.model,
            name=serialization_format,
            serialization_format=serialization_format,
            signature=mlflow.models.infer_signature(iris.features, iris.answers),
            pip_requirements=["scikit-learn"],
            registered_model_name=name,
        )
    uris = [f"models:/{name}/{version}" for version in (1, 2, 3)]
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD_WITHOUT_MLFLOW, shared_registry.url, str(tmp_path / "cache"), *uris],
        input=iris.features.to_json(orient="split"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == [[float(answer) for answer in iris.answers]] * 3


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
