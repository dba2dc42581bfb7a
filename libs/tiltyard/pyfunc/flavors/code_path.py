"""The model's own Python sources, which it may import when its files are read and when it predicts."""

import sys
from pathlib import Path

from tiltyard.pyfunc.mlmodel import MLModel
from tiltyard.uri import contain


def add_code_path(directory: Path, metadata: MLModel) -> None:
    """Puts the model's `code` directory first on `sys.path`, if it has one, for as long as the process lives.

    It stays, because a model may import its own sources when it predicts.
    """
    code = metadata.pyfunc.get("code")
    if isinstance(code, str) and code:
        path = str(contain(directory, code, parameter="code"))
        if path in sys.path:
            sys.path.remove(path)
        sys.path.insert(0, path)
