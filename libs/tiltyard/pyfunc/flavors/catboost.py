"""CatBoost models in CatBoost's own files, which run no code when they are read.

Source: mlflow/catboost/__init__.py (_load_model, _CatboostModelWrapper) at v3.17.2.
"""

from pathlib import Path

from tiltyard.errors import InvalidParameterValue, quote
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.format.boosters.catboost.file import check_catboost
from tiltyard.pyfunc.format.mlmodel import MLModel, model_file

_KINDS = ("CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker")
# By each of these names CatBoost knows its own binary format.
_OWN_FORMATS = ("cbm", "catboost", "CatboostBinary")


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of a CatBoost model, whose own file is checked first. As upstream, params are not handed on."""
    flavor = metadata.flavors.get("catboost", {})
    path = model_file(directory, flavor.get("data") or metadata.pyfunc.get("data"))
    kind = str(flavor.get("model_type"))
    if kind not in _KINDS:
        raise InvalidParameterValue(f"Invalid 'model_type': {quote(kind)}. Expected one of {', '.join(_KINDS)}.")
    form = str(flavor.get("save_format") or "cbm")
    if form in _OWN_FORMATS:
        check_catboost(path.read_bytes())
    import catboost

    model = getattr(catboost, kind)()
    model.load_model(str(path.absolute()), form)
    # Each row goes through the trees by itself.
    return Predictor(model.predict, model, row_wise=True)
