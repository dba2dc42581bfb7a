"""Scikit-learn estimators: pickle, cloudpickle and skops files.

Source: mlflow/sklearn/__init__.py (_load_pyfunc) at v3.17.2. As there, a flavor without `serialization_format`
is a pickle. Unlike there, the list of types that a skops file may hold is never the model's own.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.estimators import is_row_wise, of_one_column, reads_texts
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.flavors.module import predictor_of
from tiltyard.pyfunc.format.mlmodel import MLModel, model_file
from tiltyard.pyfunc.own_code.pickles import Unpickler

FORMATS = ("skops", "cloudpickle", "pickle")


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of an estimator. A pickle runs its author's code; a skops file does not."""
    settings = metadata.pyfunc
    flavor = metadata.flavors.get("sklearn", {})
    name = settings.get("model_path") or flavor.get("pickled_model")
    path = model_file(directory, name, parameter="model_path")
    estimator = load_estimator(path, str(flavor.get("serialization_format") or "pickle"))
    method = str(settings.get("predict_fn") or "predict")
    predictor = predictor_of(estimator, method)
    # `score` has one answer for all rows.
    row_wise = method in ("predict", "predict_proba", "predict_log_proba") and is_row_wise(estimator)
    predict = of_one_column(predictor.predict) if reads_texts(estimator) else predictor.predict
    return Predictor(predict, estimator, takes_params=False, row_wise=row_wise)


def load_estimator(path: Path, serialization_format: str, *, trusted_types: Iterable[str] = ()) -> Any:
    """The estimator in a file of the format; `trusted_types` are what a skops file may hold besides our own list.

    Raises:
        PermissionDenied: a skops file holds types that are not trusted.
        InvalidParameterValue: unknown format, or a file that is not in it.
    """
    if serialization_format == "skops":
        from tiltyard.pyfunc.format.skops_file import load_skops

        return load_skops(path, trusted_types=trusted_types)
    if serialization_format not in FORMATS:
        raise InvalidParameterValue(
            f"Unrecognized serialization format: '{serialization_format[:40]}'. Expected one of {', '.join(FORMATS)}."
        )
    if serialization_format == "cloudpickle":
        import cloudpickle  # noqa: F401 - the pickle names it
    # The caller trusts the directory: it is verified, or the operator named it.
    with path.open("rb") as file:
        return Unpickler(file).load()
