"""XGBoost and LightGBM models, compiled: what they make of the sums of their trees, bit for bit.

XGBoost adds up in single precision from its base score on, tree after tree, so the leaves are taken one by one and
added in that order; LightGBM adds up in double precision, as the interpreter does, but reads numbers this side of
`_ZERO` as zero.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.pyfunc.acceleration.compiled_trees import Answer, CompiledTrees, Matrix, NotCompiled, prove_trees

_Link = Callable[[Matrix], Any]

# LightGBM's kZeroThreshold, a number of single precision. Its trees split at it where they split off the zeros.
_ZERO = float(np.float32(1e-35))


def is_boosted(model: Any) -> bool:
    """Whether it is a model of XGBoost or LightGBM."""
    return type(model).__module__.startswith(("xgboost.", "lightgbm."))


def answer_of(model: Any) -> Callable[[Any], Any]:
    """What the model answers to a DataFrame."""
    if _is_xgboost(model) and not hasattr(model, "get_booster"):
        import xgboost

        return lambda data: model.predict(xgboost.DMatrix(data), validate_features=True)
    answer: Callable[[Any], Any] = model.predict
    return answer


def compile_boosted(model: Any, names: Sequence[str | int]) -> CompiledTrees:
    """The model's answers to matrices of the columns `names`, compiled, measured and compared.

    Raises:
        NotCompiled: it cannot be compiled, was fitted on other columns, an answer differed, or nothing would be won.
    """
    answer = answer_of(model)
    try:
        from treelite import frontend
    except ImportError:
        raise NotCompiled("treelite is not installed: install 'tiltyard[trees]'") from None
    try:
        if _is_xgboost(model):
            booster = model.get_booster() if hasattr(model, "get_booster") else model
            fitted, trees = booster.feature_names, frontend.from_xgboost(booster)
            quick = _xgboost(model, booster, trees)
        else:
            booster = model.booster_ if hasattr(model, "booster_") else model
            fitted, trees = booster.feature_name(), frontend.from_lightgbm(booster)
            quick = _lightgbm(model, booster, trees)
    except NotCompiled:
        raise
    except Exception as error:
        # A part that the compiler does not know.
        raise NotCompiled(f"the model cannot be compiled ({type(error).__name__})") from error
    if fitted != list(names):
        raise NotCompiled("its columns are not those of the signature")
    columns = pd.Index(list(names))
    return prove_trees(lambda data: answer(pd.DataFrame(data, columns=columns)), quick, trees, len(names))


def _is_xgboost(model: Any) -> bool:
    return type(model).__module__.startswith("xgboost.")


def _xgboost(model: Any, booster: Any, trees: Any) -> Answer:
    if "c" in (booster.feature_types or ()) or not np.isnan(getattr(model, "missing", np.nan)):
        raise NotCompiled("categorical features and nulls of its own are not compiled")
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    classes = getattr(model, "n_classes_", None)
    link = _XGBOOST.get(objective if classes is None else f"{objective.partition(':')[0]} classes")
    if link is None:
        raise NotCompiled(f"its objective '{objective}' is not compiled")
    outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    base = np.asarray(trees.get_header_accessor().get_field("base_scores"), dtype=np.float32)
    base = np.broadcast_to(base, (outputs,))
    from treelite import gtil

    def run(data: Matrix) -> Any:
        leaves = gtil.predict_per_tree(trees, np.ascontiguousarray(data, dtype=np.float32), nthread=1)
        leaves = leaves.reshape(len(data), -1, outputs)
        start = np.broadcast_to(base, (len(data), 1, outputs))
        sums = np.cumsum(np.concatenate([start, leaves], axis=1, dtype=np.float32), axis=1, dtype=np.float32)
        return link(sums[:, -1, :])

    return run


def _lightgbm(model: Any, booster: Any, trees: Any) -> Answer:
    text = booster.model_to_string()
    if re.search(r"^num_cat=[1-9]", text, re.MULTILINE):
        raise NotCompiled("categorical features are not compiled")
    objective, *options = re.search(r"^objective=(.*)$", text, re.MULTILINE)[1].split()  # type: ignore[index]
    link = _LIGHTGBM.get(objective)
    if link is None or (objective == "regression" and options):
        raise NotCompiled(f"its objective '{objective}' is not compiled")
    labels = getattr(model, "classes_", None)
    _widen_zero(trees)
    scale = next((float(option[8:]) for option in options if option.startswith("sigmoid:")), 1.0)
    from treelite import gtil

    def run(data: Matrix) -> Any:
        rows = np.ascontiguousarray(data, dtype=np.float64)
        sums = gtil.predict(trees, rows, nthread=1, pred_margin=True)[:, 0, :]
        if labels is None:
            return link(sums * scale)
        return labels[np.argmax(sums, axis=1) if sums.shape[1] > 1 else (sums[:, 0] > 0).astype(int)]

    return run


def _widen_zero(trees: Any) -> None:
    """Moves the thresholds beside zero to where all that LightGBM reads as zero falls on the side of zero."""
    for number in range(trees.num_tree):
        tree = trees.get_tree_accessor(number)
        thresholds = tree.get_field("threshold")
        below = (thresholds < 0) & (thresholds >= -_ZERO)
        above = (thresholds >= 0) & (thresholds <= _ZERO) & (tree.get_field("split_index") >= 0)
        if below.any() or above.any():
            moved = np.where(below, np.nextafter(-_ZERO, -np.inf), np.where(above, _ZERO, thresholds))
            tree.set_field("threshold", moved)


def _identity(sums: Matrix) -> Any:
    return sums[:, 0]


def _sigmoid(sums: Matrix) -> Any:
    return 1 / (1 + np.exp(-sums[:, 0]))


def _softmax(sums: Matrix) -> Any:
    powers = np.exp(sums - sums.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


_XGBOOST: dict[str, _Link] = {
    "reg:squarederror": _identity,
    "binary:logistic": _sigmoid,
    "multi:softprob": _softmax,
    "multi:softmax": lambda sums: np.argmax(sums, axis=1).astype(np.float32),
    "binary classes": lambda sums: (sums[:, 0] > 0).astype(np.int64),
    "multi classes": lambda sums: np.argmax(sums, axis=1),
}
_LIGHTGBM: dict[str, _Link] = {"regression": _identity, "binary": _sigmoid, "multiclass": _softmax}
