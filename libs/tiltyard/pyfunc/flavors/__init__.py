"""How a model directory becomes something that predicts: one row per loader.

A loader module of this package has `load(directory, metadata) -> Predictor`, which raises what `load_predictor` says.
A `loader_module` that the table does not name is imported as the author wrote it, from the model's `code` directory
first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tiltyard.pyfunc.format.mlmodel import MLModel

FLAVORS: dict[str, str] = {
    "mlflow.sklearn": "tiltyard.pyfunc.flavors.sklearn",
    "mlflow.xgboost": "tiltyard.pyfunc.flavors.xgboost",
    "mlflow.lightgbm": "tiltyard.pyfunc.flavors.lightgbm",
    "mlflow.catboost": "tiltyard.pyfunc.flavors.catboost",
    "mlflow.onnx": "tiltyard.pyfunc.flavors.onnx",
    "mlflow.statsmodels": "tiltyard.pyfunc.flavors.statsmodels",
    "mlflow.pytorch": "tiltyard.pyfunc.flavors.pytorch",
    "mlflow.spark": "tiltyard.pyfunc.flavors.spark",
    "mlflow.pyfunc.model": "tiltyard.pyfunc.flavors.python_model",
    "mlflow.pyfunc.loaders.code_model": "tiltyard.pyfunc.flavors.code_model",
    "tiltyard_python_function": "tiltyard.pyfunc.flavors.function",
}
OTHER = "tiltyard.pyfunc.flavors.module"

# Loaders that hand the model's file to native code, and the library whose code that is. It checks little of what it
# reads: a damaged file may end the process. What Python reads itself is not here: a pickle is code of its author, who
# may end any process that runs it, and of a skops file every number that points somewhere is checked.
NATIVE: dict[str, str] = {
    "mlflow.xgboost": "xgboost",
    "mlflow.lightgbm": "lightgbm",
    "mlflow.catboost": "catboost",
    "mlflow.onnx": "onnxruntime",
}


@dataclass(frozen=True)
class Predictor:
    """What a loader returns.

    Attributes:
        predict: takes the enforced input, and params by that name if `takes_params`.
        row_wise: True only when every row's answer is known not to depend on the other rows.
        model: the author's own object.
    """

    predict: Callable[..., Any]
    model: Any
    takes_params: bool = False
    row_wise: bool = False


def load_predictor(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of the model in `directory`, by the loader module its MLmodel names.

    Raises:
        MissingPackage: the loader or the model needs a package that is absent.
        InvalidParameterValue, ResourceDoesNotExist, BadRequest, PermissionDenied: the model cannot be loaded; says why.
    """
    module = import_module(FLAVORS.get(metadata.pyfunc["loader_module"], OTHER))
    predictor: Predictor = module.load(directory, metadata)
    return predictor
