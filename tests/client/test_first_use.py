"""What somebody sees who tries the library at a prompt: names, arguments, and what is missing."""

import inspect
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import tiltyard


def test_a_loaded_model_says_what_it_is(tmp_path: Path) -> None:
    """Printing a model names its loader, the author's object, inputs and outputs; `fetch` takes a URI as it is."""
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"a": [0.0, 1.0], "b": [1.0, 0.0]})
    tiltyard.save_model(LinearRegression().fit(frame, [0.0, 1.0]), tmp_path / "m", input_example=frame)
    shown = repr(tiltyard.load_model(str(tmp_path / "m")))
    for part in ("mlflow.sklearn", "LinearRegression", "'a': double", "outputs=["):
        assert part in shown
    assert tiltyard.fetch(str(tmp_path / "m")).path == tmp_path / "m"


def test_methods_of_the_clients_show_their_arguments() -> None:
    """What `help` shows begins with `self` and ends with the result, not with the call that brings it."""
    for kind in (tiltyard.Client, tiltyard.AsyncClient):
        shown = str(inspect.signature(kind.set_alias))
        assert shown.startswith("(self, ")
        assert "Call[" not in shown


@pytest.mark.parametrize(
    "work", ["tiltyard.log_model(print, 'm')", "tiltyard.pyfunc.load('.')", "tiltyard.infer_signature"]
)
def test_the_light_client_names_the_extra_for_models(work: str, tmp_path: Path) -> None:
    """Without numpy and pandas, models are refused with all that is missing and the extra that brings it."""
    (tmp_path / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n")
    code = (
        "import sys\nfor name in ('numpy', 'pandas'):\n    sys.modules[name] = None\nimport tiltyard\n"
        f"try:\n    {work}\nexcept tiltyard.errors.MissingPackage as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "numpy, pandas: pip install 'tiltyard[pyfunc]'" in run.stdout, run.stderr
