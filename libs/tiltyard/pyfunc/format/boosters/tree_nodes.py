"""Trees as arrays of nodes: whether every way down from a root ends at a leaf of its own tree."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tiltyard.errors import InvalidParameterValue

Numbers = np.ndarray[Any, np.dtype[np.int64]]


def unsound(library: str, what: str) -> InvalidParameterValue:
    """The error of a file in which `what` is not what its library needs it to be."""
    return InvalidParameterValue(f"The {library} model is damaged: {what}.")


def numbers(values: Iterable[Any]) -> Numbers:
    """The values as 64-bit integers. Raises: OverflowError, TypeError, ValueError: they are none."""
    found = np.asarray(values)
    if found.size and (found.dtype.kind not in "biu" or int(found.max()) >= 1 << 63):
        raise TypeError("whole numbers are expected")
    return found.astype(np.int64)


def reached_nodes(left: Numbers, right: Numbers, counts: Numbers) -> Numbers | None:
    """The inner nodes that the roots lead to; None where a way leaves its tree, or does not end.

    Args:
        left, right: the children of each inner node of all trees, by their number within the tree; -1 is a leaf.
        counts: how many nodes each tree has. Its root is the first of them.
    """
    starts = np.cumsum(counts) - counts
    offsets, limits = np.repeat(starts, counts), np.repeat(counts, counts)
    found = [starts[counts > 0]]
    total = len(found[0])
    while found[-1].size:
        parents = np.concatenate([found[-1], found[-1]])
        children = np.concatenate([left[found[-1]], right[found[-1]]])
        inner = children >= 0
        parents, children = parents[inner], children[inner]
        if (children >= limits[parents]).any():
            return None
        found.append(children + offsets[parents])
        total += len(children)
        # Who walks a circle, or comes to a node by two ways, meets more nodes than there are before long.
        if total > len(left):
            return None
    return np.concatenate(found)


def are_within(values: Numbers, limit: int) -> bool:
    """Whether all are 0 or more, and less than the limit."""
    return not values.size or (int(values.min()) >= 0 and int(values.max()) < limit)
