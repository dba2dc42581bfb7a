"""XGBoost's files are checked before XGBoost reads them."""

import json
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.pyfunc.format.boosters.damage import damaged, outcomes
from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.xgboost_file import check_file

xgboost = pytest.importorskip("xgboost")

_DICE = np.random.default_rng(0)
_X = _DICE.normal(size=(300, 4))
_BINARY = (_X[:, 0] + _X[:, 1] > 0).astype(int)
_CLASSES = np.clip(np.abs(_X[:, 0]) * 2, 0, 2).astype(int)
_PAIRS = _X[:, :2]
_MIXED = pd.DataFrame({"a": _X[:, 0], "kind of it": pd.Categorical(_DICE.choice(list("abcdefgh"), 300))})
_DAMAGED = "XGBoost model is damaged"


def _fit(name: str, settings: dict[str, Any], x: Any = _X, y: Any = _BINARY, **more: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(xgboost, name)(**{"n_estimators": 3, "max_depth": 3, "n_jobs": 1} | settings).fit(x, y, **more)


_MODELS: dict[str, Callable[[], Any]] = {
    "two classes": lambda: _fit("XGBClassifier", {}),
    "three classes": lambda: _fit("XGBClassifier", {}, y=_CLASSES),
    "pruned trees": lambda: _fit("XGBRegressor", {"max_depth": 5, "gamma": 3, "tree_method": "exact"}, y=_X[:, 0] ** 2),
    "a tree for each target": lambda: _fit("XGBRegressor", {}, y=_PAIRS),
    "trees of two targets": lambda: _fit(
        "XGBRegressor", {"multi_strategy": "multi_output_tree", "tree_method": "hist"}, y=_PAIRS
    ),
    "sets of categories": lambda: _fit("XGBClassifier", {"enable_categorical": True, "max_cat_to_onehot": 1}, x=_MIXED),
    "categories one by one": lambda: _fit(
        "XGBClassifier", {"enable_categorical": True, "max_cat_to_onehot": 99}, x=_MIXED
    ),
    "dart": lambda: _fit("XGBClassifier", {"booster": "dart"}),
    "dropped trees": lambda: _fit("XGBClassifier", {"rate_drop": 0.5, "n_estimators": 10}),
    "no trees": lambda: _fit("XGBClassifier", {"booster": "gblinear"}),
    "no rounds": lambda: _fit("XGBRegressor", {"n_estimators": 0}, y=_X[:, 0]),
    "a forest": lambda: _fit("XGBRFClassifier", {}),
    "a ranking": lambda: _fit("XGBRanker", {}, y=_CLASSES, qid=np.arange(300) // 10),
    "two quantiles": lambda: _fit(
        "XGBRegressor", {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5]}, y=_X[:, 0]
    ),
}


def _saved(name: str, form: str) -> bytes:
    return bytes(_MODELS[name]().get_booster().save_raw(form))


@pytest.mark.parametrize("form", ["json", "ubj"])
@pytest.mark.parametrize("name", _MODELS)
def test_what_xgboost_writes_is_sound(name: str, form: str) -> None:
    """Whatever a booster was made for, its file passes."""
    check_file(_saved(name, form))


def test_a_file_of_a_form_that_is_neither_is_left_to_xgboost() -> None:
    """Releases before 3.1 have a form of their own."""
    check_file(b"binf\0\0\0\0")


def _trees(model: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = model["learner"]["gradient_booster"]["model"]
    return found


def _set(tree: dict[str, Any], name: str, index: int, value: Any) -> None:
    tree[name][index] = value


def _cut(values: list[Any]) -> None:
    del values[-1]


_FAULTS: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "a child is not there": ("two classes", lambda each: _set(each["trees"][0], "left_children", 0, 99)),
    "a child is its parent": ("two classes", lambda each: each["trees"][0].update(_circle(each["trees"][0]))),
    "two children are apart": ("two classes", lambda each: _set(each["trees"][0], "right_children", 0, 3)),
    "a child is a negative number": ("two classes", lambda each: _set(each["trees"][0], "left_children", 0, -7)),
    "a child is no number": ("two classes", lambda each: _set(each["trees"][0], "left_children", 0, 1.5)),
    "a child is a large number": ("two classes", lambda each: _set(each["trees"][0], "left_children", 0, 2**64 - 1)),
    "children are missing": ("two classes", lambda each: _cut(each["trees"][0]["left_children"])),
    "a parent is not there": ("two classes", lambda each: _set(each["trees"][0], "parents", 1, 99)),
    "a feature is not there": ("two classes", lambda each: _set(each["trees"][0], "split_indices", 0, 4)),
    "a condition is missing": ("two classes", lambda each: _cut(each["trees"][0]["split_conditions"])),
    "a weight is missing": ("two classes", lambda each: _cut(each["trees"][0]["base_weights"])),
    "the nodes are more": ("two classes", lambda each: each["trees"][0]["tree_param"].update(num_nodes="99")),
    "the nodes are no number": ("two classes", lambda each: each["trees"][0]["tree_param"].update(num_nodes="1_5")),
    "a group is not there": ("two classes", lambda each: _set(each, "tree_info", 0, 1)),
    "a group is missing": ("two classes", lambda each: _cut(each["tree_info"])),
    "the trees are more": ("two classes", lambda each: each["gbtree_model_param"].update(num_trees="4")),
    "a tree comes twice": ("two classes", lambda each: each["trees"][0].update(id=1)),
    "a round has trees that are not there": ("two classes", lambda each: _set(each, "iteration_indptr", -1, 9)),
    "a round has no trees": ("two classes", lambda each: each["gbtree_model_param"].update(num_parallel_tree="0")),
    "a category is not there": ("sets of categories", lambda each: _set(_split(each), "categories_sizes", 0, 999)),
    "a category is too large": ("sets of categories", lambda each: _set(_split(each), "categories", 0, 2**30)),
    "a node's categories are missing": ("sets of categories", lambda each: _cut(_split(each)["categories_nodes"])),
    "a kind of split is unknown": ("two classes", lambda each: _set(each["trees"][0], "split_type", 0, 7)),
    "the order of categories is none": ("sets of categories", lambda each: _set(each["cats"], "sorted_idx", 0, 99)),
    "a category has no text": ("sets of categories", lambda each: _cut(each["cats"]["enc"][1]["values"])),
    "a leaf has no values": ("trees of two targets", lambda each: _set(each["trees"][0], "right_children", -1, 99)),
    "values of leaves are missing": ("trees of two targets", lambda each: each["trees"][0].pop("leaf_weights")),
    "a part is missing": ("two classes", lambda each: each.pop("tree_info")),
}


def _circle(tree: dict[str, Any]) -> dict[str, Any]:
    left, right = tree["left_children"], tree["right_children"]
    inner = [index for index, child in enumerate(left) if child > 0][-1]
    return {
        "left_children": [*left[:inner], 0, *left[inner + 1 :]],
        "right_children": [*right[:inner], 1, *right[inner + 1 :]],
    }


def _split(model: dict[str, Any]) -> dict[str, Any]:
    """A tree that splits by a set of categories."""
    found: dict[str, Any] = next(tree for tree in model["trees"] if tree["categories_nodes"])
    return found


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_file_is_refused_where(fault: str) -> None:
    """Each fault that XGBoost would not see is seen, and named."""
    name, spoil = _FAULTS[fault]
    model = json.loads(_saved(name, "json"))
    spoil(_trees(model))
    with pytest.raises(InvalidParameterValue, match=_DAMAGED):
        check_file(json.dumps(model).encode())


def test_a_linear_model_has_a_weight_for_each_feature() -> None:
    """A linear model whose weights are fewer is refused."""
    model = json.loads(_saved("no trees", "json"))
    _cut(_trees(model)["weights"])
    with pytest.raises(InvalidParameterValue, match=_DAMAGED):
        check_file(json.dumps(model).encode())


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("is_in_model", [False, True], ids=["as before 3.4", "as from 3.4 on"])
def test_a_dropped_tree_has_a_weight(is_in_model: bool, count: int) -> None:
    """A model of DART whose weights are not as many as its trees is refused, wherever they are."""
    model = json.loads(_saved("two classes", "json"))
    learner = model["learner"]
    trees = learner["gradient_booster"]
    dart = {"name": "dart", "gbtree": trees, "weight_drop": []}
    for weights in ([1.0] * 3, [0.5] * count):
        if is_in_model:
            trees["model"]["weight_drop"] = weights
        else:
            learner["gradient_booster"] = dart | {"weight_drop": weights}
        with pytest.raises(InvalidParameterValue, match=_DAMAGED) if len(weights) == count else nullcontext():
            check_file(json.dumps(model).encode())


def test_of_two_values_of_one_name_neither_is_taken() -> None:
    """What XGBoost might take for another than we is refused."""
    data = _saved("two classes", "json").replace(b'"num_trees":"3"', b'"num_trees":"3","num_trees":"9"')
    with pytest.raises(InvalidParameterValue, match=_DAMAGED):
        check_file(data)


@pytest.mark.parametrize("form", ["json", "ubj"])
def test_a_file_that_is_cut_off_anywhere_is_refused(form: str) -> None:
    """Wherever it ends, it is told."""
    data = _saved("sets of categories", form)
    for size in range(1, len(data), 7):
        with pytest.raises(InvalidParameterValue, match=_DAMAGED):
            check_file(data[:size])


def test_a_list_longer_than_its_file_reserves_no_memory() -> None:
    """A length is held against what is left of the file before anything is made of it."""
    with pytest.raises(InvalidParameterValue, match=_DAMAGED):
        check_file(b"{L" + (1).to_bytes(8, "big") + b"a[$l#L" + (2**62).to_bytes(8, "big"))


def test_a_file_that_is_nested_without_end_is_refused() -> None:
    """Deep nesting ends neither our reader nor XGBoost's."""
    for data in (b'{"learner":' + b"[" * 100_000, b"{L" + (1).to_bytes(8, "big") + b"a" + b"[" * 100_000):
        with pytest.raises(InvalidParameterValue, match=_DAMAGED):
            check_file(data)


@pytest.mark.parametrize("form", ["json", "ubj"])
def test_no_damaged_file_ends_the_process_that_uses_it(form: str, tmp_path: Path) -> None:
    """Of files changed by chance each is refused, or read and used without harm."""
    good = [_saved(name, form) for name in _MODELS]
    told = outcomes(damaged(good, 300, seed=7, texts=form == "json"), tmp_path / "files", form)
    assert {"refused", "used"} <= set(told)
