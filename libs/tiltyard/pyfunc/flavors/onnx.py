"""ONNX models, run by onnxruntime; neither MLflow nor the package onnx is needed.

Source: mlflow/onnx/__init__.py (_OnnxModelWrapper) at v3.17.2.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.errors import InvalidModelInput, InvalidParameterValue, name_list, quote
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.format.mlmodel import MLModel, model_file

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
_CPU = "CPUExecutionProvider"

_log = logging.getLogger(__name__)


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of an ONNX graph: arrays by output name, or a DataFrame of them for a DataFrame.

    Not row-wise: a graph may do anything with its rows.
    """
    flavor = metadata.flavors.get("onnx", {})
    path = model_file(directory, flavor.get("data") or metadata.pyfunc.get("data"))
    import onnxruntime

    session = _session(onnxruntime, path, flavor)
    return Predictor(_Graph(session).predict, session)


class _Graph:
    """A session, as something that predicts."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs: dict[str, str] = {given.name: given.type for given in session.get_inputs()}
        self._outputs: list[str] = [output.name for output in session.get_outputs()]

    def predict(self, data: Any) -> Any:
        """The graph's answer.

        Raises:
            InvalidModelInput: an array was given to a graph with several inputs, or neither a DataFrame, an array nor
                a dict.
        """
        feed = {name: self._fitting(name, values) for name, values in self._feed(data).items()}
        answers = dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))
        if isinstance(data, pd.DataFrame):
            return pd.DataFrame({name: np.asarray(answer).reshape(-1) for name, answer in answers.items()})
        return answers

    def _feed(self, data: Any) -> Mapping[str, Any]:
        if isinstance(data, dict):
            return data
        if isinstance(data, pd.DataFrame):
            if len(self._inputs) > 1:
                return {name: data[name].to_numpy() for name in self._inputs}
            return {name: data.to_numpy() for name in self._inputs}
        if not isinstance(data, np.ndarray):
            raise InvalidModelInput(f"Expected a DataFrame, an array or a dict of arrays, got {type(data).__name__}.")
        if len(self._inputs) != 1:
            raise InvalidModelInput(
                f"The model has several inputs, {name_list(self._inputs)}: expected an array for each, got one array."
            )
        return dict.fromkeys(self._inputs, data)

    def _fitting(self, name: str, values: Any) -> Any:
        """JSON and DataFrames have double precision; graphs mostly take single."""
        narrow = self._inputs.get(name) == "tensor(float)" and getattr(values, "dtype", None) == np.float64
        return values.astype(np.float32) if narrow else values


def _session(onnxruntime: Any, path: Path, flavor: Mapping[str, Any]) -> Any:
    options = _options(onnxruntime, flavor.get("onnx_session_options") or {})
    told = flavor.get("providers") or PROVIDERS
    # Each is a name, or a name with options.
    wanted = [tuple(one) if isinstance(one, list) else one for one in ([told] if isinstance(told, str) else told)]
    here = set(onnxruntime.get_available_providers())
    usable = [entry for entry in wanted if _provider_name(entry) in here] or [_CPU]
    absent = [_provider_name(entry) for entry in wanted if _provider_name(entry) not in here]
    # MLflow writes its own list into every model; that is nobody's wish.
    if absent and tuple(wanted) != PROVIDERS:
        _log.warning("The model asks for the execution providers %s, which this onnxruntime lacks.", name_list(absent))
    try:
        return onnxruntime.InferenceSession(str(path), sess_options=options, providers=usable)
    except Exception as error:
        # onnxruntime raises classes of its own that share no base but Exception.
        if usable != [_CPU]:
            # A provider that was built in may still find no device, or no driver.
            _log.warning("onnxruntime could not use %s (%s), it runs on the CPU.", usable, type(error).__name__)
            return onnxruntime.InferenceSession(str(path), sess_options=options, providers=[_CPU])
        raise


def _options(onnxruntime: Any, told: Mapping[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    for name in ("inter_op_num_threads", "intra_op_num_threads"):
        if told.get(name):
            setattr(options, name, told[name])
    mode = str(told.get("execution_mode") or "").upper()
    if mode in ("SEQUENTIAL", "PARALLEL"):
        options.execution_mode = getattr(onnxruntime.ExecutionMode, f"ORT_{mode}")
    level = told.get("graph_optimization_level")
    if level:
        try:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel(level)
        except (TypeError, ValueError):
            raise InvalidParameterValue(f"The model's graph_optimization_level {quote(level)} is unknown.") from None
    for key, value in (told.get("extra_session_config") or {}).items():
        options.add_session_config_entry(str(key), str(value))
    return options


def _provider_name(entry: Any) -> str:
    return str(entry[0] if isinstance(entry, tuple) else entry)
