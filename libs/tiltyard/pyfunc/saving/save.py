"""Writes a model directory that Tiltyard and MLflow both load.

Scikit-learn estimators get the `sklearn` flavor. Plain functions, classes and objects are pickled by
cloudpickle, with a loader module beside them that needs neither of the two to be installed.

Source: mlflow/sklearn/__init__.py and mlflow/pyfunc/__init__.py (save_model) at v3.17.2 for the files.
"""

import copy
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tiltyard.environments import files as environment
from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists
from tiltyard.pyfunc.format.mlmodel import FILE_NAME, MLModel
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.payload.input_example import save_example, split_params
from tiltyard.pyfunc.saving.estimators import is_estimator, save_estimator
from tiltyard.pyfunc.saving.python_models import save_python

_log = logging.getLogger(__name__)

Format: TypeAlias = Literal["skops", "cloudpickle", "pickle"]


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
    directory = _new_directory(Path(path))
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
        predict, found = save_estimator(model, directory, description, serialization_format, predict_fn, code)
    elif serialization_format is not None and serialization_format != "cloudpickle":
        raise InvalidParameterValue(
            f"Only scikit-learn estimators can be saved as '{serialization_format}'; Python functions and objects are "
            "saved with cloudpickle."
        )
    else:
        predict, found = save_python(model, directory, description, code, model_config)
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


def _infer(predict: Callable[..., Any], example: Any) -> Signature | None:
    """The signature that the example and the model's answer to it show; None if the model cannot answer it."""
    import numpy as np
    import pandas as pd

    from tiltyard.pyfunc.enforcement.enforce import enforce
    from tiltyard.pyfunc.flavors.module import takes_params
    from tiltyard.pyfunc.saving.infer import infer_params, infer_schema, infer_signature

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


def _new_directory(directory: Path) -> Path:
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
