"""Model directories for the tests: written by MLflow and by Tiltyard, in the formats that users have."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tiltyard import pyfunc
from tiltyard.pyfunc import Signature

IRIS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
SETOSA, VIRGINICA = [5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]


def signature(inputs: list[dict[str, Any]] | None, params: list[dict[str, Any]] | None = None) -> Signature:
    """A signature from the JSON forms of its columns and params."""
    import json

    entry = {
        "inputs": None if inputs is None else json.dumps(inputs),
        "params": None if params is None else json.dumps(params),
    }
    return Signature.from_dict(entry)


def column(name: str | None, kind: str, **more: Any) -> dict[str, Any]:
    """The JSON form of one column."""
    return {"type": kind, **({} if name is None else {"name": name}), "required": True, **more}


def tensor(dtype: str, shape: list[int], name: str | None = None) -> dict[str, Any]:
    """The JSON form of one tensor."""
    return {
        "type": "tensor",
        "tensor-spec": {"dtype": dtype, "shape": shape},
        **({} if name is None else {"name": name}),
    }


def iris(estimator: Any = None) -> tuple[Any, pd.DataFrame]:
    """A fitted estimator and the frame it was fitted on."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, target = load_iris(return_X_y=True, as_frame=True)
    return (estimator or LogisticRegression(max_iter=500)).fit(features, target), features


def mlflow_iris(path: Path, **options: Any) -> None:
    """The iris model as MLflow saves it, with signature and input example."""
    import mlflow

    model, features = iris()
    mlflow.sklearn.save_model(
        model,
        path,
        signature=mlflow.models.infer_signature(features, model.predict(features)),
        input_example=features[:5],
        pip_requirements=["scikit-learn"],
        **options,
    )


def mlflow_skops(path: Path) -> None:
    """In the format that MLflow chooses by itself."""
    mlflow_iris(path, serialization_format="skops")


def mlflow_cloudpickle(path: Path) -> None:
    """In the format of autolog."""
    mlflow_iris(path, serialization_format="cloudpickle")


def probabilities(path: Path) -> None:
    """An estimator without a signature, answering with probabilities, saved by Tiltyard."""
    model, _ = iris()
    pyfunc.save_model(model, path, predict_fn="predict_proba", pip_requirements=["scikit-learn"])


def constant(path: Path, answer: int) -> None:
    """A model of the iris columns that always gives `answer`, so that versions can be told apart.

    A function, not an estimator: a service that loads it imports no scikit-learn.
    """
    from sklearn.datasets import load_iris

    def predict(frame: Any) -> Any:
        return np.full(len(frame), answer)

    features = load_iris(as_frame=True).data
    options: dict[str, Any] = {"pip_requirements": [], "metadata": {"tiltyard.row_wise": True}}
    pyfunc.save_model(predict, path, input_example=features[:3], **options)


def _function(path: Path, predict: Callable[..., Any], signed: Signature | None, **options: Any) -> None:
    pyfunc.save_model(predict, path, signature=signed or False, pip_requirements=[], **options)


def typed(path: Path) -> None:
    """A column of every scalar type; answers with what the model was given."""

    def predict(frame: Any) -> Any:
        return [{name: repr(value) for name, value in row.items()} for row in frame.to_dict(orient="records")]

    kinds = ["integer", "long", "float", "double", "boolean", "string", "binary", "datetime"]
    _function(path, predict, signature([column(kind, kind, required=False) for kind in kinds]))


def required(path: Path) -> None:
    """Two required columns and an optional one; answers with the columns that came."""

    def predict(frame: Any) -> Any:
        return [list(frame.columns)] * len(frame)

    columns = [column("a", "long"), column("b", "double"), column("c", "string", required=False)]
    _function(path, predict, signature(columns), metadata={"tiltyard.row_wise": True})


def nested(path: Path) -> None:
    """An array, an object and a map column."""

    def predict(frame: Any) -> Any:
        return len(frame)

    properties = {"x": {"type": "long", "required": True}, "y": {"type": "string", "required": False}}
    columns = [
        column("numbers", "array", items={"type": "double"}, required=False),
        column("obj", "object", properties=properties, required=False),
        column("sizes", "map", values={"type": "long"}, required=False),
    ]
    _function(path, predict, signature(columns))


def unnamed(path: Path) -> None:
    """Two columns without names."""

    def predict(frame: Any) -> Any:
        return frame.sum(axis=1)

    _function(path, predict, signature([column(None, "double"), column(None, "double")]))


def squares(path: Path) -> None:
    """One tensor of 2x2 matrices."""

    def predict(array: Any) -> Any:
        return array.sum(axis=(1, 2))

    _function(path, predict, signature([tensor("float64", [-1, 2, 2])]), metadata={"tiltyard.row_wise": True})


def named_tensors(path: Path) -> None:
    """Two tensors with names."""

    def predict(arrays: Any) -> Any:
        return arrays["a"] + arrays["b"]

    _function(path, predict, signature([tensor("int64", [-1], "a"), tensor("float64", [-1], "b")]))


def parametrised(path: Path) -> None:
    """A model with params; answers with them."""

    def predict(model_input: Any, params: Any = None) -> Any:
        return [params] * len(model_input)

    params = [
        {"name": "n", "type": "integer", "default": 3, "shape": None},
        {"name": "rate", "type": "double", "default": 0.5, "shape": None},
        {"name": "flag", "type": "boolean", "default": False, "shape": None},
        {"name": "stop", "type": "string", "default": ["a"], "shape": [-1]},
        {"name": "when", "type": "datetime", "default": "2024-01-01T00:00:00", "shape": None},
    ]
    _function(path, predict, signature([column("a", "double")], params))


def centred(path: Path) -> None:
    """Says it is row-wise and is not: every row's answer depends on the other rows."""

    def predict(frame: Any) -> Any:
        return frame["a"].to_numpy() - frame["a"].mean()

    example = pd.DataFrame({"a": [1.0, 2.0, 6.0]})
    _function(
        path, predict, signature([column("a", "double")]), input_example=example, metadata={"tiltyard.row_wise": True}
    )


def obedient(path: Path) -> None:
    """Does what its column says: fails, sleeps, waits for a file, ends the process, or returns odd things."""

    def predict(frame: Any) -> Any:
        import datetime
        import decimal
        import sys

        verb, _, argument = str(frame["do"].iloc[0]).partition(" ")
        if verb == "raise":
            raise ValueError("secret of the model at /secret/path")
        if verb == "divide":
            return 1 / 0
        if verb == "sleep":
            time.sleep(float(argument))
        if verb == "until":
            # Nor when its folder has gone, with the test that it was for: this model serves others too.
            while os.path.isdir(os.path.dirname(argument)) and not os.path.exists(argument):
                time.sleep(0.01)
        if verb == "exit":
            sys.exit(3)
        if verb == "stop":
            raise StopIteration
        if verb == "pid":
            return os.getpid()
        odd = {
            "decimal": decimal.Decimal(1),
            "set": {1},
            "nan": [float("nan"), float("inf"), -float("inf"), 1.0],
            "nan-array": np.array([np.nan, np.inf, 1.0]),
            "frame": pd.DataFrame({"x": [1, 2], "y": ["a", None]}),
            "series": pd.Series([1.5, None]),
            "named-series": pd.Series([1, 2], name="score"),
            "array": np.array([[1, 2], [3, 4]]),
            "none": None,
            "text": "text",
            "arrays": {"p": np.array([0.5])},
            "bytes": b"ab",
            "date": [datetime.datetime(2024, 1, 2, 3, 4, 5), pd.Timestamp("2024-01-02")],
        }
        return odd.get(verb, "done")

    _function(path, predict, signature([column("do", "string")]))


MODELS: dict[str, Callable[[Path], None]] = {
    "default": mlflow_skops,
    "cloudpickle": mlflow_cloudpickle,
    "probabilities": probabilities,
    "typed": typed,
    "required": required,
    "nested": nested,
    "unnamed": unnamed,
    "squares": squares,
    "tensors": named_tensors,
    "params": parametrised,
    "centred": centred,
    "obedient": obedient,
}
