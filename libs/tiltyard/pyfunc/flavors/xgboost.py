"""XGBoost models: boosters, and the estimators of its scikit-learn interface, in XGBoost's own files.

Source: mlflow/xgboost/__init__.py (_load_model, _XGBModelWrapper) at v3.17.2.
"""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.estimators import is_row_wise
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.format.boosters.xgboost_file import check_file
from tiltyard.pyfunc.format.mlmodel import MLModel, model_file

_BOOSTER = "xgboost.core.Booster"


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of a booster or an estimator, which sees the features of its fit or refuses."""
    flavor = metadata.flavors.get("xgboost", {})
    path = model_file(directory, flavor.get("data") or metadata.pyfunc.get("data"))
    import xgboost

    module, _, name = str(flavor.get("model_class") or _BOOSTER).rpartition(".")
    kind: Any = getattr(import_module(module), name, None) if module else None
    if not callable(getattr(kind, "load_model", None)):
        raise InvalidParameterValue(f"'{name[:80]}' is no class of XGBoost models ('model_class').")
    check_file(path.read_bytes())
    model = kind()
    model.load_model(path)

    accepted = inspect.signature(model.predict).parameters

    def predict(data: Any, params: dict[str, Any] | None = None) -> Any:
        known = {name: value for name, value in (params or {}).items() if name in accepted}
        if isinstance(model, xgboost.Booster):
            data = xgboost.DMatrix(data)
        return model.predict(data, **({"validate_features": True} | known))

    takes_params = metadata.signature is not None and metadata.signature.params is not None
    return Predictor(predict, model, takes_params=takes_params, row_wise=is_row_wise(model))
