"""PyTorch modules: pickled by torch.save, or exported (pt2). Both may run their author's code when they are read.

Source: mlflow/pytorch/__init__.py (_load_model, _PyTorchWrapper) at v3.17.2.
"""

import os
import pickle
import sys
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.errors import InvalidModelInput, InvalidParameterValue, ResourceDoesNotExist, quote
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.uri import contain

# The variable that upstream reads.
DEVICE = "MLFLOW_DEFAULT_PREDICTION_DEVICE"

# Reads what cloudpickle wrote, as pickle does.
_OF_MLFLOW = "mlflow.pytorch.pickle_module"


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of a module: an array for an array, a DataFrame for a DataFrame, which it sees as float32.

    It runs on the device of the model's configuration, else that of MLFLOW_DEFAULT_PREDICTION_DEVICE, else on a GPU
    if there is one. Not row-wise: a module may do anything with its rows.
    """
    data = metadata.pyfunc.get("data")
    folder = contain(directory, str(data or ""), parameter="data")
    import torch

    device = _device(torch, metadata.pyfunc.get("config"))
    pickled, exported = folder / "model.pth", folder / "model.pt2"
    if folder.is_file() or pickled.is_file():
        model = _unpickled(torch, pickled if folder.is_dir() else folder, _pickle_module(folder))
        model.to(device=device)
    elif exported.is_file():
        model = torch.export.load(str(exported)).module()
        _check_device(torch, model, device)
    else:
        raise ResourceDoesNotExist("The model's file 'model.pth' or 'model.pt2' is missing.")
    takes_params = metadata.signature is not None and metadata.signature.params is not None
    return Predictor(_Module(torch, model, device).predict, model, takes_params=takes_params)


class _Module:
    """A torch module, as something that predicts."""

    def __init__(self, torch: Any, model: Any, device: str) -> None:
        self._torch = torch
        self._model = model
        self._device = device
        self._forecasts = _is_forecasting_model(model)

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """The module's answer.

        Raises:
            InvalidModelInput: the input is neither a DataFrame nor an array, it is of another precision than the
                module's numbers, or a param names the device.
            TypeError: the output is not one tensor.
        """
        if params and "device" in params:
            raise InvalidModelInput("The device is set when the model is loaded ('model_config'), not by params.")
        is_frame = isinstance(data, pd.DataFrame)
        if not is_frame and (self._forecasts or not isinstance(data, np.ndarray)):
            expected = "a DataFrame" if self._forecasts else "a DataFrame or an array"
            raise InvalidModelInput(f"Expected {expected}, got {type(data).__name__}.")
        with self._torch.no_grad():
            if self._forecasts:
                answer = self._model.predict(data)
            else:
                rows = data.to_numpy(dtype=np.float32) if is_frame else data
                answer = self._answer(rows, params or {})
            if not isinstance(answer, self._torch.Tensor):
                raise TypeError(f"expected the module to return one tensor, got {type(answer).__name__}")
            array = answer.to("cpu").numpy()
        if is_frame and not self._forecasts:
            return pd.DataFrame(array, index=data.index)
        return array

    def _answer(self, rows: Any, params: dict[str, Any]) -> Any:
        tensor = self._torch.from_numpy(rows).to(self._device)
        try:
            return self._model(tensor, **params)
        except RuntimeError as error:
            first = next(self._model.parameters(), tensor)
            if tensor.dtype == self._torch.float64 and first.dtype != tensor.dtype:
                raise InvalidModelInput(
                    f"The model's numbers are {first.dtype}, the input's {tensor.dtype}: give the model a signature "
                    "that says so, or send a DataFrame."
                ) from error
            raise


def _unpickled(torch: Any, path: Path, module: ModuleType) -> Any:
    # Where no GPU is, what was saved on one is read all the same.
    place = None if torch.cuda.is_available() else "cpu"
    # Whole modules are pickled classes: the caller trusts the directory, it is verified or named by them.
    model = torch.load(str(path), weights_only=False, pickle_module=module, map_location=place)
    if not hasattr(model, "eval"):
        raise InvalidParameterValue(f"The model's file holds a {type(model).__name__}, which is no torch module.")
    model.eval()
    return model


def _pickle_module(folder: Path) -> ModuleType:
    path = folder / "pickle_module_info.txt"
    name = path.read_text(encoding="utf-8").strip() if path.is_file() else "pickle"
    return pickle if name == _OF_MLFLOW else import_module(name)


def _device(torch: Any, config: Any) -> str:
    told = config.get("device") if isinstance(config, dict) else None
    device = str(told or os.environ.get(DEVICE) or ("cuda:0" if torch.cuda.is_available() else "cpu"))
    try:
        torch.device(device)
    except RuntimeError:
        raise InvalidParameterValue(f"Invalid 'device': {quote(device)}. Expected cpu, cuda or the like.") from None
    return device


def _check_device(torch: Any, model: Any, device: str) -> None:
    """What was exported stays where it was."""
    wanted = torch.device(device).type
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.device.type != wanted:
            raise InvalidParameterValue(
                f"The model was exported for the device '{tensor.device.type}' and cannot run on '{wanted}': export it "
                f"again, or set 'device' in its model_config or {DEVICE}."
            )


def _is_forecasting_model(model: Any) -> bool:
    """Whether it is one of pytorch_forecasting, which is imported by then if it is."""
    base = getattr(sys.modules.get("pytorch_forecasting.models"), "BaseModel", None)
    return base is not None and isinstance(model, base)
