"""Plain Python functions, classes and objects saved by Tiltyard."""

from pathlib import Path

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.flavors.module import predictor_of
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.pyfunc.own_code.pickles import Unpickler
from tiltyard.uri import contain


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of a pickled function or object. Unpickling runs the author's code."""
    settings = metadata.pyfunc
    path = contain(directory, str(settings.get("data") or ""), parameter="data")
    from tiltyard.pyfunc.flavors.python_function import FILE_NAME, Function

    with (path / FILE_NAME).open("rb") as file:
        target = Unpickler(file).load()
    try:
        wrapper = Function(target, settings.get("config"))
    except TypeError as error:
        raise InvalidParameterValue(f"The saved Python object cannot predict: {str(error)[:200]}") from None
    return predictor_of(wrapper)
