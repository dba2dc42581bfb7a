"""What a model says of the packages it was made with, against what is installed here."""

import platform
from pathlib import Path
from typing import NamedTuple

from tiltyard.environments.requirements import Requirement, installed_version, requirements_file, specifiers
from tiltyard.pyfunc.format.mlmodel import MLModel

# One library under several names; each brings the same module.
_ALIKE = (
    ("mlflow", "mlflow-skinny"),
    ("xgboost", "xgboost-cpu"),
    ("onnxruntime", "onnxruntime-gpu"),
    ("tensorflow", "tensorflow-cpu"),
    ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    ("psycopg2", "psycopg2-binary"),
    ("pyspark", "pyspark-client", "databricks-connect"),
)
# Where a flavor writes the release of its library, beside the requirements file.
_RECORDED = {
    "scikit-learn": ("sklearn", "sklearn_version"),
    "xgboost": ("xgboost", "xgb_version"),
    "lightgbm": ("lightgbm", "lgb_version"),
    "catboost": ("catboost", "catboost_version"),
    "statsmodels": ("statsmodels", "statsmodels_version"),
    "torch": ("pytorch", "pytorch_version"),
    "pyspark": ("spark", "pyspark_version"),
    "cloudpickle": ("python_function", "cloudpickle_version"),
}


class Release(NamedTuple):
    """A library that was of another release when the model was saved."""

    name: str
    saved_with: str
    installed: str

    def __str__(self) -> str:
        return f"{self.name} {self.saved_with} (installed: {self.installed})"


def requirements(directory: Path) -> list[Requirement]:
    """What the model's requirements.txt names, without options, paths and URLs; empty if it cannot be read."""
    return specifiers(requirements_file(directory))


def other_releases(directory: Path, metadata: MLModel) -> list[Release]:
    """The libraries, and Python, whose release is not the one that the model was saved with."""
    saved = {wanted.name: wanted.pinned for wanted in requirements(directory) if wanted.pinned is not None}
    for name, (flavor, key) in _RECORDED.items():
        recorded = metadata.flavors.get(flavor, {}).get(key)
        if recorded is not None:
            saved.setdefault(name, str(recorded))
    found = [
        Release(name, version, installed)
        for name, version in saved.items()
        if not name.startswith("mlflow") and (installed := installed_release(name)) not in (None, version)
    ]
    python = str(metadata.flavors.get("python_function", {}).get("python_version") or "")
    if python and minor(python) != minor(platform.python_version()):
        found.append(Release("Python", python, platform.python_version()))
    return found


def installed_release(distribution: str) -> str | None:
    """The release of a distribution, or of one that brings the same module; None if there is none."""
    alike = next((names for names in _ALIKE if distribution in names), (distribution,))
    return next(filter(None, map(installed_version, (distribution, *alike))), None)


def minor(release: str) -> tuple[str, ...]:
    """The part of a release that says whether pickles can be expected to fit: `(major, minor)`."""
    return tuple(release.split(".")[:2])
