"""Models from code: a Python file that registers its model with `mlflow.models.set_model`.

Without MLflow the file sees stand-ins for `mlflow`, `mlflow.models` and `mlflow.pyfunc`, while it runs.

Source: mlflow/models/utils.py (_load_model_code_path) at v3.17.2.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.flavors.python_model import predictor_of, uses_mlflow
from tiltyard.pyfunc.flavors.stand_ins import NAMES, FunctionPythonModel, ModelConfig
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.pyfunc.own_code.imports import Modules, asking
from tiltyard.pyfunc.own_code.modules import ModelModules
from tiltyard.uri import contain

# The file registers its model in a module's global, upstream's way, so only one may run at a time.
_running = threading.RLock()


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of the model that the file registers. Runs the author's code."""
    settings = metadata.pyfunc
    recorded = str(settings.get("model_code_path") or "")
    # The author's own absolute path; only its last part is in the model.
    name = PurePosixPath(PureWindowsPath(recorded).as_posix()).name
    path = contain(directory, name, parameter="model_code_path")
    if not name or not path.is_file():
        raise InvalidParameterValue("The model's code file is missing ('model_code_path').")
    with _running:
        model = _run(asking() or ModelModules.of_model(directory, metadata), path, settings.get("config"))
    if model is None:
        raise InvalidParameterValue("The model's code file does not call mlflow.models.set_model().")
    if callable(model) and not hasattr(model, "predict"):
        model = FunctionPythonModel(model)
    return predictor_of(model, directory, metadata)


def _run(modules: Modules, path: Path, config: Any) -> Any:
    registered = _with_mlflow(config) if _has_mlflow() else _with_stand_ins(config)
    with registered as read:
        modules.run(path, "__code_model__")
        return read()


def _has_mlflow() -> bool:
    try:
        return util.find_spec("mlflow") is not None
    except (ImportError, ValueError):
        return False


@contextmanager
def _with_mlflow(config: Any) -> Iterator[Any]:
    from mlflow.models import model as registry
    from mlflow.models import model_config

    registry.__mlflow_model__ = None
    vars(model_config)["__mlflow_model_config__"] = config or ""
    try:
        yield lambda: registry.__mlflow_model__
    finally:
        registry.__mlflow_model__ = None
        vars(model_config)["__mlflow_model_config__"] = None


@contextmanager
def _with_stand_ins(config: Any) -> Iterator[Any]:
    found: list[Any] = []
    modules = _modules(found)
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    # An empty text says: saved without a configuration, so that the author's development one is not used.
    ModelConfig.current = config or ""
    try:
        yield lambda: found[-1] if found else None
    finally:
        ModelConfig.current = None
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _modules(found: list[Any]) -> dict[str, ModuleType]:
    """Modules with the stand-ins, each reachable from the one above it."""
    modules = {name: ModuleType(name) for name in ("mlflow", *NAMES)}
    for name, module in modules.items():
        module.__path__ = []
        module.__dict__.update(NAMES.get(name, {}))
        module.__dict__["__getattr__"] = _missing(name)
        parent, _, last = name.rpartition(".")
        if parent in modules:
            setattr(modules[parent], last, module)
    for name in ("mlflow.models", "mlflow.models.model"):
        if name in modules:
            modules[name].__dict__["set_model"] = found.append
    return modules


def _missing(module: str) -> Any:
    def getter(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise uses_mlflow(f"{module}.{name}")

    return getter
