"""`mlflow.autolog()` over gradient boosting: rounds become histories, models can be loaded again."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.conformance.iris import Iris

ROUNDS = 3


def train_xgboost(features: Any, labels: Any) -> Any:
    """A booster and its predictions."""
    import xgboost

    data = xgboost.DMatrix(features, labels)
    options = {"max_depth": 2, "objective": "multi:softprob", "num_class": 3, "eval_metric": "mlogloss"}
    return xgboost.train(options, data, ROUNDS, evals=[(data, "train")], verbose_eval=False).predict(data)


def train_lightgbm(features: Any, labels: Any) -> Any:
    """The same with the other library."""
    import lightgbm

    data = lightgbm.Dataset(features, labels)
    options = {"max_depth": 2, "objective": "multiclass", "num_class": 3, "metric": "multi_logloss", "verbose": -1}
    return lightgbm.train(options, data, ROUNDS, valid_sets=[data], valid_names=["train"]).predict(features)


@pytest.fixture
def autologging(mlflow: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The client with autologging of every library that it knows."""
    # It would start a process per model to find out what the model imports, which no server sees anything of.
    monkeypatch.setattr(mlflow.models, "infer_pip_requirements", lambda *_, **__: ["numpy"])
    # A Spark session of another test would lose its way back into Python when this is ended.
    mlflow.autolog(silent=True, exclude_flavors=["spark", "pyspark.ml"])
    yield mlflow
    mlflow.autolog(disable=True, silent=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "metric"),
    [(train_xgboost, "train-mlogloss"), (train_lightgbm, "train-multi_logloss")],
    ids=["xgboost", "lightgbm"],
)
def test_boosting_logs_itself(
    autologging: ModuleType,
    client: Any,
    experiment: Any,
    iris: Iris,
    train: Callable[[Any, Any], Any],
    metric: str,
) -> None:
    """One call trains: params, a point per round, importances as files, and a model that answers the same."""
    predicted = train(iris.features, iris.answers)
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.params["max_depth"]) == ("FINISHED", "2")
    history = client.get_metric_history(run.info.run_id, metric)
    assert [point.step for point in history] == list(range(ROUNDS))
    assert history[0].value > history[-1].value == run.data.metrics[metric]
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert any(path.endswith(".json") for path in files) and any(path.endswith(".png") for path in files)
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert model.source_run_id == run.info.run_id
    loaded = autologging.pyfunc.load_model(f"models:/{model.model_id}")
    np.testing.assert_array_equal(loaded.predict(iris.features), predicted)
