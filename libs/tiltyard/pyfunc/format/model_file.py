"""The file of a flavor's own that holds the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.uri import contain


def model_file(directory: Path, metadata: MLModel, flavor: Mapping[str, Any]) -> Path:
    """The file that the flavor, or else the python_function entry, names as `data`.

    Raises:
        InvalidParameterValue: neither names one, or it lies outside the directory.
        ResourceDoesNotExist: it is missing.
    """
    name = flavor.get("data") or metadata.pyfunc.get("data")
    if not isinstance(name, str):
        raise InvalidParameterValue("The MLmodel file does not say where the model is ('data').")
    path = contain(directory, name, parameter="data")
    if not path.is_file():
        raise ResourceDoesNotExist(f"The model's file '{name[:80]}' is missing.")
    return path
