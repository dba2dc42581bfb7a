"""What a failed import says: which package is missing, and what to install."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiltyard.errors import MissingPackage
from tiltyard.pyfunc.mlmodel import MLModel

# Where the name to install differs from the name to import.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "sklearn": "scikit-learn",
    "skops": "skops",
    "yaml": "pyyaml",
}


@contextmanager
def missing_packages(directory: Path, metadata: MLModel) -> Iterator[None]:
    """Turns a failed import into one error that names what to install.

    Raises:
        MissingPackage: within the block a module was not found.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        root = (error.name or "").partition(".")[0]
        if not root:
            raise MissingPackage(str(error)) from error
        loader = metadata.pyfunc["loader_module"]
        wanted = _pinned(directory, _DISTRIBUTIONS.get(root, root))
        raise MissingPackage(
            f"The model (loader '{loader}') needs the package '{root}', which is not installed: pip install '{wanted}'."
        ) from error


def _pinned(directory: Path, distribution: str) -> str:
    """The model's own requirement for the distribution, if it has one."""
    try:
        lines = (directory / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return distribution
    wanted = _normal(distribution)
    for line in lines:
        requirement = line.partition("#")[0].partition(";")[0].strip()
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        if name and _normal(name.group()) == wanted:
            return requirement
    return distribution


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
