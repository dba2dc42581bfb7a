"""The Python that a model asks for: the server's own when that has all it needs, else one that is built for it."""

import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tiltyard.environments.build import environment
from tiltyard.environments.requirements import installed_version, of_model, own_python
from tiltyard.errors import InternalError, InvalidParameterValue
from tiltyard.pyfunc import MLModel
from tiltyard.pyfunc.flavors import FLAVORS

LOWEST_PYTHON = (3, 11)

# What the light library needs to read a model, beside what the model asks for.
RUNTIME = ("msgspec", "pyyaml", "numpy", "pandas<3", "cloudpickle")
# Loaders that do without MLflow: it is left out, though every model that was saved by it names it. Python models may
# use it when they predict.
WITHOUT_MLFLOW = frozenset(FLAVORS) - {"mlflow.pyfunc.model", "mlflow.pyfunc.loaders.code_model"}

_SERVER = "server"

_log = logging.getLogger(__name__)


class Environment(NamedTuple):
    """A Python interpreter, and what operators know it by: `server`, or the digest of what was asked for."""

    python: Path
    name: str


def environment_of(directory: Path, cache: Path) -> Environment:
    """The environment of the model in `directory`, built below `cache` when it is not there yet.

    Raises:
        MissingPackage: there is no uv to build it with.
        InvalidParameterValue: the model's files ask for something that cannot be.
        InternalError: uv could not build it; the log says why.
    """
    asked = of_model(directory)
    if MLModel.load(directory).pyfunc["loader_module"] in WITHOUT_MLFLOW:
        asked.lines.leave_out_mlflow()
    if asked.python == own_python() and asked.lines.are_met_by(installed_version):
        return Environment(Path(sys.executable), _SERVER)
    if tuple(map(int, asked.python.split("."))) < LOWEST_PYTHON:
        raise InvalidParameterValue(f"The model asks for Python {asked.python}; 3.11 is the first that is served.")
    asked.lines.add(_runtime(directory, asked.lines.names))
    try:
        whole = environment(asked, cache)
    except subprocess.CalledProcessError as error:
        _log.error("uv could not build the environment of a model:\n%s", error.stderr)
        raise InternalError(
            "The environment that the model asks for could not be built; the server's log says why."
        ) from None
    return Environment(whole / "bin" / "python", asked.digest[:12])


def _runtime(directory: Path, names: set[str]) -> list[str]:
    runtime = [line for line in RUNTIME if re.split("[<=>]", line)[0] not in names]
    if "skops" not in names and any(directory.glob("*.skops")):
        runtime.append("skops")
    return runtime
