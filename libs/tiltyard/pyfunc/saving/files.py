"""The files of a model directory as they are written."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists
from tiltyard.pyfunc.format.mlmodel import FILE_NAME


def dump_pickle(module: Any, model: Any, path: Path) -> None:
    try:
        with path.open("wb") as file:
            # The default protocol, so that older Pythons can read it.
            module.dump(model, file, protocol=4)
    except Exception as error:
        # As above.
        raise InvalidParameterValue(
            f"Failed to serialize the Python model: {type(error).__name__}: {str(error)[:200]}"
        ) from error


def new_directory(directory: Path) -> Path:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ResourceAlreadyExists(f"Path '{directory.name}' already exists and is not empty.")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def copy_code(paths: Sequence[Path | str], directory: Path) -> str | None:
    """Copies sources into the model's `code` directory; returns its name, or None if there is none."""
    if isinstance(paths, str | Path):
        raise InvalidParameterValue("Parameter 'code_paths' must be a list of paths.")
    for path in map(Path, paths):
        target = directory / "code" / path.name
        if not path.exists():
            raise InvalidParameterValue(f"Parameter 'code_paths' names a path that does not exist: '{path}'.")
        if (directory / FILE_NAME).parent.resolve().is_relative_to(path.resolve()):
            raise InvalidParameterValue("Parameter 'code_paths' names a directory that holds the model's own path.")
        target.parent.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copyfile(path, target)
    return "code" if paths else None
