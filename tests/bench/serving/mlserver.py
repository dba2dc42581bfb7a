"""MLServer with its scikit-learn runtime, in an environment of its own: it asks for other releases than MLflow does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fixtures.processes import unused_port

ENVIRONMENT = Path(".build/mlserver")
PACKAGES = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1")
PATH = "/v2/models/iris/infer"
READY = "/v2/models/iris/ready"

# Saved there, so that it is loaded by the releases that saved it.
_FIT = """
import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
joblib.dump(LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True)), "model.joblib")
"""

_START = """
import os, sys
folder, os.environ["MLSERVER_HTTP_PORT"] = sys.argv[1:]
from mlserver.cli.main import main
sys.argv[1:] = ["start", folder]
main()
"""


def command(folder: Path) -> tuple[str, ...]:
    """What starts it with the iris model, followed by a port. Builds the environment when it is not there.

    Raises:
        CalledProcessError: a package cannot be installed.
    """
    python = ENVIRONMENT.absolute() / "bin" / "python"
    if not (ENVIRONMENT / ".ready").exists():
        _build(python)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([python, "-c", _FIT], cwd=folder, check=True)
    model = {"name": "iris", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    # Without workers of its own a prediction costs it no hop to another process: its quickest way.
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False}
    settings |= {"grpc_port": unused_port(), "metrics_port": unused_port()}
    (folder / "settings.json").write_text(json.dumps(settings))
    return (str(python), "-c", _START, str(folder))


def body(row: list[float]) -> bytes:
    """One row in its protocol."""
    tensor = {"name": "rows", "shape": [1, len(row)], "datatype": "FP64", "data": row}
    return json.dumps({"inputs": [tensor]}).encode()


def _build(python: Path) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=".build/uv/bin")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    if uv is not None:
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, ENVIRONMENT], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *PACKAGES], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    (ENVIRONMENT / ".ready").touch()
