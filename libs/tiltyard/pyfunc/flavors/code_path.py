"""The model's own Python sources."""

from pathlib import Path

from tiltyard.pyfunc.mlmodel import MLModel


def add_code_path(directory: Path, metadata: MLModel) -> None:
    """Nothing is left to do: `tiltyard.pyfunc.load` gives every model its own modules."""
    del directory, metadata
