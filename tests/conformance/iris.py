"""A small real model for the stock client to log."""

from types import ModuleType
from typing import Any, NamedTuple

# Named, so that the client does not start a process to find out what the model imports.
REQUIREMENTS = ["scikit-learn", "cloudpickle"]


class Iris(NamedTuple):
    """A fitted classifier, what it was fitted on, and what it answers."""

    model: Any
    features: Any
    answers: Any


def fit_iris(max_iter: int = 500) -> Iris:
    """A logistic regression on the data set that ships with scikit-learn."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, target = load_iris(return_X_y=True, as_frame=True)
    model = LogisticRegression(max_iter=max_iter).fit(features, target)
    return Iris(model, features, model.predict(features))


def log_iris(mlflow: ModuleType, iris: Iris, name: str = "model", **options: Any) -> Any:
    """What `mlflow.sklearn.log_model` says of the model, logged with signature and input example."""
    return mlflow.sklearn.log_model(
        iris.model,
        name=name,
        signature=mlflow.models.infer_signature(iris.features, iris.answers),
        input_example=iris.features.head(2),
        pip_requirements=REQUIREMENTS,
        **options,
    )
