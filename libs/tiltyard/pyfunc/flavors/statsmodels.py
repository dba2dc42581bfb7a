"""Results of statsmodels, in its own pickles. Unpickling runs their author's code.

Source: mlflow/statsmodels/__init__.py (_load_model, _StatsmodelsModelWrapper) at v3.17.2.
"""

from pathlib import Path
from typing import Any

from tiltyard.errors import InvalidModelInput, InvalidParameterValue
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.format.mlmodel import MLModel, model_file


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of fitted results; of a time series it takes one row, the `start` and `end` of a forecast.

    Not row-wise: a formula may look at the whole column, and a series is of one row.
    """
    flavor = metadata.flavors.get("statsmodels", {})
    path = model_file(directory, flavor.get("data") or metadata.pyfunc.get("data"))
    from statsmodels.iolib.api import load_pickle
    from statsmodels.tsa.base.tsa_model import TimeSeriesModel

    results = load_pickle(str(path))
    if not callable(getattr(results, "predict", None)):
        raise InvalidParameterValue("The model's file holds no results that predict.")
    if isinstance(getattr(results, "model", None), TimeSeriesModel):
        return Predictor(lambda data: _forecast(results, data), results)
    return Predictor(results.predict, results)


def _forecast(results: Any, data: Any) -> Any:
    columns = getattr(data, "columns", ())
    if len(data) != 1 or "start" not in columns or "end" not in columns:
        raise InvalidModelInput("A time series predicts for one row with the columns 'start' and 'end'.")
    return results.predict(start=data["start"].iloc[0], end=data["end"].iloc[0])
