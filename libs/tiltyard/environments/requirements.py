"""What a model asks for: a Python, and packages in certain releases."""

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from importlib import metadata as distributions
from pathlib import Path
from typing import Any, NamedTuple

from tiltyard.environments.requirement_lines import RequirementLines, normal_name, read_text
from tiltyard.errors import InvalidParameterValue
from tiltyard.model_yaml import read_yaml

_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?P<specifier>[=<>!~][^;@]*)?(?:;(?P<marker>.*))?"
)
_PIN = re.compile(r"===?\s*([^,\s*]+)")
_PYTHON = re.compile(r"(\d+)\.(\d+)(\.\d+)?")


class EnvironmentSpec(NamedTuple):
    """A Python, as `MAJOR.MINOR`, packages, and what else one environment has otherwise than another."""

    python: str
    lines: RequirementLines
    beside: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """What tells it from all others."""
        return hashlib.sha256(json.dumps([self.python, *self.lines.keys, *self.beside]).encode()).hexdigest()


class Requirement(NamedTuple):
    """One line of a requirements file: the distribution's normal name, and how its release is bounded."""

    name: str
    specifier: str

    def __str__(self) -> str:
        return f"{self.name}{self.specifier}"

    @property
    def pinned(self) -> str | None:
        """The one release that it allows, or None."""
        found = _PIN.fullmatch(self.specifier)
        return found[1] if found else None


def of_model(directory: Path) -> EnvironmentSpec:
    """What `python_env.yaml` says, else `requirements.txt`, else nothing in particular.

    Build dependencies are left out: uv brings its own.

    Raises:
        InvalidParameterValue: the model's files ask for something that cannot be.
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
    return EnvironmentSpec(_python(python), RequirementLines(directory, told))


def installed_version(distribution: str) -> str | None:
    """The version of a distribution that is installed here; None if there is none."""
    try:
        return distributions.version(distribution)
    except distributions.PackageNotFoundError:
        return None


def own_python() -> str:
    """The `MAJOR.MINOR` of this process."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def requirements_file(directory: Path) -> list[str]:
    """The lines of a model's requirements file; none when it has no such file, or one that cannot be read."""
    try:
        return (directory / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def specifiers(lines: Iterable[str]) -> list[Requirement]:
    """What lines of a requirements file name and holds here, without options, paths and URLs."""
    found = (_LINE.fullmatch(line.partition(" #")[0].strip()) for line in lines)
    return [
        Requirement(normal_name(match["name"]), "".join((match["specifier"] or "").split()))
        for match in found
        if match is not None and _holds(match["marker"])
    ]


def _python(told: Any) -> str:
    if told is None:
        return own_python()
    found = _PYTHON.fullmatch(str(told)) if isinstance(told, str | int | float) else None
    if found is None:
        shown = str(told)[:40] if isinstance(told, str | int | float) else type(told).__name__
        raise InvalidParameterValue(f"The model's python_env.yaml names no version of Python: '{shown}'.")
    return f"{int(found[1])}.{int(found[2])}"


def _holds(marker: str | None) -> bool:
    """Whether a line with this marker counts here; a marker that cannot be judged says no."""
    if marker is None:
        return True
    try:
        from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
    except ImportError:
        return False
    try:
        return Marker(marker).evaluate()
    except (InvalidMarker, UndefinedEnvironmentName):
        return False
