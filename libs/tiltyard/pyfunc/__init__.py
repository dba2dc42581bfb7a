"""Python-function models: what they take, how they are read and written, and how an input is checked.

Everything is imported on first use, so that importing this package loads neither numpy nor pandas.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tiltyard.errors import MissingPackage

if TYPE_CHECKING:
    from tiltyard.pyfunc.format.mlmodel import MLModel
    from tiltyard.pyfunc.format.signature import Signature
    from tiltyard.pyfunc.model import PyFunc, load
    from tiltyard.pyfunc.payload.data import Payload
    from tiltyard.pyfunc.saving.infer import infer_signature
    from tiltyard.pyfunc.saving.save import save_model
    from tiltyard.pyfunc.schema import Schema

_EXPORTS = {
    "MLModel": "format.mlmodel",
    "Payload": "payload.data",
    "PyFunc": "model",
    "Schema": "schema",
    "Signature": "format.signature",
    "infer_signature": "saving.infer",
    "load": "model",
    "save_model": "saving.save",
}

__all__ = ["MLModel", "Payload", "PyFunc", "Schema", "Signature", "infer_signature", "load", "save_model"]

_DATA_PACKAGES = ("numpy", "pandas")
# What the extra `pyfunc` brings.
_PACKAGES = (*_DATA_PACKAGES, "cloudpickle")


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "load" and any(map(_is_missing, _DATA_PACKAGES)):
        # What reads a model imports them later, in the midst of its work.
        raise _missing_packages()
    try:
        module = import_module(f"{__name__}.{_EXPORTS[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise _missing_packages() from error
    return getattr(module, name)


def _missing_packages() -> MissingPackage:
    missing = [package for package in _PACKAGES if _is_missing(package)]
    return MissingPackage(
        f"Models need {', '.join(missing)}: pip install 'tiltyard[pyfunc]', or the extra of the model's library, "
        "such as 'tiltyard[sklearn]'."
    )


def _is_missing(package: str) -> bool:
    try:
        return find_spec(package) is None
    except ValueError:
        return True
