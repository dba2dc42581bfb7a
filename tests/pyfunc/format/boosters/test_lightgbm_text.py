"""LightGBM's text is checked before LightGBM reads it."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.pyfunc.format.boosters.damage import damaged, outcomes
from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.lightgbm_text import check_text

lightgbm = pytest.importorskip("lightgbm")

_DICE = np.random.default_rng(0)
_X = _DICE.normal(size=(600, 4))
_BINARY = (_X[:, 0] + _X[:, 1] > 0).astype(int)
_CLASSES = np.clip(np.abs(_X[:, 0]) * 2, 0, 2).astype(int)
_MIXED = pd.DataFrame({"a": _X[:, 0], "kind of it": pd.Categorical(_DICE.choice(list("abcdefgh"), 600))})
_SETS = {"min_data_per_group": 1, "cat_smooth": 0, "max_cat_to_onehot": 1}


def _train(settings: dict[str, Any], x: Any = _X, y: Any = _BINARY, **more: Any) -> str:
    plain = {"verbose": -1, "num_threads": 1, "num_leaves": 7, "seed": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        booster = lightgbm.train(plain | settings, lightgbm.Dataset(x, y, **more), num_boost_round=3)
    text: str = booster.model_to_string()
    return text


_MODELS: dict[str, Callable[[], str]] = {
    "two classes": lambda: _train({"objective": "binary"}),
    "three classes": lambda: _train({"objective": "multiclass", "num_class": 3}, y=_CLASSES),
    "one against all": lambda: _train({"objective": "multiclassova", "num_class": 3}, y=_CLASSES),
    "a ranking": lambda: _train({"objective": "lambdarank"}, y=_CLASSES, group=[30] * 20),
    "linear leaves": lambda: _train({"objective": "regression", "linear_tree": True}, y=_X[:, 0]),
    "one linear leaf": lambda: _train(
        {"objective": "regression", "linear_tree": True, "min_data_in_leaf": 590}, y=_X[:, 0]
    ),
    "a forest": lambda: _train({"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}),
    "dart": lambda: _train({"objective": "binary", "boosting": "dart"}),
    "one leaf": lambda: _train({"objective": "regression"}, y=np.ones(600)),
    "categories": lambda: _train({"objective": "binary"}, x=_MIXED),
    "sets of categories": lambda: _train({"objective": "binary"} | _SETS, x=_MIXED[["kind of it"]]),
    "constraints": lambda: _train({"objective": "binary", "monotone_constraints": [1, 0, 0, -1]}),
    "nulls": lambda: _train({"objective": "binary"}, x=np.where(_X > 1, np.nan, _X)),
}


@pytest.mark.parametrize("name", _MODELS)
def test_what_lightgbm_writes_is_sound(name: str) -> None:
    """Whatever a booster was made for, its text passes."""
    check_text(_MODELS[name]().encode())


def test_a_text_without_sizes_of_its_trees_may_end_its_lines_as_windows_does() -> None:
    """Old texts were passed on by people whose editors end lines with two characters."""
    lines = [line for line in _MODELS["two classes"]().split("\n") if not line.startswith("tree_sizes=")]
    check_text("\r\n".join(lines).encode())


def _replaced(text: str, name: str, value: str) -> str:
    """The text with another value of the first line of that name."""
    before, _, rest = text.partition(f"\n{name}=")
    return f"{before}\n{name}={value}\n{rest.partition(chr(10))[2]}"


def _first(text: str, name: str) -> list[str]:
    return text.partition(f"\n{name}=")[2].partition("\n")[0].split(" ")


_FAULTS: dict[str, Callable[[str], str]] = {
    "the parameters do not end": lambda text: text.partition("end of parameters")[0],
    "a parameter has no value": lambda text: text.replace("[boosting: gbdt]", "["),
    "the last line does not end": lambda text: text[:-1],
    "a byte is zero": lambda text: text.replace("feature_infos", "feature\0infos"),
    "a line returns alone": lambda text: text.replace("num_cat", "\rnum_cat"),
    "a line of a tree says nothing": lambda text: text.replace("num_cat=0", "num_cat", 1),
    "a line of a tree comes twice": lambda text: text.replace("num_cat=0", "num_leaves=7", 1),
    "a tree does not begin where it should": lambda text: _replaced(text, "tree_sizes", "1 1 1"),
    "there are more classes than trees for them": lambda text: _replaced(text, "num_class", "3"),
    "there are no classes": lambda text: _replaced(_replaced(text, "num_class", "0"), "num_tree_per_iteration", "0"),
    "the objective has other classes": lambda text: text.replace("objective=binary", "objective=x num_class:4"),
    "there are no features": lambda text: _replaced(text, "max_feature_idx", "-1"),
    "a feature is not there": lambda text: _replaced(text, "split_feature", " ".join(["4"] * 6)),
    "a child is not there": lambda text: _replaced(text, "left_child", " ".join(["6"] * 6)),
    "a leaf is not there": lambda text: _replaced(text, "left_child", " ".join(["-8"] * 6)),
    "a child is its parent": lambda text: _replaced(
        text, "left_child", " ".join(["0", *_first(text, "left_child")[1:]])
    ),
    "a child is missing": lambda text: _replaced(text, "left_child", " ".join(_first(text, "left_child")[1:])),
    "a child is no number": lambda text: _replaced(text, "left_child", " ".join(["1e0"] * 6)),
    "a child is a large number": lambda text: _replaced(text, "left_child", " ".join([str(2**70)] * 6)),
    "a threshold is no number": lambda text: _replaced(text, "threshold", " ".join(["1-2"] * 6)),
    "a threshold is missing": lambda text: _replaced(text, "threshold", "0.5"),
    "a leaf has no value": lambda text: _replaced(text, "leaf_value", "0.5"),
    "a weight is missing": lambda text: _replaced(text, "leaf_weight", "0.5"),
    "there are no leaves": lambda text: _replaced(_replaced(text, "leaf_value", ""), "num_leaves", "0"),
    "a node splits by no set of categories": lambda text: _replaced(text, "decision_type", " ".join(["1"] * 6)),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_text_is_refused_where(fault: str) -> None:
    """Each fault that LightGBM would not see is seen, and named."""
    good = _train({"objective": "binary"})
    bad = _FAULTS[fault](good)
    assert bad != good
    # The sizes of trees would tell most faults first.
    if "tree_sizes=1 1 1" not in bad:
        bad = "\n".join(line for line in bad.split("\n") if not line.startswith("tree_sizes="))
    with pytest.raises(InvalidParameterValue, match="LightGBM model is damaged"):
        check_text(bad.encode())


@pytest.mark.parametrize(
    ("name", "value"), [("cat_boundaries", "0 99"), ("cat_boundaries", "1 1"), ("cat_threshold", ""), ("num_cat", "0")]
)
def test_a_set_of_categories_has_to_be_there(name: str, value: str) -> None:
    """A node that splits by categories leads to a set of them within its tree."""
    text = _MODELS["sets of categories"]()
    assert int(_first(text, "num_cat")[0]) > 0
    text = "\n".join(line for line in text.split("\n") if not line.startswith("tree_sizes="))
    with pytest.raises(InvalidParameterValue, match="LightGBM model is damaged"):
        check_text(_replaced(text, name, value).encode())


@pytest.mark.parametrize(("name", "value"), [("num_features", "1"), ("leaf_features", "99"), ("leaf_coeff", "0.5")])
def test_the_features_of_a_linear_leaf_have_to_be_there(name: str, value: str) -> None:
    """A linear leaf has as many features and coefficients as it says, of those that there are."""
    text = _MODELS["linear leaves"]()
    # The first tree has constants for leaves.
    before, _, rest = text.partition("\nTree=1\n")
    text = "\n".join(line for line in before.split("\n") if not line.startswith("tree_sizes="))
    with pytest.raises(InvalidParameterValue, match="LightGBM model is damaged"):
        check_text((text + "\nTree=1\n" + _replaced(rest, name, value)).encode())


def test_no_damaged_text_ends_the_process_that_uses_it(tmp_path: Path) -> None:
    """Of texts changed by chance each is refused, or read and used without harm."""
    good = [make().encode() for make in _MODELS.values()]
    told = outcomes(damaged(good, 400, seed=7, texts=True), tmp_path / "files", "lgb")
    assert {"refused", "used"} <= set(told)
