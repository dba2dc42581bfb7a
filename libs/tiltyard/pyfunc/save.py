"""Writes a model directory that Tiltyard and MLflow both load.

Scikit-learn estimators get the `sklearn` flavor. Plain functions, classes and objects are pickled by
cloudpickle, with a loader module beside them that needs neither of the two to be installed.

Source: mlflow/sklearn/__init__.py and mlflow/pyfunc/__init__.py (save_model) at v3.17.2 for the files.
"""

import copy
import logging
import platform
import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from importlib import metadata as distributions
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tiltyard.errors import InvalidParameterValue, MissingPackage, ResourceAlreadyExists, TiltyardError
from tiltyard.pyfunc import environment
from tiltyard.pyfunc.example import save_example, split_params
from tiltyard.pyfunc.mlmodel import FILE_NAME, PYFUNC, MLModel
from tiltyard.pyfunc.signature import Signature

_log = logging.getLogger(__name__)

Format: TypeAlias = Literal["skops", "cloudpickle", "pickle"]

LOADER_MODULE = "tiltyard_python_function"
_PREDICT_FUNCTIONS = ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba", "score")


def save_model(
    model: Any,
    path: Path | str,
    *,
    signature: Signature | Literal[False] | None = None,
    input_example: Any = None,
    serialization_format: Format | None = None,
    predict_fn: str = "predict",
    metadata: dict[str, Any] | None = None,
    model_config: dict[str, Any] | None = None,
    code_paths: Sequence[Path | str] = (),
    pip_requirements: Sequence[str] | None = None,
    extra_pip_requirements: Sequence[str] = (),
    run_id: str | None = None,
    model_id: str | None = None,
    artifact_path: str | None = None,
) -> MLModel:
    """Saves a scikit-learn estimator, a function, a class or an object with `predict`; returns its MLmodel.

    Args:
        path: a directory that does not exist yet, or is empty.
        signature: inferred from the input example when None; False leaves it out.
        input_example: data, or (data, params); saved with the model, and used to infer the signature.
        serialization_format: of an estimator. By default skops, if the file then holds only types that
            are trusted without asking, else cloudpickle.
        predict_fn: of an estimator: the method that predicts.
        metadata: the author's own; `tiltyard.row_wise: true` says that rows do not depend on each other.
        model_config: given to a PythonModel's context, and to the `model_config` of other loaders.
        code_paths: files or directories that the model imports, copied into its `code` directory.
        pip_requirements, extra_pip_requirements: instead of, or beside, those that are found by looking.
        run_id, model_id, artifact_path: recorded in MLmodel when the model is logged.

    Raises:
        ResourceAlreadyExists: the directory holds files.
        InvalidParameterValue: the model cannot predict or cannot be serialized, or an argument is wrong.
        PermissionDenied: skops was asked for, and the estimator holds types that are not trusted.
    """
    directory = _prepare(Path(path))
    description = MLModel.new(mlflow_version=environment.mlflow_version())
    fields = description.fields
    code = _copy_code(code_paths, directory)
    if input_example is not None:
        fields["saved_input_example_info"] = save_example(input_example, directory)
    if metadata is not None:
        fields["metadata"] = metadata
    for key, value in (("run_id", run_id), ("artifact_path", artifact_path)):
        if value is not None:
            fields[key] = value
    if model_id is not None:
        fields["model_id"] = fields["model_uuid"] = model_id

    if is_estimator(model):
        predict, found = _save_estimator(model, directory, description, serialization_format, predict_fn, code)
    elif serialization_format is not None and serialization_format != "cloudpickle":
        raise InvalidParameterValue(
            f"Only scikit-learn estimators can be saved as '{serialization_format}'; Python functions and objects are "
            "saved with cloudpickle."
        )
    else:
        predict, found = _save_python(model, directory, description, code, model_config)
    if signature is None and input_example is not None:
        signature = _infer(predict, input_example)
    if signature:
        fields["signature"] = signature.to_dict()
        fields["is_signature_from_type_hint"] = signature.from_type_hint
        fields["type_hint_from_example"] = signature.type_hint_from_example
    files = (file for file in directory.rglob("*") if file.is_file())
    fields["model_size_bytes"] = sum(file.stat().st_size for file in files)
    requirements = found if pip_requirements is None else list(pip_requirements)
    environment.write_environment(directory, [*requirements, *extra_pip_requirements])
    description.save(directory)
    return description


def is_estimator(model: Any) -> bool:
    """Whether `model` is a scikit-learn estimator; loads no scikit-learn to find out."""
    base = sys.modules.get("sklearn.base")
    return base is not None and isinstance(model, base.BaseEstimator)


def _save_estimator(
    model: Any,
    directory: Path,
    description: MLModel,
    serialization_format: str | None,
    predict_fn: str,
    code: str | None,
) -> tuple[Callable[..., Any], list[str]]:
    if predict_fn not in _PREDICT_FUNCTIONS:
        raise InvalidParameterValue(
            f"Parameter 'predict_fn' must be one of {', '.join(_PREDICT_FUNCTIONS)}, got '{predict_fn[:80]}'."
        )
    predict = getattr(model, predict_fn, None)
    if predict is None:
        raise InvalidParameterValue(f"The estimator {type(model).__name__} has no method '{predict_fn}'.")
    used, beyond = _dump_estimator(model, directory, serialization_format)
    name = _estimator_file(used)
    description.fields["flavors"] = {
        PYFUNC: {
            "env": dict(environment.ENV),
            "loader_module": "mlflow.sklearn",
            "model_path": name,
            "predict_fn": predict_fn,
            "python_version": platform.python_version(),
            **({"code": code} if code else {}),
        },
        "sklearn": {
            "code": code,
            "pickled_model": name,
            "serialization_format": used,
            # Read by MLflow alone, which would refuse the file without it.
            "skops_trusted_types": beyond or None,
            "sklearn_version": distributions.version("scikit-learn"),
        },
    }
    found = [environment.pin(package) for package in ("numpy", "pandas", "scikit-learn", "scipy")]
    if used != "pickle":
        found.append(environment.pin(used))
    if used != "skops":
        found += environment.requirements_of_pickle(directory / name)
    return predict, sorted(set(found))


def _estimator_file(serialization_format: str) -> str:
    return "model.skops" if serialization_format == "skops" else "model.pkl"


def _dump_estimator(model: Any, directory: Path, serialization_format: str | None) -> tuple[str, list[str]]:
    """The format that was used, and for skops the types in the file beyond those that skops trusts."""
    if serialization_format in (None, "skops"):
        try:
            return "skops", _dump_skops(model, directory / _estimator_file("skops"))
        except (TiltyardError, ImportError):
            (directory / _estimator_file("skops")).unlink(missing_ok=True)
            if serialization_format == "skops":
                raise
    used = serialization_format or "cloudpickle"
    if used == "cloudpickle":
        import cloudpickle as module
    elif used == "pickle":
        import pickle as module
    else:
        raise InvalidParameterValue(
            f"Unrecognized serialization format: '{used[:40]}'. Expected skops, cloudpickle or pickle."
        )
    _pickle(module, model, directory / _estimator_file(used))
    return used, []


def _dump_skops(model: Any, path: Path) -> list[str]:
    import skops.io

    from tiltyard.pyfunc.flavors.skops_file import load_skops, types_beyond_skops

    try:
        skops.io.dump(model, path, compression=zipfile.ZIP_DEFLATED)
    except Exception as error:
        # What is written says itself how, and may raise anything.
        raise InvalidParameterValue(
            f"The estimator cannot be saved as skops ({type(error).__name__}); functions and classes defined in a "
            "script or notebook need serialization_format='cloudpickle'."
        ) from error
    load_skops(path)
    return types_beyond_skops(path)


def _pickle(module: Any, model: Any, path: Path) -> None:
    try:
        with path.open("wb") as file:
            # The default protocol, so that older Pythons can read it.
            module.dump(model, file, protocol=4)
    except Exception as error:
        # As above.
        raise InvalidParameterValue(
            f"Failed to serialize the Python model: {type(error).__name__}: {str(error)[:200]}"
        ) from error


def _save_python(
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
    if _is_python_model(model):
        path = directory / "python_model.pkl"
        settings |= {"loader_module": "mlflow.pyfunc.model", "python_model": path.name, "code": code}
        _pickle(cloudpickle, model, path)
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
        _pickle(cloudpickle, model, path)
        predict = python_function.Function(model, config).predict
    found = environment.requirements_of_pickle(path, model)
    return predict, sorted({environment.pin("cloudpickle"), *found})


def _is_python_model(model: Any) -> bool:
    return any(
        base.__name__ == "PythonModel" and base.__module__.startswith(("mlflow.", "tiltyard."))
        for base in type(model).__mro__
    )


def _prepare(directory: Path) -> Path:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ResourceAlreadyExists(f"Path '{directory.name}' already exists and is not empty.")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _copy_code(paths: Sequence[Path | str], directory: Path) -> str | None:
    """Copies sources into the model's `code` directory; returns its name, or None if there is none."""
    if isinstance(paths, str | Path):
        raise InvalidParameterValue("Parameter 'code_paths' must be a list of paths.")
    for path in map(Path, paths):
        target = directory / "code" / path.name
        if not path.exists():
            raise InvalidParameterValue(f"Parameter 'code_paths' names a path that does not exist: '{path}'.")
        if (directory / FILE_NAME).parent.resolve().is_relative_to(path.resolve()):
            raise InvalidParameterValue("Parameter 'code_paths' names a directory that holds the model's own path.")
        target.parent.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copyfile(path, target)
    return "code" if paths else None


def _infer(predict: Callable[..., Any], example: Any) -> Signature | None:
    """The signature that the example and the model's answer to it show; None if the model cannot answer it."""
    import numpy as np
    import pandas as pd

    from tiltyard.pyfunc.enforce import enforce
    from tiltyard.pyfunc.flavors.module import takes_params
    from tiltyard.pyfunc.infer import infer_params, infer_schema, infer_signature

    data, params = split_params(copy.deepcopy(example))
    try:
        inputs = infer_schema(data)
        declared = infer_params(params) if params else None
        given = {"params": params} if takes_params(predict) else {}
        answer = predict(enforce(data, inputs), **given)
    except Exception as error:
        # Author's code may raise anything; a model without a signature is still a model.
        _log.warning("The signature is not inferred, because the model fails on its input example: %r", error)
        return None
    if inputs.columns and isinstance(answer, np.ndarray) and answer.ndim == 1:
        # One answer per row is a column.
        answer = pd.Series(answer)
    return Signature(inputs, infer_signature(model_output=answer).outputs, declared)
