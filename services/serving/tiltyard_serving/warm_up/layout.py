"""How the rows of a model's outputs lie in them, and a merged output taken apart by it.

The length of an output does not say that its items are rows: probabilities of two targets are a list of two arrays,
whatever the number of rows. So an output is taken apart only if it has, besides the right length, the layout that
was proven to hold rows: containers, names, dtypes and the shape of one row.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pandas as pd

_ARRAYS = (np.ndarray, np.ma.MaskedArray, np.recarray, np.matrix)
_NOTHING = type(None)


@dataclass(frozen=True, slots=True)
class Layout:
    """Of outputs with one row per row of the input.

    Attributes:
        about: the container, and what all its rows share.
        kinds: of values that are Python objects; each row has its own.
        parts: of a mapping, the layouts of its values.
    """

    about: Hashable
    kinds: frozenset[Hashable] = frozenset()
    parts: tuple["Layout", ...] = ()

    def joined(self, other: "Layout | None") -> "Layout | None":
        """The layout that both outputs have; None if they have none in common."""
        if other is None or self.about != other.about or len(self.parts) != len(other.parts):
            return None
        parts = [one.joined(two) for one, two in zip(self.parts, other.parts, strict=True)]
        found = tuple(part for part in parts if part is not None)
        return replace(self, kinds=self.kinds | other.kinds, parts=found) if len(found) == len(parts) else None

    def takes(self, other: "Layout | None") -> bool:
        """Whether an output of the `other` layout holds rows as those that were proven to."""
        return (
            other is not None
            and self.about == other.about
            and self.kinds >= other.kinds - {_NOTHING}
            and len(self.parts) == len(other.parts)
            and all(one.takes(two) for one, two in zip(self.parts, other.parts, strict=True))
        )

    def split(self, output: Any, counts: Sequence[int]) -> list[Any] | None:
        """The outputs of each of several merged requests; None if `output` is not known to hold their rows.

        Args:
            counts: how many rows each request had, in the order in which they were merged.
        """
        if not self.takes(layout_of(output, sum(counts))):
            return None
        return cut(output, counts)


def layout_of(output: Any, rows: int) -> Layout | None:  # noqa: PLR0911 - one return per kind of container
    """How `rows` rows lie in `output`; None if they do not, or nothing can tell."""
    if type(output) in _ARRAYS:
        if not output.ndim or len(output) != rows:
            return None
        kinds = _kinds(output.flat) if output.dtype.hasobject else frozenset()
        return Layout((type(output), _dtype(output.dtype), output.shape[1:]), kinds)
    if type(output) is list:
        return Layout(list, _kinds(output)) if len(output) == rows else None
    if isinstance(output, pd.DataFrame):
        if len(output) != rows or not _is_counting(output.index):
            return None
        dtypes = tuple(map(_dtype, output.dtypes))
        objects = [output.iloc[:, number] for number, dtype in enumerate(dtypes) if dtype == _OBJECT]
        return Layout(("frame", tuple(output.columns), dtypes), frozenset().union(*map(_kinds, objects)))
    if isinstance(output, pd.Series):
        if len(output) != rows or not _is_counting(output.index):
            return None
        dtype = _dtype(output.dtype)
        return Layout(("series", output.name, dtype), _kinds(output) if dtype == _OBJECT else frozenset())
    if isinstance(output, Mapping):
        parts = [layout_of(value, rows) for value in output.values()]
        found = tuple(part for part in parts if part is not None)
        return Layout(("mapping", tuple(output)), parts=found) if parts and len(found) == len(parts) else None
    if getattr(output, "format", None) == "csr" and getattr(output, "ndim", 0) == 2 and output.shape[0] == rows:
        return Layout((type(output), output.dtype, output.shape[1:]))
    return None


def cut(output: Any, counts: Sequence[int]) -> list[Any]:
    """The rows of an output that has a layout, so many of them in each part."""
    if isinstance(output, Mapping):
        columns = {name: cut(value, counts) for name, value in output.items()}
        return [{name: column[number] for name, column in columns.items()} for number in range(len(counts))]
    rows = output.iloc if hasattr(output, "iloc") else output
    return [rows[start:end] for start, end in pairwise(accumulate(counts, initial=0))]


_OBJECT = np.dtype(object)


def _dtype(dtype: Any) -> Any:
    """The dtype, without the length that texts carry."""
    return dtype.kind if dtype.kind in "US" else dtype


def _kinds(values: Iterable[Any]) -> frozenset[Hashable]:
    values = list(values)
    kinds: set[Any] = set(map(type, values))
    if np.ndarray in kinds:
        kinds.update((_dtype(value.dtype), value.shape) for value in values if type(value) is np.ndarray)
    return frozenset(kinds)


def _is_counting(index: "pd.Index[Any]") -> bool:
    """Whether rows are where they were: 0, 1, 2, … An index in another order tells of rows that were moved."""
    if isinstance(index, pd.RangeIndex):
        return index.start == 0 and index.step == 1
    return bool(index.dtype.kind in "iu" and np.array_equal(index.to_numpy(), np.arange(len(index))))
