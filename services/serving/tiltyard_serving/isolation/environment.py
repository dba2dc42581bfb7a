"""The Python that a model asks for: the server's own when that has all it needs, else one built by uv, once.

environments/<digest>/                one whole environment; it appears by a rename or not at all
partial/environment-<digest>-…/       builds in progress, or left by a killed process
locks/environment-<digest>            held by the one process that builds
"""

import hashlib
import json
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

import yaml
from filelock import FileLock
from packaging.requirements import InvalidRequirement, Requirement

from tiltyard.errors import InternalError, InvalidParameterValue, MissingPackage
from tiltyard.pyfunc import MLModel
from tiltyard.pyfunc.flavors import FLAVORS

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
_COMMENT = re.compile(r"(^|\s)#.*$")

_log = logging.getLogger(__name__)


class Environment(NamedTuple):
    """A Python interpreter, and what operators know it by: `server`, or the digest of what was asked for."""

    python: Path
    name: str


class _Wanted(NamedTuple):
    """What a model asks for; `python` is `MAJOR.MINOR`, `lines` are those of a requirements file."""

    python: str
    lines: tuple[str, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps([self.python, self.lines]).encode()).hexdigest()


def environment_of(directory: Path, cache: Path) -> Environment:
    """The environment of the model in `directory`, built below `cache` when it is not there yet.

    Builds are single: processes that want the same environment wait for the one that builds it.

    Raises:
        MissingPackage: there is no uv to build it with.
        InvalidParameterValue: the model's files ask for something that cannot be.
        InternalError: uv could not build it; the log says why.
    """
    wanted = _wanted(directory)
    if wanted.python == _own_python() and all(_is_here(line) for line in wanted.lines):
        return Environment(Path(sys.executable), _SERVER)
    wanted = wanted._replace(lines=(*wanted.lines, *_runtime(directory, wanted.lines)))
    whole = cache / "environments" / wanted.digest
    if not whole.exists():
        _build(cache, whole, wanted, directory)
    return Environment(whole / "bin" / "python", wanted.digest[:12])


def _wanted(directory: Path) -> _Wanted:
    """What `python_env.yaml` says, else `requirements.txt`, else nothing in particular.

    Build dependencies are left out: uv brings its own.
    """
    python, lines = None, ["-r requirements.txt"] if (directory / "requirements.txt").is_file() else []
    path = directory / "python_env.yaml"
    if path.is_file():
        try:
            told = yaml.safe_load(path.read_text(encoding="utf-8"))
            python, lines = told.get("python"), [str(line) for line in told.get("dependencies") or ()]
        except (yaml.YAMLError, UnicodeError, AttributeError, TypeError):
            raise InvalidParameterValue("The model's python_env.yaml cannot be read.") from None
    wanted = [line for told in lines for line in _expanded(directory, told)]
    if MLModel.load(directory).pyfunc["loader_module"] in WITHOUT_MLFLOW:
        wanted = [line for line in wanted if not _MLFLOW.match(line)]
    return _Wanted(_python(python), tuple(wanted))


def _expanded(directory: Path, line: str) -> list[str]:
    """The lines that `-r FILE` stands for, or the line itself."""
    match line.split():
        case ["-r" | "--requirement", name] if (directory / name).is_file() and Path(name).name == name:
            text = (directory / name).read_text(encoding="utf-8")
            return [bare for told in text.splitlines() if (bare := _COMMENT.sub("", told).strip())]
    return [line]


def _python(told: Any) -> str:
    if told is None:
        return _own_python()
    found = _PYTHON.fullmatch(str(told))
    if found is None:
        raise InvalidParameterValue(f"The model's python_env.yaml names no version of Python: '{str(told)[:40]}'.")
    major, minor = int(found[1]), int(found[2])
    if (major, minor) < LOWEST_PYTHON:
        raise InvalidParameterValue(f"The model asks for Python {major}.{minor}; 3.11 is the first that is served.")
    return f"{major}.{minor}"


def _own_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _is_here(line: str) -> bool:
    """Whether the server's own environment has what a line of a requirements file asks for."""
    try:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            return True
        here = distributions.version(wanted.name)
    except (InvalidRequirement, distributions.PackageNotFoundError):
        return False
    return wanted.url is None and wanted.specifier.contains(here, prereleases=True)


def _runtime(directory: Path, lines: tuple[str, ...]) -> list[str]:
    names = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower() for line in lines}
    runtime = [line for line in RUNTIME if re.split("[<=>]", line)[0] not in names]
    if "skops" not in names and any(directory.glob("*.skops")):
        runtime.append("skops")
    return runtime


def _build(cache: Path, whole: Path, wanted: _Wanted, directory: Path) -> None:
    uv = _uv()
    for folder in (whole.parent, cache / "partial", cache / "locks"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"environment-{wanted.digest}"
    with FileLock(cache / "locks" / name, mode=0o600, thread_local=False):
        # Whoever holds the lock is alive, so these are of the dead.
        for left_over in (cache / "partial").glob(f"{name}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        if whole.exists():
            return
        partial = cache / "partial" / f"{name}-{uuid.uuid4().hex}"
        _log.info("building an environment with Python %s and %s", wanted.python, ", ".join(wanted.lines))
        try:
            # The interpreter of this server saves a download when it is of the version that is wanted.
            python = sys.executable if wanted.python == _own_python() else wanted.python
            _run([uv, "venv", "--no-project", "--python", python, str(partial)], directory)
            lines = partial / "requirements.txt"
            lines.write_text("\n".join(wanted.lines) + "\n", encoding="utf-8")
            _run([uv, "pip", "install", "--python", str(partial / "bin" / "python"), "-r", str(lines)], directory)
            partial.rename(whole)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _run(command: list[str], directory: Path) -> None:
    # Lines may name files beside the model, so it runs there.
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
