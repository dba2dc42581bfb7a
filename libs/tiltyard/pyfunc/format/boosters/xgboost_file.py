"""XGBoost's files, JSON and UBJSON, checked before XGBoost reads them.

XGBoost reads UBJSON without looking where it ends, and takes for granted that the children, features, groups and
categories that a tree names exist. Source: `UBJReader`, `RegTree::LoadModel`, `MultiTargetTree::LoadModel`,
`GBTreeModel::LoadModel` and `CatContainer::Load` at v3.2.0, tried with v3.4.1.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters import ubjson
from tiltyard.pyfunc.format.boosters.tree_nodes import Numbers, are_within, numbers, reached_nodes, unsound

_Object = dict[str, Any]

# What XGBoost itself takes for the largest category.
_CATEGORIES = 1 << 24
_LIMIT = 1 << 31
_CATEGORICAL = 1
_NONE = -1


def check_file(data: bytes) -> None:
    """Nothing, if XGBoost reads no more than the file, and its trees lead to what exists.

    A file that is neither JSON nor UBJSON is left to XGBoost: releases before 3.1 have a format of their own.

    Raises:
        InvalidParameterValue: they do not.
    """
    if not data.startswith(b"{"):
        return
    try:
        # As XGBoost tells them apart.
        model = ubjson.read(data) if data[1:2] == b"L" else json.loads(data, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise _unsound("its file is cut off, or no JSON") from None
    check_model(model)


def check_model(model: Any) -> None:
    """Nothing, if a model that was read is sound. Raises: InvalidParameterValue: it is not."""
    try:
        learner = model["learner"]
        _check_learner(learner["gradient_booster"], learner["learner_model_param"])
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
        raise _unsound("a part of it is missing, or of another type") from None


def _check_learner(booster: _Object, settings: _Object) -> None:
    features = _number(settings, "num_feature")
    groups = max(1, _number(settings, "num_class"), _number(settings, "num_target", "1"))
    if booster["name"] == "gblinear":
        # The last feature is the bias.
        if len(booster["model"]["weights"]) != (features + 1) * groups:
            raise _unsound("'weights' are not as many as its features")
        return
    is_dart = booster["name"] == "dart"
    model = booster["gbtree"]["model"] if is_dart else booster["model"]
    trees = model["trees"]
    # Of trees that were dropped while others were fitted; from 3.4 on the model has them, if there are any.
    in_model = len(model.get("weight_drop", ()))
    if (is_dart and len(booster["weight_drop"]) != len(trees)) or in_model not in (0, len(trees)):
        raise _unsound("'weight_drop' are not as many as its trees")
    _check_rounds(model, len(trees), groups)
    if "cats" in model:
        _check_categories(model["cats"], features)
    if trees:
        _check_trees(trees, features, groups)


def _check_rounds(model: _Object, count: int, groups: int) -> None:
    settings, info = model["gbtree_model_param"], numbers(model["tree_info"])
    told = _number(settings, "num_trees")
    if _number(settings, "num_parallel_tree", "1") < 1:
        raise _unsound("'num_parallel_tree' is below 1")
    if told != count or len(info) != count:
        raise _unsound("'num_trees' or 'tree_info' is not that of its trees")
    if not are_within(info, groups):
        raise _unsound("'tree_info' is out of range")
    if sorted(tree.get("id", -1) for tree in model["trees"]) != list(range(count)):
        raise _unsound("the trees' ids are not their numbers")
    bounds = numbers(model.get("iteration_indptr", ()))
    if bounds.size and (bounds[0] != 0 or bounds[-1] != count or (np.diff(bounds) < 0).any()):
        raise _unsound("'iteration_indptr' is out of range")


def _check_categories(container: _Object, features: int) -> None:
    """The categories of the data that the model was fitted on, by which those of other data are told."""
    segments, order = numbers(container["feature_segments"]), numbers(container["sorted_idx"])
    encodings = container["enc"]
    if not encodings and not segments.size and not order.size:
        return
    if len(encodings) != features or len(segments) != features + 1:
        raise _unsound("'cats' has not as many features")
    counts = np.diff(segments)
    if segments[0] != 0 or segments[-1] != len(order) or (counts < 0).any():
        raise _unsound("'feature_segments' is out of range")
    if not ((order >= 0) & (order < np.repeat(counts, counts))).all():
        raise _unsound("'sorted_idx' is out of range")
    for encoding, count in zip(encodings, counts.tolist(), strict=True):
        values = encoding["values"]
        if "offsets" in encoding:
            bounds = numbers(encoding["offsets"])
            sound = len(bounds) == count + 1 and bounds[0] == 0 and bounds[-1] == len(values)
            if (count or bounds.size) and not (sound and not (np.diff(bounds) < 0).any()):
                raise _unsound("'offsets' of categories are out of range")
        elif len(values) != count:
            raise _unsound("'values' of categories are not as many as there are")


def _check_trees(trees: Sequence[_Object], features: int, groups: int) -> None:
    counts = numbers([_number(tree["tree_param"], "num_nodes") for tree in trees])
    widths = numbers([_number(tree["tree_param"], "size_leaf_vector", "1") for tree in trees])
    if not are_within(counts - 1, _LIMIT) or (widths > groups).any():
        raise _unsound("'num_nodes' or 'size_leaf_vector' is out of range")
    left, right, parents, splits = (
        _column(trees, name, counts) for name in ("left_children", "right_children", "parents", "split_indices")
    )
    leaves = left == _NONE
    # XGBoost goes to the left child, or to the node after it.
    if (left[~leaves] < 0).any() or (left + 1 != right)[~leaves].any():
        raise _unsound("two children are not side by side")
    reached = reached_nodes(left, np.where(leaves, _NONE, right), counts)
    if reached is None:
        raise _unsound("a child is no node of its tree, or leads back")
    inner = reached[~leaves[reached]]
    if not are_within(splits[inner], features):
        raise _unsound("'split_indices' is out of range")
    # The root has no parent; it is the first of its tree.
    starts = np.cumsum(counts) - counts
    others = np.ones(len(parents), dtype=bool)
    others[starts] = False
    if not ((parents >= 0) & (parents < np.repeat(counts, counts)))[others].all():
        raise _unsound("'parents' is out of range")
    for tree, count, width, start in zip(trees, counts.tolist(), widths.tolist(), starts.tolist(), strict=True):
        _check_values(tree, count, width)
        if width > 1:
            _check_vectors(tree, width, left[start : start + count], right[start : start + count])
        if "split_type" in tree:
            _check_sets(tree, count)


def _check_values(tree: _Object, count: int, width: int) -> None:
    for name in ("split_conditions", "default_left"):
        if len(tree[name]) != count:
            raise _unsound(f"'{name}' has not as many values as 'num_nodes' says")
    weights = len(tree["base_weights"])
    if weights % count if "leaf_weights" in tree else weights != count * max(1, width):
        raise _unsound("'base_weights' has not as many values as 'num_nodes' says")


def _check_vectors(tree: _Object, width: int, left: Numbers, right: Numbers) -> None:
    """Leaves of several values: they have a list of their own, where the right child says which; before 3.2 not."""
    if not {"leaf_weights", "loss_changes", "sum_hessian"} <= tree.keys() and _release() >= (3, 2):
        raise _unsound("a tree of several targets was written by a release before 3.2, or has no 'leaf_weights'")
    if "leaf_weights" in tree and not are_within(right[left == _NONE], len(tree["leaf_weights"]) // width):
        raise _unsound("a leaf names values that are not there")


def _check_sets(tree: _Object, count: int) -> None:
    """Sets of categories, of the nodes that split by one."""
    kinds, nodes = numbers(tree["split_type"]), numbers(tree["categories_nodes"])
    starts, sizes = numbers(tree["categories_segments"]), numbers(tree["categories_sizes"])
    categories = numbers(tree["categories"])
    if len(kinds) != count or not are_within(kinds, _CATEGORICAL + 1):
        raise _unsound("'split_type' has not as many values as 'num_nodes' says")
    if not len(nodes) == len(starts) == len(sizes) or nodes.tolist() != np.flatnonzero(kinds == _CATEGORICAL).tolist():
        raise _unsound("'categories_nodes' are not the nodes that split by categories")
    if not are_within(starts, len(categories) + 1) or not are_within(sizes, len(categories) + 1):
        raise _unsound("'categories_segments' or 'categories_sizes' is out of range")
    if (starts + sizes > len(categories)).any() or (sizes < 1).any() or not are_within(categories, _CATEGORIES):
        raise _unsound("'categories' is out of range")


def _column(trees: Sequence[_Object], name: str, counts: Numbers) -> Numbers:
    """The values of that name of all nodes of all trees."""
    columns = [numbers(tree[name]) for tree in trees]
    if [len(each) for each in columns] != counts.tolist():
        raise _unsound(f"'{name}' has not as many values as 'num_nodes' says")
    return np.concatenate(columns)


def _release() -> tuple[int, ...]:
    """The release of XGBoost that is installed."""
    import xgboost

    return tuple(int(part) for part in xgboost.__version__.split(".")[:2])


def _number(settings: _Object, name: str, default: str | None = None) -> int:
    """A setting: a whole number of 32 bits that is not negative, as text."""
    text = str(settings[name] if default is None else settings.get(name, default))
    if re.fullmatch("[0-9]{1,10}", text) is None or int(text) >= _LIMIT:
        raise _unsound(f"'{name}' is out of range")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    """Of two values of one name it is not known which XGBoost takes. Raises: ValueError: there are two."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _unsound(what: str) -> InvalidParameterValue:
    return unsound("XGBoost", what)
