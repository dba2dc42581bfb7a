"""Estimators that read their input text by text: of a DataFrame they would read the names of its columns."""

from collections.abc import Callable
from typing import Any

from tiltyard.errors import InvalidParameterValue

_VECTORIZERS = ("CountVectorizer", "HashingVectorizer", "TfidfVectorizer")


def reads_texts(estimator: Any) -> bool:
    """Whether the first thing that looks at the input is a vectorizer of texts."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    steps = getattr(estimator, "steps", None)
    if steps:
        return reads_texts(steps[0][1])
    if type(estimator).__name__ == "FeatureUnion":
        return all(reads_texts(part) for _, part in estimator.transformer_list)
    return type(estimator).__name__ in _VECTORIZERS and type(estimator).__module__ == "sklearn.feature_extraction.text"


def of_one_column(predict: Callable[..., Any]) -> Callable[..., Any]:
    """`predict` of the texts in the one column of a table. Raises: InvalidParameterValue if it has several."""

    def run(data: Any) -> Any:
        if getattr(data, "ndim", 1) != 2:
            return predict(data)
        if data.shape[1] != 1:
            raise InvalidParameterValue(f"The model reads one column of texts, got {data.shape[1]} columns.")
        return predict(data.iloc[:, 0] if hasattr(data, "iloc") else data[:, 0])

    return run
