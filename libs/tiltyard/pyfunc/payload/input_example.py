"""The input example beside a model, for people to read and for servers to warm up with.

Source: mlflow/models/utils.py (_Example, _read_example) at v3.17.2 for the files.
"""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from tiltyard.errors import BadRequest, InvalidParameterValue, quote
from tiltyard.pyfunc.enforcement.tensors import is_sparse
from tiltyard.pyfunc.enforcement.values import is_missing
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.pyfunc.payload.dataframe_json import read_split
from tiltyard.pyfunc.payload.output import to_jsonable
from tiltyard.pyfunc.payload.tf_serving import read_inputs
from tiltyard.uri import contain

FILE_NAME = "input_example.json"
SERVING_FILE_NAME = "serving_input_example.json"


class Example(NamedTuple):
    """An input example, apart from the params that may come with it."""

    data: Any
    params: dict[str, Any] | None


def split_params(example: Any) -> Example:
    """The data and the params of an example; `(data, {...})` carries both."""
    if isinstance(example, tuple) and len(example) == 2 and isinstance(example[1], dict):
        return Example(example[0], example[1])
    return Example(example, None)


def save_example(example: Any, directory: Path) -> dict[str, Any]:
    """Writes the example and the request body that would send it; returns MLmodel's record of them.

    Raises:
        InvalidParameterValue: the example is of a kind that has no JSON form.
    """
    data, params = split_params(example)
    kind, value, field = _jsonable(data)
    info: dict[str, Any] = {"artifact_path": FILE_NAME, "serving_input_path": SERVING_FILE_NAME, "type": kind}
    if kind == "dataframe":
        info["pandas_orient"] = "split"
    serving: dict[str, Any] = {field: value if not kind.startswith("sparse") else to_jsonable(data)}
    stored = value
    if params is not None:
        info["params"] = "true"
        stored = {"data": value, "params": to_jsonable(params)}
        serving["params"] = to_jsonable(params)
    (directory / FILE_NAME).write_bytes(msgspec.json.encode(stored))
    (directory / SERVING_FILE_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(serving), indent=2))
    return info


def read_example(directory: Path, metadata: MLModel) -> Any:
    """The example as the author gave it: a DataFrame, ndarray, sparse matrix, or plain JSON values.

    Raises:
        InvalidParameterValue: the file is missing, or is not what MLmodel says of it.
    """
    info = metadata.saved_input_example_info
    try:
        path = contain(directory, str(metadata.input_example_path), parameter="input example")
        # The standard parser, because upstream writes NaN as a bare token.
        value = json.loads(path.read_bytes())
        if info.get("params"):
            value = value["data"]
        return _read(value, str(info.get("type")), metadata)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, BadRequest):
        raise InvalidParameterValue("The model's input example cannot be read.") from None


def _read(value: Any, kind: str, metadata: MLModel) -> Any:
    inputs = None if metadata.signature is None else metadata.signature.inputs
    if kind == "json_object":
        return value
    if kind == "ndarray":
        payload = read_inputs(value, inputs if inputs is not None and inputs.tensors else None, "lenient")
        return payload.build([payload.data])
    if kind in ("sparse_matrix_csc", "sparse_matrix_csr"):
        sparse = import_module("scipy.sparse")
        form = sparse.csc_matrix if kind.endswith("csc") else sparse.csr_matrix
        return form((value["data"], value["indices"], value["indptr"]), shape=tuple(value["shape"]))
    if kind == "dataframe":
        payload = read_split(value, None if inputs is not None and inputs.tensors else inputs, "lenient")
        return payload.build([payload.data])
    raise InvalidParameterValue(f"Unknown kind of input example {quote(kind)}.")


def _jsonable(data: Any) -> tuple[str, Any, str]:
    """The kind of an example, its JSON values, and the field of a request that takes them."""
    if isinstance(data, pd.DataFrame):
        return "dataframe", _split(data), "dataframe_split"
    if is_sparse(data):
        parts = {name: getattr(data, name).tolist() for name in ("data", "indices", "indptr")}
        return f"sparse_matrix_{data.format}", {**parts, "shape": list(data.shape)}, "inputs"
    arrays = isinstance(data, Mapping) and any(isinstance(value, np.ndarray) for value in data.values())
    if isinstance(data, np.ndarray) or arrays:
        return "ndarray", to_jsonable(data), "inputs"
    if isinstance(data, list | Mapping | str | int | float | bool | bytes | np.generic) or hasattr(data, "isoformat"):
        try:
            return "json_object", to_jsonable(data), "inputs"
        except TypeError:
            pass
    raise InvalidParameterValue(
        "Expected an input example that is a pandas DataFrame, numpy array, dict of numpy arrays, csr or csc matrix, "
        f"dict, list or scalar, got {quote(data)}."
    )


def _split(frame: pd.DataFrame) -> dict[str, Any]:
    columns = [_cells(frame.iloc[:, i]) for i in range(frame.shape[1])]
    rows = [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in range(len(frame))]
    labels: list[Any] = list(frame.columns)
    if labels == list(range(frame.shape[1])):
        return {"data": rows}
    return {"columns": [name if isinstance(name, str | int) else str(name) for name in labels], "data": rows}


def _cells(column: "pd.Series[Any]") -> list[Any]:
    return [None if is_missing(value) else to_jsonable(value) for value in column.tolist()]
