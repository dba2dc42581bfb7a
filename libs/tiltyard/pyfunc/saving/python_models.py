"""Python functions, classes and objects, saved with cloudpickle."""

import copy
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiltyard.environments import files as environment
from tiltyard.errors import InvalidParameterValue, MissingPackage
from tiltyard.pyfunc.format.mlmodel import PYFUNC, MLModel

LOADER_MODULE = "tiltyard_python_function"


def save_python(
    model: Any, directory: Path, description: MLModel, code: str | None, config: dict[str, Any] | None
) -> tuple[Callable[..., Any], list[str]]:
    try:
        import cloudpickle
    except ImportError:
        raise MissingPackage("Saving Python functions needs cloudpickle: pip install 'tiltyard[pyfunc]'.") from None
    from tiltyard.pyfunc.flavors import python_function

    settings: dict[str, Any] = {
        "cloudpickle_version": cloudpickle.__version__,
        "env": dict(environment.ENV),
        "python_version": platform.python_version(),
        **({"config": config} if config else {}),
    }
    description.fields["flavors"] = {PYFUNC: settings}
    if is_python_model(model):
        path = directory / "python_model.pkl"
        settings |= {"loader_module": "mlflow.pyfunc.model", "python_model": path.name, "code": code}
        dump_pickle(cloudpickle, model, path)
        from tiltyard.pyfunc.flavors.python_model import predictor_of

        predict = predictor_of(copy.copy(model), directory, description).predict
    else:
        if not callable(model) and not callable(getattr(model, "predict", None)):
            raise InvalidParameterValue(
                f"Cannot save a {type(model).__name__}: expected a scikit-learn estimator, a function, a class, or an "
                "object with a method 'predict'."
            )
        path = directory / "data" / python_function.FILE_NAME
        settings |= {"loader_module": LOADER_MODULE, "data": "data", "code": "code"}
        (directory / "code").mkdir(exist_ok=True)
        shutil.copyfile(Path(python_function.__file__), directory / "code" / f"{LOADER_MODULE}.py")
        path.parent.mkdir()
        dump_pickle(cloudpickle, model, path)
        predict = python_function.Function(model, config).predict
    found = environment.requirements_of_pickle(path, model)
    return predict, sorted({environment.pin("cloudpickle"), *found})


def is_python_model(model: Any) -> bool:
    return any(
        base.__name__ == "PythonModel" and base.__module__.startswith(("mlflow.", "tiltyard."))
        for base in type(model).__mro__
    )


def dump_pickle(module: Any, model: Any, path: Path) -> None:
    try:
        with path.open("wb") as file:
            # The default protocol, so that older Pythons can read it.
            module.dump(model, file, protocol=4)
    except Exception as error:
        # Author's code may raise anything.
        raise InvalidParameterValue(
            f"Failed to serialize the Python model: {type(error).__name__}: {str(error)[:200]}"
        ) from error
