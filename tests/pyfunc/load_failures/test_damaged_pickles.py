"""A model's file that is not a whole pickle is refused in words, whatever reading it runs into."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from tiltyard import pyfunc
from tiltyard.errors import InvalidParameterValue

ROWS = pd.DataFrame({"x": [1.0, 2.0]})
DAMAGED = {
    "nothing": b"",
    "no pickle": b"PK\x03\x04 something else",
    "a name that is no text": b"c\x83\x83\n\xff\n.",
    "an empty stack": b"\x80\x04.",
    "a size beyond all memory": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"abc",
    "a size beyond all numbers": b"\x80\x04\x8e" + (2**64 - 1).to_bytes(8, "little") + b"abc",
    "a list that ends in its middle": pickle.dumps(list(range(1000)))[:500],
}


def twice(model_input: pd.DataFrame) -> list[float]:
    """What a model that is a function answers."""
    return [2.0 * value for value in model_input["x"]]


def of_mlflow(path: Path) -> None:
    """Saves a PythonModel with MLflow."""
    from mlflow import pyfunc as upstream

    class Twice(upstream.PythonModel):
        def predict(self, context, model_input):  # type: ignore[no-untyped-def]
            return twice(model_input)

    upstream.save_model(path, python_model=Twice(), pip_requirements=[])


def of_function(path: Path) -> None:
    """Saves a function."""
    pyfunc.save_model(twice, path)


def of_sklearn(path: Path) -> None:
    """Saves an estimator as a pickle."""
    model = LinearRegression().fit(ROWS, np.array([2.0, 4.0]))
    pyfunc.save_model(model, path, serialization_format="cloudpickle")


@pytest.mark.parametrize("save", [of_mlflow, of_function, of_sklearn])
def test_a_damaged_pickle_is_refused(save, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Cut off anywhere, or something else from the start, the file is said to be unreadable, without its path."""
    save(tmp_path / "m")
    (file,) = (path for path in (tmp_path / "m").rglob("*.pkl"))
    whole = file.read_bytes()
    assert list(pyfunc.load(tmp_path / "m").predict(ROWS)) == pytest.approx([2.0, 4.0])
    step = len(whole) // 20 + 1
    for data in (*DAMAGED.values(), *(whole[:end] for end in range(1, len(whole), step))):
        file.write_bytes(data)
        with pytest.raises(InvalidParameterValue, match="cannot be read") as refused:
            pyfunc.load(tmp_path / "m")
        assert str(tmp_path) not in str(refused.value)
