"""Any importable loader module: the author's `_load_pyfunc`, usually in the model's `code` directory.

Source: mlflow/pyfunc/__init__.py (load_model) at v3.17.2.
"""

import inspect
from pathlib import Path
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.pyfunc.own_code.imports import import_module
from tiltyard.uri import contain


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor that the loader module's `_load_pyfunc` returns. Runs the author's code."""
    settings = metadata.pyfunc
    name = settings["loader_module"]
    data = settings.get("data")
    path = str(contain(directory, data, parameter="data") if data else directory)
    config = settings.get("config")
    loader = getattr(import_module(name), "_load_pyfunc", None)
    if loader is None:
        raise InvalidParameterValue(f"The loader module '{name}' has no function '_load_pyfunc'.")
    model = loader(path, config) if config else loader(path)
    return predictor_of(model, str(settings.get("predict_fn") or "predict"))


def predictor_of(model: Any, method: str = "predict") -> Predictor:
    """A predictor over `model.predict(data)` or `model.predict(data, params)`.

    Raises:
        InvalidParameterValue: the model lacks the method.
    """
    predict = getattr(model, method, None)
    if not callable(predict):
        raise InvalidParameterValue(f"Model implementation is missing required {method} method.")
    return Predictor(predict, model, takes_params=takes_params(predict))


def takes_params(predict: Any) -> bool:
    """Whether the function has an argument named `params`."""
    try:
        found = inspect.signature(predict).parameters.get("params")
    except (TypeError, ValueError):
        return False
    return found is not None and found.kind is not inspect.Parameter.VAR_KEYWORD
