"""A check of loaded trees and sparse matrices: every number that points somewhere points to what exists.

Scikit-learn and scipy follow these numbers without looking, so a crafted file of trusted types alone could still
crash the process at the first prediction. A pickle could do anything anyway; this is for skops files.
"""

from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from tiltyard.errors import InvalidParameterValue

_MAX_OBJECTS = 5_000_000
_LEAF = -1
# Code leads to all that the process has loaded; since SciPy 1.18 splines hold the module that they count with.
_NO_DATA = (str, bytes, int, float, type(None), ModuleType, FunctionType, type)


def check_trees(model: Any) -> None:
    """Nothing, if all trees and sparse matrices within `model` are sound.

    Raises:
        InvalidParameterValue: a node, feature or index is out of range, or a tree has a cycle.
    """
    seen: set[int] = set()
    pending: list[Any] = [model]
    while pending:
        value = pending.pop()
        if isinstance(value, _NO_DATA) or id(value) in seen:
            continue
        seen.add(id(value))
        if len(seen) > _MAX_OBJECTS:
            raise InvalidParameterValue("The model holds too many objects to be checked.")
        check = _CHECKS.get(type(value).__name__)
        if check is not None and type(value).__module__.startswith(("sklearn.", "scipy.sparse.")):
            check(value)
        elif isinstance(value, np.ndarray):
            if value.dtype == object:
                pending.extend(value.flat)
        elif isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list | tuple | set):
            pending.extend(value)
        else:
            pending.extend(getattr(value, "__dict__", {}).values())


def _check_tree(tree: Any) -> None:
    left, right = tree.children_left, tree.children_right
    inner = left != _LEAF
    _check_children(left[inner], right[inner], np.flatnonzero(inner), tree.node_count)
    features = tree.feature[inner]
    if features.size and (features.min() < 0 or features.max() >= tree.n_features):
        raise _unsound("a feature")
    if len(tree.value) != tree.node_count:
        raise _unsound("the values")


def _check_predictor(tree: Any) -> None:
    nodes = tree.nodes
    inner = nodes["is_leaf"] == 0
    left, right = nodes["left"][inner].astype(np.int64), nodes["right"][inner].astype(np.int64)
    _check_children(left, right, np.flatnonzero(inner), len(nodes))
    categorical = nodes["is_categorical"][inner] == 1
    bitsets = nodes["bitset_idx"][inner][categorical]
    if bitsets.size and bitsets.max() >= len(tree.raw_left_cat_bitsets):
        raise _unsound("a category set")


def _check_children(left: Any, right: Any, parents: Any, count: int) -> None:
    for children in (left, right):
        # Children come after their parent in every tree that was grown, so there is no cycle either.
        if children.size and ((children <= parents) | (children >= count)).any():
            raise _unsound("a node")


def _check_neighbors(tree: Any) -> None:
    data, indices, nodes, _ = tree.get_arrays()
    rows = len(data)
    indices, nodes = np.asarray(indices), np.asarray(nodes)
    if len(indices) != rows or (rows and (indices.min() < 0 or indices.max() >= rows)):
        raise _unsound("an index")
    starts, ends = nodes["idx_start"], nodes["idx_end"]
    if len(nodes) and (starts.min() < 0 or ends.max() > rows or (starts > ends).any()):
        raise _unsound("a node")


def _check_sparse(matrix: Any) -> None:
    try:
        matrix.check_format(full_check=True)
    except (ValueError, TypeError, IndexError):
        raise InvalidParameterValue("The model holds a sparse matrix in which an index is out of range.") from None


def _unsound(what: str) -> InvalidParameterValue:
    return InvalidParameterValue(f"The model holds a tree in which {what} is out of range.")


_CHECKS = {
    "Tree": _check_tree,
    "TreePredictor": _check_predictor,
    "KDTree": _check_neighbors,
    "KDTree64": _check_neighbors,
    "BallTree": _check_neighbors,
    "BallTree64": _check_neighbors,
    "csr_matrix": _check_sparse,
    "csr_array": _check_sparse,
    "csc_matrix": _check_sparse,
    "csc_array": _check_sparse,
}
