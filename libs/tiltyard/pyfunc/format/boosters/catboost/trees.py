"""The trees of a CatBoost model: arrays that lie one tree behind the other, of which each says where it goes on."""

import numpy as np

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Numbers, Tables, damaged

# Fields of the trees, by the schema; those of features are in `features`.
_DIMENSION, _SPLITS, _SIZES, _STARTS = range(4)
_VALUES, _WEIGHTS, _NODES, _LEAVES = range(8, 12)

_MAX_DEPTH = 30
_MAX_DIMENSION = 1 << 16


def check_trees(trees: Tables, splits: int) -> int:
    """The length of a prediction, if the trees are sound and take no other splits than the features have.

    Raises:
        InvalidParameterValue: a node, split or leaf is out of range.
    """
    dimension = trees.number(_DIMENSION, np.int32)
    values = int(trees.lengths(_VALUES, np.float64)[0])
    if not 1 <= dimension <= max(values, _MAX_DIMENSION):
        raise _unsound("the length of a prediction")
    sizes = trees.array(_SIZES, np.int32).astype(np.int64)
    # Where a tree starts is told by its predecessors too, and CatBoost looks it up now here and now there.
    if len(sizes) and (sizes.min() < 0 or not np.array_equal(np.cumsum(sizes) - sizes, trees.array(_STARTS, np.int32))):
        raise _unsound("the start")
    taken = trees.array(_SPLITS, np.int32)
    # A tree that is a leaf alone has its place among the splits as well, and there may be no features then.
    if len(taken) and not 0 <= taken.min() <= taken.max() < max(splits, 1):
        raise _unsound("a split")
    if trees.lengths(_NODES, np.uint32).any() or trees.lengths(_LEAVES, np.uint32).any():
        _check_nodes(trees, sizes, values - dimension, leaves_alone=splits == 0)
    else:
        _check_levels(sizes, len(taken), values / dimension)
    if trees.lengths(_WEIGHTS, np.float64)[0] not in (0, values / dimension):
        raise _unsound("the weights")
    return dimension


def _check_levels(sizes: Numbers, splits: int, leaves: float) -> None:
    """Trees that ask the same on all of a level; their size is their depth."""
    if len(sizes) and sizes.max() > _MAX_DEPTH:
        raise _unsound("the depth")
    if sizes.sum() > splits or (1 << sizes).sum() != leaves:
        raise _unsound("a leaf")


def _check_nodes(trees: Tables, sizes: Numbers, last: int, *, leaves_alone: bool) -> None:
    """Trees of nodes that tell how far on their children are; a distance of 0 ends the way at the node."""
    steps, leaves = trees.array(_NODES, np.uint32).view(np.uint16).reshape(-1, 2), trees.array(_LEAVES, np.uint32)
    if not len(steps) == len(leaves) == trees.lengths(_SPLITS, np.int32)[0] == sizes.sum() or sizes.min() < 1:
        raise _unsound("a node")
    if leaves_alone and steps.any():
        raise _unsound("a split")
    left, right = steps[:, 0], steps[:, 1]
    # So many nodes come behind each in its tree; children that come behind make no cycle either.
    behind = np.repeat(np.cumsum(sizes, dtype=np.int32), sizes)
    behind -= np.arange(1, len(steps) + 1, dtype=np.int32)
    if (np.maximum(left, right) > behind).any():
        raise _unsound("a node")
    if (leaves[(left == 0) | (right == 0)] > last).any():
        raise _unsound("a leaf")


def _unsound(what: str) -> InvalidParameterValue:
    return damaged(f"{what} of a tree is out of range")
