"""Linear models by their arithmetic alone: the estimator's answers to the last bit, and its refusals."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

from tiltyard.pyfunc.acceleration.linear import Answer, linear_answer

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(200, 4))
TWO = (ROWS[:, 0] > 0).astype(int)
THREE = np.array(["low", "middle", "high"])[np.digitize(ROWS[:, 0], [-0.5, 0.5])]
NUMBERS = ROWS @ [1.0, 2.0, 3.0, 4.0]

LINEAR: dict[str, tuple[Any, Any]] = {
    "two classes": (LogisticRegression(), TWO),
    "three classes": (LogisticRegression(), THREE),
    "ridge": (RidgeClassifier(), THREE),
    "gradient descent": (SGDClassifier(random_state=0), TWO),
    "vectors": (LinearSVC(), THREE),
    "regression": (LinearRegression(), NUMBERS),
    "two outputs": (LinearRegression(), np.column_stack([NUMBERS, -NUMBERS])),
    "lasso": (Lasso(), NUMBERS),
    "scaled": (make_pipeline(StandardScaler(), LogisticRegression()), TWO),
    "scaled thrice": (make_pipeline(MinMaxScaler(), MaxAbsScaler(), StandardScaler(with_mean=False), Ridge()), NUMBERS),
}
OTHERS: dict[str, tuple[Any, Any]] = {
    "forest": (RandomForestClassifier(5), TWO),
    "polynomials": (make_pipeline(PolynomialFeatures(), Ridge()), NUMBERS),
    "clipped": (make_pipeline(MinMaxScaler(clip=True), Ridge()), NUMBERS),
}


def quick(estimator: Any, method: str = "predict", dtype: str = "float64") -> Answer | None:
    """The short answer of a fitted estimator."""
    steps = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
    return linear_answer(steps[:-1], steps[-1], method, getattr(estimator, method), dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_model_is_answered_to_the_last_bit(name: str, dtype: str) -> None:
    """Its numbers, its classes, their types and shapes; of one row and of many."""
    estimator, target = LINEAR[name]
    estimator.fit(ROWS, target)
    answer = quick(estimator, dtype=dtype)
    assert answer is not None
    for rows in (ROWS[:1], ROWS[:17], 1e6 * ROWS):
        expected, got = estimator.predict(rows.astype(dtype)), answer(rows.astype(dtype))
        assert (expected.dtype, expected.shape) == (got.dtype, got.shape)
        assert expected.tobytes() == got.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_the_estimator_refuses_is_still_refused(bad: float) -> None:
    """A null or an infinity, and an input without rows, are the estimator's to refuse."""
    for estimator, target in (LINEAR["two classes"], LINEAR["scaled"]):
        answer = quick(estimator.fit(ROWS, target))
        assert answer is not None
        rows = ROWS[:3].copy()
        rows[1, 2] = bad
        for refused in (rows, ROWS[:0]):
            with pytest.raises(ValueError, match=r"NaN|infinity|0 sample"):
                answer(refused)


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_are_left_alone(name: str) -> None:
    """No short answer for what is not one matrix product; none for probabilities either."""
    estimator, target = OTHERS[name]
    assert quick(estimator.fit(ROWS, target)) is None
    assert quick(LogisticRegression().fit(ROWS, TWO), "predict_proba") is None


def test_an_estimator_that_was_changed_is_left_alone() -> None:
    """A class of somebody else that predicts in its own way has its own answers."""

    class Turned(LogisticRegression):  # type: ignore[misc]  # scikit-learn has no types
        def predict(self, rows: Any) -> Any:
            """The other class."""
            return 1 - super().predict(rows)

    assert quick(Turned().fit(ROWS, TWO)) is None
