"""Estimators of scikit-learn, saved as pickles or skops files."""

import platform
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

from tiltyard.environments import files as environment
from tiltyard.errors import InvalidParameterValue, TiltyardError
from tiltyard.pyfunc.format.mlmodel import PYFUNC, MLModel
from tiltyard.pyfunc.saving.python_models import dump_pickle

_PREDICT_FUNCTIONS = ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba", "score")


def is_estimator(model: Any) -> bool:
    """Whether `model` is a scikit-learn estimator; loads no scikit-learn to find out."""
    base = sys.modules.get("sklearn.base")
    return base is not None and isinstance(model, base.BaseEstimator)


def save_estimator(
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
    dump_pickle(module, model, directory / _estimator_file(used))
    return used, []


def _dump_skops(model: Any, path: Path) -> list[str]:
    import skops.io

    from tiltyard.pyfunc.format.skops_file import load_skops, types_beyond_skops

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
