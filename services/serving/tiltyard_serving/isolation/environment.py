"""The Python that a model asks for: the server's own when that has all it needs, else one built by uv, once.

environments/<digest>/                one whole environment; it appears by a rename or not at all
partial/environment-<digest>-…/       builds in progress, or left by a killed process
locks/environment-<digest>            held by the one process that builds
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import uuid
from importlib import metadata as distributions
from pathlib import Path
from typing import Any, NamedTuple

from tiltyard.cache.file_lock import locked
from tiltyard.cache.private_directory import private_directory
from tiltyard.errors import InternalError, InvalidParameterValue, MissingPackage
from tiltyard.pyfunc import MLModel
from tiltyard.pyfunc.flavors import FLAVORS
from tiltyard.pyfunc.format.model_yaml import read_yaml
from tiltyard_serving.isolation.requirement_lines import RequirementLines, read_text

BUILD_TIMEOUT_S = 1800.0
LOWEST_PYTHON = (3, 11)

# What the light library needs to read a model, beside what the model asks for.
RUNTIME = ("msgspec", "pyyaml", "numpy", "pandas<3", "cloudpickle")
# Loaders that do without MLflow: it is left out, though every model that was saved by it names it. Python models may
# use it when they predict.
WITHOUT_MLFLOW = frozenset(FLAVORS) - {"mlflow.pyfunc.model", "mlflow.pyfunc.loaders.code_model"}

_SERVER = "server"
_MLFLOW = re.compile(r"mlflow(-skinny)?\b(?!-)", re.IGNORECASE)
_PYTHON = re.compile(r"(\d+)\.(\d+)(\.\d+)?")

_log = logging.getLogger(__name__)


class Environment(NamedTuple):
    """A Python interpreter, and what operators know it by: `server`, or the digest of what was asked for."""

    python: Path
    name: str


class _Wanted(NamedTuple):
    """What a model asks for; `python` is `MAJOR.MINOR`."""

    python: str
    lines: RequirementLines


def environment_of(directory: Path, cache: Path) -> Environment:
    """The environment of the model in `directory`, built below `cache` when it is not there yet.

    Builds are single: processes that want the same environment wait for the one that builds it.

    Raises:
        MissingPackage: there is no uv to build it with.
        InvalidParameterValue: the model's files ask for something that cannot be.
        InternalError: uv could not build it; the log says why.
    """
    python, lines = _wanted(directory)
    if python == _own_python() and lines.are_met_by(_version_here):
        return Environment(Path(sys.executable), _SERVER)
    lines.add(_runtime(directory, lines.names))
    digest = lines.digest(python)
    whole = private_directory(cache / "environments") / digest
    if not whole.exists():
        _build(cache, whole, python, lines)
    return Environment(whole / "bin" / "python", digest[:12])


def _wanted(directory: Path) -> _Wanted:
    """What `python_env.yaml` says, else `requirements.txt`, else nothing in particular.

    Build dependencies are left out: uv brings its own.
    """
    python: Any = None
    told: Any = ["-r requirements.txt"] if (directory / "requirements.txt").is_file() else []
    path = directory / "python_env.yaml"
    if path.is_file():
        environment = read_yaml(read_text(path), file_name=path.name)
        if not isinstance(environment, dict):
            raise InvalidParameterValue("The model's python_env.yaml must hold a mapping.")
        python, told = environment.get("python"), environment.get("dependencies") or []
        if not isinstance(told, list) or not all(isinstance(line, str) for line in told):
            raise InvalidParameterValue("The 'dependencies' of the model's python_env.yaml must be a list of lines.")
    lines = RequirementLines(directory, told)
    if MLModel.load(directory).pyfunc["loader_module"] in WITHOUT_MLFLOW:
        lines.leave_out(_MLFLOW)
    return _Wanted(_python(python), lines)


def _python(told: Any) -> str:
    if told is None:
        return _own_python()
    found = _PYTHON.fullmatch(str(told)) if isinstance(told, str | int | float) else None
    if found is None:
        shown = str(told)[:40] if isinstance(told, str | int | float) else type(told).__name__
        raise InvalidParameterValue(f"The model's python_env.yaml names no version of Python: '{shown}'.")
    major, minor = int(found[1]), int(found[2])
    if (major, minor) < LOWEST_PYTHON:
        raise InvalidParameterValue(f"The model asks for Python {major}.{minor}; 3.11 is the first that is served.")
    return f"{major}.{minor}"


def _own_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _version_here(distribution: str) -> str | None:
    try:
        return distributions.version(distribution)
    except distributions.PackageNotFoundError:
        return None


def _runtime(directory: Path, names: set[str]) -> list[str]:
    runtime = [line for line in RUNTIME if re.split("[<=>]", line)[0] not in names]
    if "skops" not in names and any(directory.glob("*.skops")):
        runtime.append("skops")
    return runtime


def _build(cache: Path, whole: Path, python: str, lines: RequirementLines) -> None:
    uv = _uv()
    partials, locks = private_directory(cache / "partial"), private_directory(cache / "locks")
    name = f"environment-{whole.name}"
    with locked(locks / name):
        # Whoever holds the lock is alive, so these are of the dead.
        for left_over in partials.glob(f"{name}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        if whole.exists():
            return
        partial = partials / f"{name}-{uuid.uuid4().hex}"
        _log.info("building an environment with Python %s and %s", python, ", ".join(lines.requirements))
        try:
            # The interpreter of this server saves a download when it is of the version that is wanted.
            interpreter = sys.executable if python == _own_python() else python
            _run([uv, "venv", "--no-config", "--no-project", "--python", interpreter, str(partial)], partials)
            told = partial / "requirements.txt"
            told.write_text("\n".join(lines.requirements) + "\n", encoding="utf-8")
            command = [
                uv,
                "pip",
                "install",
                "--no-config",
                "--python",
                str(partial / "bin" / "python"),
                "-r",
                str(told),
            ]
            if lines.constraints:
                constraints = partial / "constraints.txt"
                constraints.write_text("\n".join(lines.constraints) + "\n", encoding="utf-8")
                command += ["-c", str(constraints)]
            _run(command, partial)
            partial.rename(whole)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _run(command: list[str], directory: Path) -> None:
    # Not in the model's folder: what lies there must not configure uv.
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(  # noqa: S603 - a list of arguments, no shell
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        _log.error("uv could not build the environment of a model:\n%s", done.stderr)
        raise InternalError("The environment that the model asks for could not be built; the server's log says why.")


def _uv() -> str:
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise MissingPackage(
            "The environment of an isolated model is built with uv: install 'tiltyard[isolation]', "
            "or put uv on the PATH."
        )
    return found
