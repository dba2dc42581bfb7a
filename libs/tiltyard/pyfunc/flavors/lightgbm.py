"""LightGBM models: boosters in LightGBM's own text files, estimators in pickles and skops files.

Source: mlflow/lightgbm/__init__.py (_load_model, _LGBModelWrapper) at v3.17.2.
"""

from pathlib import Path

from tiltyard.pyfunc.estimators import is_row_wise
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.flavors.sklearn import load_estimator
from tiltyard.pyfunc.format.boosters.lightgbm_text import check_text
from tiltyard.pyfunc.format.mlmodel import MLModel, model_file

_BOOSTER = "lightgbm.basic.Booster"

# What estimators in skops files are made of; a booster restores itself from its text, without running code of it.
_TRUSTED = (
    "collections.OrderedDict",
    "collections.defaultdict",
    _BOOSTER,
    *(f"lightgbm.sklearn.{name}" for name in ("LGBMClassifier", "LGBMModel", "LGBMRanker", "LGBMRegressor")),
)


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of a booster or an estimator. As upstream, params are not handed on."""
    flavor = metadata.flavors.get("lightgbm", {})
    path = model_file(directory, flavor.get("data") or metadata.pyfunc.get("data"))
    import lightgbm

    if str(flavor.get("model_class") or _BOOSTER) == _BOOSTER:
        check_text(path.read_bytes())
        model = lightgbm.Booster(model_file=path)
    else:
        form = str(flavor.get("serialization_format") or "cloudpickle")
        model = load_estimator(path, form, trusted_types=_TRUSTED)
    return Predictor(model.predict, model, row_wise=is_row_wise(model))
