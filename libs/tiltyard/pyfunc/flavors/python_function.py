"""Loads a plain Python function, class or object that was saved as a model with cloudpickle.

Stands alone: this file is also written into the `code` directory of every model of this kind, as
`tiltyard_python_function.py`, so that a reader without Tiltyard can load the model.
"""

import inspect
from pathlib import Path
from typing import Any

FILE_NAME = "model.pkl"


class Function:
    """`predict` over a function, an object with `predict`, or a class that makes one when called.

    Raises:
        TypeError: it is none of these.
    """

    def __init__(self, target: Any, model_config: Any = None) -> None:
        if inspect.isclass(target):
            target = target()
        self.target = target
        self.model_config = model_config
        self.function = getattr(target, "predict", target)
        if not callable(self.function):
            raise TypeError("expected a function, or an object with a method 'predict'")
        self.takes_params = "params" in inspect.signature(self.function).parameters

    def predict(self, model_input: Any, params: Any = None) -> Any:
        """What the saved function says about `model_input`; it gets `params` if it has such an argument."""
        if self.takes_params:
            return self.function(model_input, params=params)
        return self.function(model_input)


def _load_pyfunc(path: str, model_config: Any = None) -> Function:
    """The object with `predict(model_input, params=None)` over what was saved in the directory `path`."""
    import cloudpickle

    with (Path(path) / FILE_NAME).open("rb") as file:
        return Function(cloudpickle.load(file), model_config)
