"""Many columns of one kind of number travel as one column of arrays.

Spark writes and measures each column of each row by itself. Of two hundred doubles in one array it does that once,
and Python has them apart again in one step per batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import Column

# Measured: from here on it always wins, with 32 nearly half; a few columns are as quick alone.
MIN_COLUMNS = 16

_PACKED = ("double", "float", "bigint", "int")


@dataclass(frozen=True)
class Packing:
    """How columns travel: `groups` of them as arrays, first, and then those that go `alone`; all by their places."""

    groups: tuple[tuple[int, ...], ...]
    alone: tuple[int, ...]

    @classmethod
    def of(cls, kinds: Sequence[str]) -> "Packing":
        """The packing for columns of these types, in Spark's short words."""
        by_kind = {kind: tuple(i for i, other in enumerate(kinds) if other == kind) for kind in _PACKED}
        groups = tuple(places for places in by_kind.values() if len(places) >= MIN_COLUMNS)
        packed = {place for places in groups for place in places}
        return cls(groups, tuple(i for i in range(len(kinds)) if i not in packed))

    def pack(self, columns: "Sequence[Column]") -> "list[Column]":
        """What Spark sends of its `columns`."""
        from pyspark.sql import functions

        arrays = [functions.array(*(columns[place] for place in places)) for places in self.groups]
        return arrays + [columns[place] for place in self.alone]

    def unpack(self, arrays: Sequence[pa.Array]) -> "tuple[pa.Array, ...]":
        """The columns of one batch as they were, nulls included, from the `arrays` that came."""
        if not self.groups:
            return tuple(arrays)
        found: dict[int, pa.Array] = dict(zip(self.alone, arrays[len(self.groups) :], strict=True))
        for places, array in zip(self.groups, arrays, strict=False):
            found |= zip(places, _apart(array, len(places)), strict=True)
        return tuple(found[place] for place in range(len(found)))


def _apart(array: pa.Array, count: int) -> list[pa.Array]:
    """The columns whose values stand side by side in each row of `array`."""
    values = array.flatten()
    shape = (len(array), count)
    # One pass over the memory; each column then lies in one piece, which Arrow takes as it is.
    columns = np.ascontiguousarray(_numbers(values).reshape(shape).T)
    if values.null_count == 0:
        return [pa.array(column) for column in columns]
    missing = np.ascontiguousarray(np.asarray(values.is_null()).reshape(shape).T)
    return [pa.array(column, mask=mask) for column, mask in zip(columns, missing, strict=True)]


def _numbers(values: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.generic]]":
    """The values as they lie in memory; where one is null, whatever lies there."""
    _, data = values.buffers()
    dtype = np.dtype(values.type.to_pandas_dtype())
    return np.frombuffer(data, dtype=dtype, count=len(values), offset=values.offset * dtype.itemsize)
