"""Python-function models: what they take, how they are read and written, and how an input is checked.

Everything is imported on first use, so that importing this package loads neither numpy nor pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiltyard.pyfunc import output, payload
    from tiltyard.pyfunc.infer import infer_signature
    from tiltyard.pyfunc.mlmodel import MLModel
    from tiltyard.pyfunc.model import PyFunc, load
    from tiltyard.pyfunc.payload import Payload
    from tiltyard.pyfunc.save import save_model
    from tiltyard.pyfunc.schema import Schema
    from tiltyard.pyfunc.signature import Signature

_EXPORTS = {
    "MLModel": "mlmodel",
    "Payload": "form",
    "PyFunc": "model",
    "Schema": "schema",
    "Signature": "signature",
    "infer_signature": "infer",
    "load": "model",
    "save_model": "save",
}
_MODULES = ("output", "payload")

__all__ = [
    "MLModel",
    "Payload",
    "PyFunc",
    "Schema",
    "Signature",
    "infer_signature",
    "load",
    "output",
    "payload",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
