"""Which estimators answer each row by itself, and which read their input text by text."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from tiltyard.errors import InvalidParameterValue

_VECTORIZERS = ("CountVectorizer", "HashingVectorizer", "TfidfVectorizer")

_OWNERS = ("sklearn", "xgboost", "lightgbm")
# Where functions come from that treat each row, or each value, alike.
_FUNCTIONS = (*_OWNERS, "numpy", "scipy", "builtins")
# Their iterations end when all rows together are good enough.
_ACROSS_ROWS = {"NMF", "MiniBatchNMF"}
# Functions that are used to fit only.
_FIT_ONLY = {"scoring", "scorer_", "refit", "score_func", "objective", "_objective", "eval_metric"}
_PLAIN = (str, bytes, int, float, complex, type(None), type)
_MAX_PARTS = 100_000


class TooManyParts(Exception):
    """A model is made of more parts than are looked at."""


def parts_of(model: Any, *, without: Collection[str] = ()) -> Iterator[Any]:
    """The model and all that it holds, each part once and before its own; `without` what has one of these names.

    Containers, arrays and plain values are no parts. Raises: TooManyParts.
    """
    seen: set[int] = set()
    pending: list[Any] = [model]
    while pending:
        part = pending.pop()
        if isinstance(part, _PLAIN) or id(part) in seen:
            continue
        seen.add(id(part))
        if len(seen) > _MAX_PARTS:
            raise TooManyParts
        if isinstance(part, dict):
            pending.extend(value for name, value in part.items() if name not in without)
        elif isinstance(part, list | tuple | set | frozenset):
            pending.extend(part)
        elif isinstance(part, np.ndarray):
            if part.dtype.hasobject:
                pending.extend(part.ravel().tolist())
        else:
            yield part
            if hasattr(part, "get_params"):
                pending.append(getattr(part, "__dict__", {}))


def is_row_wise(model: Any) -> bool:
    """Whether the estimator and everything fitted inside it are known to answer each row by itself.

    True for boosters of XGBoost and LightGBM, and for estimators of theirs and of scikit-learn that hold no class
    and no function of somebody else. Random estimators, and those that look at all rows at once, are not.
    """
    if not hasattr(model, "get_params"):
        return _owner(type(model)) in ("xgboost", "lightgbm")
    try:
        return all(map(_is_of_rows, parts_of(model, without=_FIT_ONLY)))
    except TooManyParts:
        return False


def _is_of_rows(part: Any) -> bool:
    if hasattr(part, "get_params"):
        return _is_known(part)
    return not callable(part) or _owner(part) in _FUNCTIONS


def _is_known(estimator: Any) -> bool:
    kind = type(estimator)
    if _owner(kind) not in _OWNERS or kind.__name__ in _ACROSS_ROWS:
        return False
    if kind.__name__ == "DummyClassifier":
        return getattr(estimator, "strategy", None) not in ("stratified", "uniform")
    if kind.__name__ == "IterativeImputer":
        return not getattr(estimator, "sample_posterior", False)
    if kind.__name__ == "FunctionTransformer":
        # A ufunc looks at one value; any other function may look at all of them.
        functions = (estimator.func, estimator.inverse_func)
        return all(function is None or isinstance(function, np.ufunc) for function in functions)
    return True


def _owner(part: Any) -> str:
    """The package of a class, a function or a callable object."""
    module = getattr(part, "__module__", None) or type(part).__module__
    return str(module).partition(".")[0]


def reads_texts(estimator: Any) -> bool:
    """Whether the first thing that looks at the input is a vectorizer of texts: of a table it would read the names."""
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
