"""The environment files beside a model: requirements.txt, conda.yaml and python_env.yaml.

Source: mlflow/utils/environment.py at v3.17.2 for their form.
"""

import dis
import functools
import importlib.metadata as distributions
import pickletools
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import yaml

from tiltyard.environments.requirements import installed_version

# The release whose model format this package writes; pinned when no release is installed.
MLFLOW_VERSION = "3.17.2"

CONDA_FILE = "conda.yaml"
PYTHON_ENV_FILE = "python_env.yaml"
REQUIREMENTS_FILE = "requirements.txt"
ENV = {"conda": CONDA_FILE, "virtualenv": PYTHON_ENV_FILE}


def mlflow_version() -> str:
    """The installed MLflow's version, else the release whose format is written."""
    return installed_version("mlflow") or MLFLOW_VERSION


def pin(distribution: str) -> str:
    """`name==version` of what is installed, or the bare name."""
    version = installed_version(distribution)
    return distribution if version is None else f"{distribution}=={version}"


def write_environment(directory: Path, requirements: Iterable[str]) -> None:
    """Writes the three files; MLflow itself comes first in the list, unless the list names it."""
    wanted = list(dict.fromkeys(requirements))
    if not any(line.split("[")[0].startswith("mlflow") for line in wanted):
        wanted.insert(0, f"mlflow=={mlflow_version()}")
    python = platform.python_version()
    conda = {
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": wanted}],
        "name": "mlflow-env",
    }
    python_env = {
        "python": python,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": [f"-r {REQUIREMENTS_FILE}"],
    }
    (directory / REQUIREMENTS_FILE).write_text("\n".join(wanted), encoding="utf-8")
    (directory / CONDA_FILE).write_text(yaml.safe_dump(conda, default_flow_style=False), encoding="utf-8")
    text = yaml.safe_dump(python_env, default_flow_style=False, sort_keys=False)
    (directory / PYTHON_ENV_FILE).write_text(text, encoding="utf-8")


def requirements_of_pickle(path: Path, model: Any = None) -> list[str]:
    """Pins of the packages whose modules a pickle names, or that the functions in `model` import."""
    modules = set(_modules_in_pickle(path.read_bytes())) | set(_imports_of(model))
    return requirements_of_modules(modules)


def requirements_of_modules(modules: Iterable[str]) -> list[str]:
    """Pins of the packages that hold the modules; the standard library and the author's own are left out."""
    roots = {name.partition(".")[0] for name in modules} - {"mlflow", "tiltyard", "tests"}
    roots -= set(sys.stdlib_module_names)
    if not roots:
        return []
    packages = _packages(tuple((place, _changed_ns(place)) for place in sys.path))
    return sorted({pin(packages[root][0]) for root in roots if root in packages})


def _modules_in_pickle(data: bytes) -> Iterator[str]:
    """Modules of the names in the pickle, and those that cloudpickle imports whole."""
    texts: list[str] = []
    imports = False
    for opcode, argument, _ in pickletools.genops(data):
        if isinstance(argument, str):
            if opcode.name in ("GLOBAL", "INST"):
                yield argument.partition(" ")[0]
            texts.append(argument)
            imports = imports or argument == "subimport"
        elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
            yield texts[-2]
    if imports:
        # The argument of `subimport` is a text like any other; a text that is the name of a module that is
        # loaded here is taken for one.
        yield from (text for text in texts if text in sys.modules)


def _imports_of(model: Any) -> Iterator[str]:
    for function in (model, *vars(model if isinstance(model, type) else type(model)).values()):
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            yield from _imports_of_code(code)


def _imports_of_code(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imports_of_code(constant)


@functools.lru_cache(maxsize=1)
def _packages(_places: tuple[tuple[str, int | None], ...]) -> Mapping[str, list[str]]:
    """The distributions that hold each top-level module. To read them all takes long, so it is done once for each
    state of the places that modules come from: what is installed or removed changes its folder.
    """
    return distributions.packages_distributions()


def _changed_ns(place: str) -> int | None:
    try:
        return Path(place).stat().st_mtime_ns
    except OSError:
        return None
