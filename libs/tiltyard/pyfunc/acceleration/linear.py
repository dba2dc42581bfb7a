"""Linear models, answered by their one matrix product where that is proven to say the same.

Of the time that scikit-learn needs for a few rows of a linear model, the arithmetic is a twentieth; the rest
looks at the input again. What `linear_answer` gives does the arithmetic alone, in the same order of the same
numbers. Rows that it cannot vouch for, those with nulls and infinities, still go to the estimator.
"""

import math
from typing import Any

import numpy as np

from tiltyard.pyfunc.acceleration.compiled_trees import Answer, Matrix

_PROBE_ROWS = 1000
_CLASSIFIERS = ("LinearClassifierMixin", "_RidgeClassifierMixin")
_REGRESSORS = ("LinearModel", "MultiOutputLinearModel", "Ridge")


def linear_answer(before: list[Any], last: Any, method: str, native: Answer, dtype: str) -> Answer | None:
    """The answer of a linear model, also behind scalers, without the checks that the signature has made.

    None for any other model, and for one whose answers to generated rows differ by a bit.

    Args:
        before, last: the steps of a pipeline, or no steps and an estimator; scikit-learn's own.
        native: the answer of all of them to a (rows, columns) matrix of `dtype`.
    """
    weights = getattr(last, "coef_", None)
    if method != "predict" or not isinstance(weights, np.ndarray) or weights.dtype.kind != "f":
        return None
    finish = _finish(last)
    steps = [_scaling(step, np.dtype(dtype)) for step in before]
    if finish is None or None in steps:
        return None
    scalings = [step for step in steps if step is not None]
    turned, intercept = weights.T if weights.ndim == 2 else weights, last.intercept_

    def answer(data: Matrix) -> Any:
        rows = data
        for scale in scalings:
            rows = scale(rows)
        if not rows.size or not math.isfinite(np.add.reduce(rows, axis=None)):
            return native(data)
        return finish(rows @ turned + intercept)

    return answer if _agrees(native, answer, last.n_features_in_, np.dtype(dtype)) else None


def _finish(estimator: Any) -> Answer | None:
    """What the estimator makes of its scores; None when its `predict` is not that of scikit-learn's linear models."""
    kind = _defined_in(type(estimator), "predict")
    if kind in _CLASSIFIERS and _defined_in(type(estimator), "decision_function") in _CLASSIFIERS:
        classes = estimator.classes_
        if len(classes) == 2:
            return lambda scores: classes.take((scores.reshape(-1) > 0).astype(np.intp))
        return lambda scores: classes.take(scores.argmax(axis=1))
    if kind in _REGRESSORS:
        return lambda scores: scores
    return None


def _defined_in(kind: type, name: str) -> str | None:
    """The class of scikit-learn's linear models that a method comes from."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), None)
    return owner.__name__ if owner is not None and owner.__module__.startswith("sklearn.linear_model.") else None


def _scaling(step: Any, dtype: "np.dtype[Any]") -> Answer | None:
    """The arithmetic of a scaler; None for any other step."""
    name = type(step).__name__ if type(step).__module__ == "sklearn.preprocessing._data" else ""
    if name == "StandardScaler":
        mean = step.mean_.astype(dtype) if step.with_mean else None
        scale = step.scale_.astype(dtype) if step.with_std else None
        return _in_place((np.subtract, mean), (np.divide, scale))
    if name == "MinMaxScaler" and not step.clip:
        return _in_place((np.multiply, step.scale_), (np.add, step.min_))
    if name == "MaxAbsScaler" and not getattr(step, "clip", False):
        return _in_place((np.divide, step.scale_))
    return None


def _in_place(*operations: tuple[np.ufunc, Any]) -> Answer:
    """Operations that each round to the type of the rows, as those of scikit-learn do."""

    def run(rows: Matrix) -> Matrix:
        made = rows.copy()
        for operation, numbers in operations:
            if numbers is not None:
                operation(made, numbers, out=made, casting="same_kind")
        return made

    return run


def _agrees(native: Answer, quick: Answer, features: int, dtype: "np.dtype[Any]") -> bool:
    """Whether both answers to generated rows are equal to the last bit, one by one and together."""
    random = np.random.default_rng(0)
    probes = random.normal(0, 10 ** random.uniform(-3, 6, (_PROBE_ROWS, 1)), (_PROBE_ROWS, features)).astype(dtype)
    parts = [probes, probes[:16], *(probes[number : number + 1] for number in range(8))]
    return all(identical(native(part), quick(part)) for part in parts)


def identical(one: Any, other: Any) -> bool:
    """Whether two answers are arrays that are the same to the last bit, or one kind of refusal."""
    if isinstance(one, type):
        return one is other
    if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
        return False
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()
