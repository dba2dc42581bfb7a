"""Ensembles of trees, answered by treelite's interpreter where that is quicker and proven to say the same.

Scikit-learn needs milliseconds for one row of a forest, nearly all of it spent around the trees. The
interpreter needs microseconds, but loses on large inputs; and an answer that differs is worth nothing. So it
takes over only small inputs, only of models that pass `compile_trees`, and only rows that were proven: an
infinity, or a null where the estimator refuses nulls, still goes to the estimator, whose refusal it is.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

Matrix: TypeAlias = "np.ndarray[Any, Any]"
Answer: TypeAlias = Callable[[Matrix], Any]

PROBES = 1000
TOLERANCE = 1e-12

_SIZES = (1, 4, 16, 64, 256, 1024)
_TRIES = 3
_MAX_PROBED_TREES = 200
# Probed up to here. Far beyond, single precision becomes infinite, and an estimator may refuse its input.
_LARGE = 1e31


class NotCompiled(Exception):
    """Why an estimator answers by itself; fit to be shown."""


@dataclass(frozen=True)
class CompiledTrees:
    """Answers small inputs by the interpreter, all others by the estimator.

    Attributes:
        max_rows: up to how many rows the interpreter was the quicker one.
        native, quick: the answers of the estimator and of the interpreter.
    """

    max_rows: int
    native: Answer
    quick: Answer
    _takes_nulls: bool

    def __call__(self, data: Any) -> Any:
        """The answer of the estimator's method."""
        small = type(data) is np.ndarray and len(data) <= self.max_rows
        return self.quick(data) if small and _is_proven(data, self._takes_nulls) else self.native(data)


def compile_trees(estimator: Any, method: str) -> CompiledTrees:
    """The estimator's `method`, compiled, measured, and compared on generated rows at and around every threshold.

    Raises:
        NotCompiled: it is no ensemble that can be compiled, an answer differed, or nothing would be won.
    """
    native = getattr(estimator, method)
    if not is_ensemble(estimator):
        raise NotCompiled(f"{type(estimator).__name__} is no ensemble of trees")
    if getattr(estimator, "n_outputs_", 1) != 1 or getattr(estimator, "_preprocessor", None) is not None:
        raise NotCompiled("several outputs and categorical features are not compiled")
    if hasattr(estimator, "feature_names_in_"):
        raise NotCompiled("its columns are not those of the signature, of one float type and all required")
    try:
        import treelite
        import treelite.sklearn
    except ImportError:
        raise NotCompiled("treelite is not installed: install 'tiltyard[trees]'") from None
    try:
        trees = treelite.sklearn.import_model(estimator)
        quick = _KINDS[type(estimator).__name__](estimator, method, trees)
    except Exception as error:
        # An estimator of another release, or a part that the compiler does not know.
        raise NotCompiled(f"the estimator cannot be compiled ({type(error).__name__})") from error
    return prove_trees(native, quick, trees, estimator.n_features_in_)


def prove_trees(native: Answer, quick: Answer, trees: Any, features: int) -> CompiledTrees:
    """Both ways as one, after they gave the same answers to generated rows at and around every threshold.

    Raises:
        NotCompiled: an answer differed, or nothing would be won.
    """
    probes = _probes(trees, features)
    if not same(native(probes), quick(probes)):
        raise NotCompiled(f"it answered one of {len(probes)} generated rows differently")
    takes_nulls = _takes_nulls(native, quick, probes)
    max_rows = _crossover(native, quick, probes)
    if not max_rows:
        raise NotCompiled("it was no quicker")
    return CompiledTrees(max_rows, native, quick, takes_nulls)


def is_ensemble(estimator: Any) -> bool:
    """Whether it is of a kind that can be compiled."""
    return type(estimator).__name__ in _KINDS and type(estimator).__module__.startswith("sklearn.ensemble.")


def same(one: Any, other: Any) -> bool:
    """Whether two answers are the same: classes to the last bit, other numbers within `TOLERANCE`."""
    if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
        return False
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    if one.dtype.kind == "f":
        return bool(np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
    return bool(np.array_equal(one, other))


def _is_proven(data: Matrix, takes_nulls: bool) -> bool:
    if data.ndim != 2 or data.dtype.kind != "f" or not len(data):
        return False
    # A null compares false either way.
    size = np.abs(data)
    return not bool((size >= _LARGE).any()) if takes_nulls else bool((size < _LARGE).all())


# --- What each kind of ensemble makes of the sums of its trees -------------------------------------------


def _forest(estimator: Any, method: str, trees: Any) -> Answer:
    # Forests compare in single precision.
    shares = _interpreter(trees, np.float32)
    if method == "predict_proba":
        return shares
    if not hasattr(estimator, "classes_"):
        return lambda data: shares(data)[:, 0]
    classes = estimator.classes_
    return lambda data: classes.take(np.argmax(shares(data), axis=1), axis=0)


def _boosting(estimator: Any, method: str, trees: Any, *, dtype: Any, is_second: Callable[[Matrix], Matrix]) -> Answer:
    loss, margins = estimator._loss, _interpreter(trees, dtype)
    if not hasattr(estimator, "classes_"):
        return lambda data: np.asarray(loss.link.inverse(margins(data).ravel()))
    classes = estimator.classes_
    binary = len(classes) == 2
    if method == "predict_proba":
        return lambda data: loss.predict_proba(margins(data).ravel() if binary else margins(data))
    if binary:
        return lambda data: classes[is_second(margins(data)[:, 0]).astype(int)]
    return lambda data: classes[np.argmax(margins(data), axis=1)]


def _interpreter(trees: Any, dtype: Any) -> Answer:
    """The sums of the trees, as (rows, outputs)."""
    from treelite import gtil

    def run(data: Matrix) -> Matrix:
        sums: Matrix = gtil.predict(trees, np.ascontiguousarray(data, dtype=dtype), nthread=1, pred_margin=True)
        return sums[:, 0, :]

    return run


_gradient_boosting = partial(_boosting, dtype=np.float32, is_second=lambda margin: margin >= 0)
_histogram_boosting = partial(_boosting, dtype=np.float64, is_second=lambda margin: margin > 0)
_KINDS: dict[str, Callable[[Any, str, Any], Answer]] = {
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "GradientBoostingClassifier": _gradient_boosting,
    "GradientBoostingRegressor": _gradient_boosting,
    "HistGradientBoostingClassifier": _histogram_boosting,
    "HistGradientBoostingRegressor": _histogram_boosting,
}


# --- The gate --------------------------------------------------------------------------------------------


def _probes(trees: Any, features: int) -> Matrix:
    """Rows of values at, beside and between the thresholds of each feature, and far out of them."""
    thresholds: list[list[Matrix]] = [[] for _ in range(features)]
    for number in range(min(trees.num_tree, _MAX_PROBED_TREES)):
        tree = trees.get_tree_accessor(number)
        index, threshold = tree.get_field("split_index"), tree.get_field("threshold")
        for feature in np.unique(index[index >= 0]):
            thresholds[feature].append(threshold[index == feature])
    random = np.random.default_rng(0)
    probes = np.empty((PROBES, features))
    for feature, found in enumerate(thresholds):
        edges = np.concatenate([*found, [0.0]]).astype(np.float64)
        edges = edges[np.abs(edges) < _LARGE]
        near = random.choice(edges, PROBES)
        beside = np.nextafter(near, random.choice([-np.inf, np.inf], PROBES))
        between = random.normal(np.mean(edges), 2 * np.std(edges) + 1e-3, PROBES)
        far = random.choice([-1e30, -1e9, -1e6, 0.0, 1e6, 1e9, 1e30], PROBES)
        probes[:, feature] = np.choose(random.choice(4, PROBES, p=[0.2, 0.2, 0.55, 0.05]), [near, beside, between, far])
    return probes


def _takes_nulls(native: Answer, quick: Answer, probes: Matrix) -> bool:
    """Whether rows with nulls have the same answer too; False when the estimator refuses them."""
    holes = probes.copy()
    holes[np.random.default_rng(1).random(holes.shape) < 0.2] = np.nan
    try:
        expected = native(holes)
    except ValueError:
        return False
    return same(expected, quick(holes))


def _crossover(native: Answer, quick: Answer, probes: Matrix) -> int:
    """Up to how many rows the compiled model is quicker, of the sizes that are tried; 0 if never."""
    most = 0
    for size in _SIZES:
        rows = np.resize(probes, (size, probes.shape[1]))
        if _seconds(quick, rows) >= _seconds(native, rows):
            break
        most = size
    return most


def _seconds(answer: Answer, rows: Matrix) -> float:
    best = float("inf")
    for _ in range(_TRIES):
        began_s = time.perf_counter()
        answer(rows)
        best = min(best, time.perf_counter() - began_s)
    return best
