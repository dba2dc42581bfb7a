"""What a team has on its MLflow server, written there by the stock client."""

import math
import sys
from types import ModuleType
from typing import Any, NamedTuple

from tests.conformance.iris import REQUIREMENTS, Iris

# As wide as what may be said of a metric.
POINTS = [(math.nan, 3), (math.inf, 4), (-math.inf, 5), (0.1 + 0.2, 1), (-1e-300, 2)]
ODD_NAMES = ("two.parts", "two_parts", "four.parts.of.name", "with space")


class House(NamedTuple):
    """The ids of what is there, to be looked for after the move."""

    experiment_id: str
    run_id: str
    child_id: str
    deleted_run_id: str
    model_id: str
    model: str


def furnish(mlflow: ModuleType, iris: Iris, name: str) -> House:
    """Runs, a history, datasets, a model with versions, stages and aliases, and things that were deleted."""
    client = mlflow.MlflowClient()
    experiment = mlflow.set_experiment(name)
    client.set_experiment_tag(experiment.experiment_id, "team", "tree")
    dataset = mlflow.data.from_pandas(iris.features.head(20), name="iris")
    with mlflow.start_run(run_name="parent", description="the first") as run:
        mlflow.log_params({"depth": 3, "empty": "", "long": "x" * 5000})
        mlflow.log_input(dataset, context="training", tags={"split": "head"})
        for value, step in POINTS:
            client.log_metric(run.info.run_id, "odd", value, timestamp=1_700_000_000_000 + step, step=step)
        mlflow.log_metrics({"auc": 0.9, "loss/val set": 1e308}, step=7)
        mlflow.log_text("ein Wörterbuch", "notes/größe.txt")
        mlflow.log_text("", "empty.txt")
        model = log(mlflow, iris, name)
        mlflow.log_metric("score", 0.75, model_id=model.model_id, dataset=dataset)
        with mlflow.start_run(nested=True, run_name="child") as child:
            mlflow.log_metric("auc", 0.5)
            mlflow.log_input(dataset, context="eval")
    for _ in range(2):
        client.create_model_version(name, f"models:/{model.model_id}", model_id=model.model_id, await_creation_for=None)
    deleted = mlflow.start_run(run_name="deleted")
    mlflow.end_run("FAILED")
    client.delete_run(deleted.info.run_id)
    gone = client.create_experiment(f"{name}-gone", tags={"gone": "yes"})
    client.delete_experiment(gone)
    registered(client, name)
    client.create_model_version(
        ODD_NAMES[0], f"models:/{model.model_id}", model_id=model.model_id, await_creation_for=None
    )
    return House(
        experiment.experiment_id, run.info.run_id, child.info.run_id, deleted.info.run_id, model.model_id, name
    )


def log(mlflow: ModuleType, iris: Iris, name: str) -> Any:
    """A version of the model that `name` names."""
    return mlflow.sklearn.log_model(
        iris.model,
        name="model",
        signature=mlflow.models.infer_signature(iris.features, iris.answers),
        pip_requirements=REQUIREMENTS,
        params={"kind": "logistic"},
        registered_model_name=name,
    )


def registered(client: Any, name: str) -> None:
    """What people say of models and versions: descriptions, tags, stages, aliases; one version is deleted."""
    client.update_registered_model(name, "Which iris it is.")
    client.set_registered_model_tag(name, "owner", "tree team")
    client.update_model_version(name, "1", "the first")
    client.set_model_version_tag(name, "1", "checked", "yes")
    client.transition_model_version_stage(name, "1", "Production")
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "challenger", "2")
    client.delete_model_version(name, "3")
    for odd in ODD_NAMES:
        client.create_registered_model(odd, tags={"of": name})
        client.create_model_version(
            odd, "s3://elsewhere/model", run_link="https://example.org/run", await_creation_for=None
        )


def seen(mlflow: ModuleType, url: str) -> dict[tuple[str, ...], Any]:
    """Everything that the stock client shows of a server, by kind and id."""
    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    client = mlflow.MlflowClient()
    everything: dict[tuple[str, ...], Any] = {}
    experiments = client.search_experiments(view_type=mlflow.entities.ViewType.ALL)
    ids = [experiment.experiment_id for experiment in experiments]
    for experiment in experiments:
        everything["experiment", experiment.experiment_id] = dict(experiment)
    for run in client.search_runs(ids, run_view_type=mlflow.entities.ViewType.ALL):
        everything["run", run.info.run_id] = run.to_dictionary()
        for key in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, key)
            everything["history", run.info.run_id, key] = [(m.value, m.timestamp, m.step) for m in history]
    for model in client.search_logged_models(ids):
        everything["logged model", model.model_id] = model.to_dictionary()
    for model in client.search_registered_models():
        everything["model", model.name] = dict(model) | {"latest_versions": None}
    for version in client.search_model_versions():
        # The plain server's search leaves aliases out.
        everything["version", version.name, version.version] = dict(version) | {"aliases": None}
    return everything


def plain(value: Any) -> str:
    """A text that is equal for equal things; entities compare by identity, NaN with nothing."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {plain(value[key])}" for key in sorted(value, key=str)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(plain, value)) + "]"
    if isinstance(value, float) and abs(value) >= sys.float_info.max:
        return f"{'-' if value < 0 else ''}infinite"
    return plain(dict(value)) if hasattr(value, "_properties") else str(value)
