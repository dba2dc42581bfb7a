"""A payload: checked, typed data of one request, and how several become one model input.

The data has one of a few forms. Numbers of one dtype are a matrix; other columns are arrays, one each;
tensors are arrays; anything else is kept raw and is never merged.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from tiltyard.pyfunc.data_types import Name
from tiltyard.pyfunc.payload.chunks import fits_64_bits, numbers_of, types_of


class Payload:
    """One request's input.

    Attributes:
        rows: how many rows the model will see.
        merge_key: equal keys may be merged into one model input; None means never.
        params: validated params, or None when the request gave none.
        data, build: the data, and the function that turns a list of such data into one model input.
        memory_bytes: about how much memory the data take, where that is worth counting.
        parsed_at_s: when the text had become values, by `time.perf_counter`, and the checks began; 0 where one
            pass does both.
    """

    __slots__ = ("build", "data", "memory_bytes", "merge_key", "params", "parsed_at_s", "rows")

    def __init__(
        self, data: Any, build: Callable[[list[Any]], Any], *, rows: int, merge_key: Hashable | None = None
    ) -> None:
        self.data = data
        self.build = build
        self.rows = rows
        self.merge_key = merge_key
        self.params: dict[str, Any] | None = None
        self.memory_bytes = 0
        self.parsed_at_s = 0.0

    @classmethod
    def matrix(cls, matrix: Any, names: tuple[Name, ...], index: Any = None) -> "Payload":
        """Columns of one dtype, as (rows, columns)."""
        key = None if index is not None else ("matrix", matrix.dtype.char, names)
        return cls(matrix, lambda parts: _frame_of_matrix(parts, names, index), rows=len(matrix), merge_key=key)

    @classmethod
    def columns(cls, arrays: list[Any], names: tuple[Name, ...], *, rows: int, index: Any = None) -> "Payload":
        """Columns as typed arrays, one each."""
        kinds = "".join(array.dtype.char for array in arrays)
        key = None if index is not None or not arrays else ("columns", kinds, names)
        return cls(arrays, lambda parts: _frame_of_columns(parts, names, rows, index), rows=rows, merge_key=key)

    @classmethod
    def inferred(cls, columns: list[list[Any]], names: tuple[Name, ...], *, rows: int, index: Any = None) -> "Payload":
        """Columns without a signature: pandas infers their types from the values."""
        kinds = None if index is not None or not columns else _kinds(columns)
        key = None if kinds is None else ("inferred", kinds, names)
        return cls(columns, lambda parts: _frame_inferred(parts, names, rows, index), rows=rows, merge_key=key)

    @classmethod
    def tensor(cls, array: Any) -> "Payload":
        """One ndarray."""
        if array.ndim == 0:
            return cls(array, _only, rows=1)
        mergeable = array.dtype.kind in "biufM" and array.ndim > 0
        key = ("tensor", array.dtype.str, array.shape[1:]) if mergeable else None
        return cls(array, joined, rows=len(array), merge_key=key)

    @classmethod
    def tensors(cls, arrays: dict[Any, Any]) -> "Payload":
        """Named ndarrays; mergeable when all have the same number of rows."""
        sizes = {len(array) if array.ndim else -1 for array in arrays.values()}
        rows = max(sizes, default=0)
        if len(sizes) != 1 or rows < 0 or any(array.dtype.kind not in "biufM" for array in arrays.values()):
            return cls(arrays, _only, rows=max(rows, 1))
        key = ("tensors", tuple((name, array.dtype.str, array.shape[1:]) for name, array in arrays.items()))
        return cls(arrays, _joined_by_name, rows=rows, merge_key=key)

    @classmethod
    def frame(cls, frame: Any) -> "Payload":
        """A DataFrame that a format's own reader built."""
        return cls(frame, _only, rows=len(frame))

    @classmethod
    def raw(cls, value: Any) -> "Payload":
        """A value that goes to the model as it came."""
        return cls(value, _only, rows=len(value) if isinstance(value, list) else 1)


def _only(parts: list[Any]) -> Any:
    (part,) = parts
    return part


def joined(parts: Sequence[Any]) -> Any:
    """The parts of one array, as one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _joined_by_name(parts: list[dict[Any, Any]]) -> dict[Any, Any]:
    return {name: joined([part[name] for part in parts]) for name in parts[0]}


def _frame_of_matrix(parts: list[Any], names: tuple[Name, ...], index: Any) -> Any:
    import pandas as pd

    matrix = joined(parts)
    # A model may write into its DataFrame, which must not be what was sent.
    return pd.DataFrame(matrix, index=index, columns=_labels(names), copy=not matrix.flags.writeable)


def _frame_of_columns(parts: list[list[Any]], names: tuple[Name, ...], rows: int, index: Any) -> Any:
    return _frame([joined(list(column)) for column in zip(*parts, strict=True)], names, rows, index)


def _frame_inferred(parts: list[list[list[Any]]], names: tuple[Name, ...], rows: int, index: Any) -> Any:
    columns = parts[0] if len(parts) == 1 else [list(chain(*column)) for column in zip(*parts, strict=True)]
    return _frame(list(map(numbers_of, columns)), names, rows, index)


def _frame(arrays: list[Any], names: tuple[Name, ...], rows: int, index: Any) -> Any:
    import pandas as pd

    if not arrays:
        return pd.DataFrame(index=pd.RangeIndex(rows) if index is None else index)
    frame = pd.DataFrame(dict(enumerate(arrays)), index=index)
    frame.columns = _labels(names)
    return frame


@lru_cache(maxsize=128)
def _labels(names: tuple[Name, ...]) -> Any:
    import pandas as pd

    if names == tuple(range(len(names))):
        return pd.RangeIndex(len(names))
    return pd.Index(names)


_INFERABLE = {int: "i", float: "f", str: "s", bool: "b"}


def _kinds(columns: list[list[Any]]) -> str | None:
    """One letter per column if each holds one kind of value, so that merging changes no inferred type."""
    kinds = []
    for column in columns:
        types = types_of(column)
        kind = _INFERABLE.get(types.pop(), "") if len(types) == 1 else ""
        if not kind or (kind == "i" and not fits_64_bits(column)):
            return None
        kinds.append(kind)
    return "".join(kinds)
