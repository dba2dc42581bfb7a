"""What stands in for MLflow's own names when a model that uses them is loaded.

A pickled PythonModel names its base class, the wrapper around `predict` and a record of type hints; a model
from code imports `mlflow` to register itself. That is all most models ask of MLflow, so it need not be
installed. Names that are not here are looked up in MLflow if it is installed, and are an error if not.

Source: mlflow/pyfunc/model.py, mlflow/models/model_config.py, mlflow/pyfunc/utils/data_validation.py at v3.17.2.
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import yaml

from tiltyard.errors import InvalidModelInput
from tiltyard.pyfunc.enforcement import type_hints
from tiltyard.pyfunc.enforcement.type_hints import TypeFromExample, input_hint


class TypeHints:
    """The type hints of a `predict`."""

    def __init__(self, input_: Any = None, output: Any = None) -> None:
        self.input = input_
        self.output = output


class PythonModelContext:
    """What a PythonModel sees beside its input: paths of its artifacts, and its configuration."""

    def __init__(self, artifacts: dict[str, str], model_config: dict[str, Any] | None) -> None:
        self.artifacts = artifacts
        self.model_config = model_config


class PythonModel:
    """The base class of models that are Python objects."""

    def load_context(self, context: PythonModelContext) -> None:
        """Called once, after the model was read."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """Overridden by every model."""
        raise NotImplementedError

    def predict_stream(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """Overridden by models that stream."""
        raise NotImplementedError

    @property
    def predict_type_hints(self) -> TypeHints:
        """The hints that were saved with the model, else those of its `predict`."""
        return self.__dict__.get("_predict_type_hints") or TypeHints(input_hint(self.predict))


class FunctionPythonModel(PythonModel):
    """A plain function as a model."""

    def __init__(self, func: Callable[..., Any], signature: Any = None) -> None:
        self.func = func
        self.signature = signature

    @property
    def predict_type_hints(self) -> TypeHints:
        """The hints of the function."""
        return self.__dict__.get("_predict_type_hints") or TypeHints(input_hint(self.func))

    def predict(self, model_input: Any, params: Any = None) -> Any:  # type: ignore[override]  # as upstream's
        """What the function says."""
        del params
        return self.func(model_input)


def validate_model_input(args: Any, kwargs: Any, index: int, hint: Any, name: str) -> Any:
    """The arguments with the input checked. Raises: RefusedInput, which the model's own wrapper lets through."""
    try:
        return type_hints.validate_model_input(args, kwargs, index, hint, name)
    except InvalidModelInput as error:
        raise RefusedInput(error.message) from None


class FuncInfo(NamedTuple):
    """The hint and the name of the input of a wrapped `predict`."""

    input_type_hint: Any
    input_param_name: str


class MlflowException(Exception):
    """What a model's own code may raise."""

    def __init__(self, message: Any = "", **_: Any) -> None:
        super().__init__(message)
        self.message = str(message)

    @classmethod
    def invalid_parameter_value(cls, message: str, **_: Any) -> "MlflowException":
        """One for a bad argument."""
        return cls(message)


class RefusedInput(MlflowException, InvalidModelInput):
    """The refusal of an input, as the kind of exception that a model's own code expects."""

    def __init__(self, message: str) -> None:
        InvalidModelInput.__init__(self, message)


class ModelConfig:
    """The configuration that was saved with a model from code, or the author's own during development."""

    current: ClassVar[Any] = None

    def __init__(self, *, development_config: Any = None) -> None:
        config = development_config if ModelConfig.current is None else ModelConfig.current
        if not config:
            raise FileNotFoundError("Config file is not provided which is needed to load the model.")
        if not isinstance(config, dict):
            with open(config, encoding="utf-8") as file:  # noqa: PTH123 - the author may pass any kind of path
                config = yaml.safe_load(file)
        self.config: dict[str, Any] = config

    def get(self, key: str) -> Any:
        """The value of a key. Raises: KeyError."""
        return self.config[key]

    def to_dict(self) -> dict[str, Any]:
        """All of it."""
        return self.config


class Inert:
    """A record that nothing reads, such as the copy of the signature inside a pickled function model."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Inert":
        return object.__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass


class _InertNames(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Inert()


class InertEnum(Inert, metaclass=_InertNames):
    """An enum that nothing reads: any member of it is there."""


def pyfunc(func: Callable[..., Any]) -> Callable[..., Any]:
    """The decorator that checks a function's input against its hint."""
    hint = input_hint(func)
    name = next(iter(func.__annotations__), "")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if hint is not None:
            args, kwargs = validate_model_input(args, kwargs, 0, hint, name)
        return func(*args, **kwargs)

    return wrapper


_RECORDS = (
    "AnyType",
    "Array",
    "ColSpec",
    "Map",
    "Object",
    "ParamSchema",
    "ParamSpec",
    "Property",
    "Schema",
    "SparkMLVector",
    "TensorInfo",
    "TensorSpec",
)

# Module to name to what stands in for it.
NAMES: dict[str, dict[str, Any]] = {
    "mlflow.pyfunc.model": {
        "PythonModel": PythonModel,
        "_FunctionPythonModel": FunctionPythonModel,
        "PythonModelContext": PythonModelContext,
    },
    "mlflow.pyfunc": {"PythonModel": PythonModel, "PythonModelContext": PythonModelContext},
    "mlflow.pyfunc.utils": {"pyfunc": pyfunc},
    "mlflow.pyfunc.utils.data_validation": {
        "FuncInfo": FuncInfo,
        "_validate_model_input": validate_model_input,
        "pyfunc": pyfunc,
    },
    "mlflow.exceptions": {"MlflowException": MlflowException},
    "mlflow.models": {"ModelConfig": ModelConfig},
    "mlflow.models.model_config": {"ModelConfig": ModelConfig},
    "mlflow.models.signature": {"_TypeHints": TypeHints, "ModelSignature": Inert},
    "mlflow.types": {"DataType": InertEnum},
    "mlflow.types.schema": {"DataType": InertEnum, **dict.fromkeys(_RECORDS, Inert)},
    "mlflow.types.type_hints": {"TypeFromExample": TypeFromExample},
}
