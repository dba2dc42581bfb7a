"""Logged models, in runs and without, driven by the stock client."""

import math
from types import ModuleType
from typing import Any

import pytest

from tests.conformance.iris import Iris, log_iris


def test_a_model_logged_in_a_run(mlflow: ModuleType, client: Any, experiment: Any, iris: Iris) -> None:
    """It is an output of the run, READY, listed below the run by its name, and loads from both URIs."""
    with mlflow.start_run() as run:
        info = log_iris(mlflow, iris, params={"depth": 3})
    logged = mlflow.get_logged_model(info.model_id)
    assert (str(logged.status), logged.name, logged.source_run_id) == ("READY", "model", run.info.run_id)
    assert logged.artifact_location == f"{experiment.artifact_location}/models/{info.model_id}/artifacts"
    assert logged.params == {"depth": "3"}
    outputs = mlflow.get_run(run.info.run_id).outputs.model_outputs
    assert [(output.model_id, output.step) for output in outputs] == [(info.model_id, 0)]
    assert "model/MLmodel" in [item.path for item in client.list_artifacts(run.info.run_id, "model")]
    for uri in (f"models:/{info.model_id}", f"runs:/{run.info.run_id}/model"):
        loaded = mlflow.pyfunc.load_model(uri)
        assert list(loaded.predict(iris.features)) == list(iris.answers)
    example = mlflow.models.get_model_info(f"models:/{info.model_id}").signature
    assert example == mlflow.models.infer_signature(iris.features, iris.answers)


def test_a_model_logged_without_a_run(mlflow: ModuleType, experiment: Any, iris: Iris) -> None:
    """No run is started for it, and it loads as the estimator it was."""
    info = log_iris(mlflow, iris)
    assert mlflow.search_runs(output_format="list") == []
    assert mlflow.get_logged_model(info.model_id).source_run_id in (None, "")
    assert list(mlflow.sklearn.load_model(info.model_uri).predict(iris.features)) == list(iris.answers)


def test_the_life_of_a_logged_model(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """From pending to ready or failed, with params and tags, to deleted."""
    model = mlflow.initialize_logged_model(name="agent", params={"a": "1"}, tags={"t": "1"}, model_type="agent")
    assert str(model.status) == "PENDING"
    mlflow.log_model_params({f"p{index}": index for index in range(150)}, model_id=model.model_id)
    mlflow.set_logged_model_tags(model.model_id, {"u": "2", "t": "3"})
    client.delete_logged_model_tag(model.model_id, "u")
    ready = mlflow.finalize_logged_model(model.model_id, "READY")
    assert (str(ready.status), ready.model_type, ready.tags["t"]) == ("READY", "agent", "3")
    assert "u" not in ready.tags
    assert len(ready.params) == 151
    failed = mlflow.initialize_logged_model(name="agent")
    assert str(mlflow.finalize_logged_model(failed.model_id, "FAILED").status) == "FAILED"
    client.delete_logged_model(model.model_id)
    with pytest.raises(mlflow.MlflowException) as gone:
        mlflow.get_logged_model(model.model_id)
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(mlflow.MlflowException) as absent:
        client.delete_logged_model_tag(failed.model_id, "never")
    assert absent.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_an_external_model(mlflow: ModuleType, experiment: Any) -> None:
    """A model that lives elsewhere is logged with its metadata alone."""
    model = mlflow.create_external_model(name="elsewhere", params={"endpoint": "x"})
    assert str(mlflow.get_logged_model(model.model_id).status) == "READY"
    assert model.tags["mlflow.model.isExternal"].lower() == "true"


def test_metrics_of_logged_models(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """A metric with a model shows on run and model, with its dataset; an unknown model is refused."""
    import numpy as np

    model = mlflow.create_external_model(name="measured")
    dataset = mlflow.data.from_numpy(np.ones((2, 2)), name="ones")
    with mlflow.start_run() as run:
        mlflow.log_metric("acc", 0.5, step=1, model_id=model.model_id)
        mlflow.log_metrics({"acc": 0.75, "inf": math.inf}, step=2, model_id=model.model_id, dataset=dataset)
        with pytest.raises(mlflow.MlflowException) as unknown:
            client.log_metric(run.info.run_id, "acc", 1.0, model_id="m-" + "0" * 32)
    assert unknown.value.error_code == "BAD_REQUEST"
    metrics = {(metric.key, metric.step): metric for metric in mlflow.get_logged_model(model.model_id).metrics}
    assert metrics["acc", 1].value == 0.5
    assert metrics["acc", 1].dataset_name is None
    assert metrics["acc", 2].dataset_name == "ones"
    assert metrics["inf", 2].value == math.inf
    assert {metric.run_id for metric in metrics.values()} == {run.info.run_id}
    assert mlflow.get_run(run.info.run_id).data.metrics == {"acc": 0.75, "inf": math.inf}


def test_search_logged_models(mlflow: ModuleType, client: Any, experiment: Any, unique: str) -> None:
    """Filters over attributes, metrics, params and tags; order by metric; datasets; pages."""
    import numpy as np

    datasets = [mlflow.data.from_numpy(np.full((2, 2), float(index)), name=f"d{index}") for index in range(2)]
    ids = []
    with mlflow.start_run():
        for index in range(5):
            model = mlflow.create_external_model(
                name=f"m{index}", params={"depth": str(index)}, tags={"parity": str(index % 2)}
            )
            mlflow.log_metric("acc", index / 10, model_id=model.model_id, dataset=datasets[index % 2])
            ids.append(model.model_id)
    client.delete_logged_model(ids[4])

    def names(**options: Any) -> list[str]:
        found = mlflow.search_logged_models([experiment.experiment_id], output_format="list", **options)
        return [model.name for model in found]

    by_metric = [{"field_name": "metrics.acc", "ascending": False}]
    assert names(order_by=by_metric) == ["m3", "m2", "m1", "m0"]
    assert names(filter_string="metrics.acc > 0.05 AND params.depth != '2'", order_by=by_metric) == ["m3", "m1"]
    assert names(filter_string="tags.parity = '0' AND name LIKE 'm%'", order_by=by_metric) == ["m2", "m0"]
    assert names(datasets=[{"dataset_name": "d1"}], filter_string="metrics.acc >= 0", order_by=by_metric) == [
        "m3",
        "m1",
    ]
    seen, token = [], None
    while True:
        page = client.search_logged_models([experiment.experiment_id], max_results=3, page_token=token)
        seen += [model.name for model in page]
        token = page.token
        if not token:
            break
    assert sorted(seen) == ["m0", "m1", "m2", "m3"]
    assert seen == names()


def test_models_are_inputs_of_runs(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """A run may name the logged models that it used."""
    from mlflow.entities import LoggedModelInput

    model = mlflow.create_external_model(name="used")
    with mlflow.start_run() as run:
        for _ in range(2):
            client.log_inputs(run.info.run_id, models=[LoggedModelInput(model.model_id)])
    assert [used.model_id for used in client.get_run(run.info.run_id).inputs.model_inputs] == [model.model_id]
