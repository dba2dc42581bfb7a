"""PythonModel objects that MLflow pickled with cloudpickle; MLflow need not be installed to load them.

Source: mlflow/pyfunc/model.py (_load_context_model_and_signature, _PythonModelPyfuncWrapper) at v3.17.2.
"""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiltyard.errors import InvalidModelInput, InvalidParameterValue, MissingPackage
from tiltyard.pyfunc.enforcement.type_hints import check_hint, from_frame, input_hint, plain_hint, takes_context
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.flavors.module import takes_params
from tiltyard.pyfunc.flavors.stand_ins import NAMES, PythonModelContext
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.pyfunc.own_code import pickles
from tiltyard.pyfunc.own_code.imports import import_module
from tiltyard.uri import contain

_OPEN: dict[str, Callable[..., Any]] = {"lzma": lzma.open, "bzip2": bz2.open, "gzip": gzip.open}


class Unpickler(pickles.Unpickler):
    """Reads a pickle with stand-ins for MLflow's names."""

    def find_class(self, module: str, name: str) -> Any:
        """The object that a pickle names. Raises: MissingPackage if it is MLflow's and that is not installed."""
        if module == "mlflow" or module.startswith("mlflow."):
            found = NAMES.get(module, {}).get(name)
            if found is not None:
                return found
            try:
                return super().find_class(module, name)
            except ModuleNotFoundError as error:
                raise uses_mlflow(f"{module}.{name}", error) from error
        if module == "cloudpickle.cloudpickle" and name == "subimport":
            return _import
        return super().find_class(module, name)


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of a pickled PythonModel. Unpickling runs the author's code."""
    settings = metadata.pyfunc
    name = settings.get("python_model")
    if not isinstance(name, str):
        raise InvalidParameterValue("Python model path was not specified in the model configuration")
    opener = _OPEN.get(str(settings.get("python_model_compression")), open)
    import cloudpickle  # noqa: F401 - the pickle names it

    path = contain(directory, name, parameter="python_model")
    with opener(path, "rb") as file:
        model = Unpickler(file).load()
    return predictor_of(model, directory, metadata)


def predictor_of(model: Any, directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of a PythonModel object, after its `load_context` was called.

    Raises:
        InvalidParameterValue: an artifact's path leads out of the model, or the object cannot predict.
    """
    settings = metadata.pyfunc
    artifacts = {
        str(name): str(contain(directory, str(info.get("path")), parameter="artifacts"))
        for name, info in (settings.get("artifacts") or {}).items()
        if isinstance(info, dict)
    }
    context = PythonModelContext(artifacts, settings.get("config"))
    if not callable(getattr(model, "predict", None)):
        raise InvalidParameterValue("Model implementation is missing required predict method.")
    if hasattr(model, "load_context"):
        model.load_context(context)
    leading = (context,) if takes_context(model.predict) else ()
    has_params = takes_params(model.predict)
    saved = getattr(model, "predict_type_hints", None)
    hint = plain_hint(getattr(saved, "input", None) or input_hint(model.predict))
    is_checked = hint is not None and getattr(model.predict, "_is_pyfunc", False)

    def predict(model_input: Any, params: dict[str, Any] | None = None) -> Any:
        converted = _convert(model_input, hint)
        try:
            return model.predict(*leading, converted, **({"params": params} if has_params else {}))
        except Exception as error:
            # Where MLflow is installed it is MLflow that checks the input of a model from code, without telling its
            # refusals from what the model raises.
            if is_checked and type(error).__module__.startswith("mlflow."):
                check_hint(from_frame(converted, hint), hint)
            raise

    return Predictor(predict, model, takes_params=True)


def _convert(data: Any, hint: Any) -> Any:
    """A DataFrame as the list of texts, or of objects with texts, that the hint asks for."""
    if not hasattr(data, "iloc"):
        return data
    if hint == list[str]:
        # The first column whose first value is a text.
        first = enumerate(data.iloc[0]) if len(data) else ()
        texts = next((number for number, value in first if isinstance(value, str)), None)
        if texts is None and len(data):
            raise InvalidModelInput("Expected model input to contain at least one string column")
        return [] if texts is None else data.iloc[:, texts].tolist()
    if hint == list[dict[str, str]]:
        # One column without a name holds the objects themselves.
        return data.iloc[:, 0].tolist() if list(data.columns) == [0] else data.to_dict(orient="records")
    return data


def _import(name: str) -> Any:
    if name == "mlflow" or name.startswith("mlflow."):
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            raise uses_mlflow(name, error) from error
    return import_module(name)


def uses_mlflow(name: str, error: ModuleNotFoundError | None = None) -> ImportError:
    """The error of a model that uses this name of MLflow; the very `error`, where MLflow itself lacks a package.

    Whoever loads the model says what else is missing.
    """
    if error is not None and (error.name or "").partition(".")[0] != "mlflow":
        return error
    return MissingPackage(f"The model's code uses '{name}', so it needs MLflow: pip install mlflow.", name=name)
