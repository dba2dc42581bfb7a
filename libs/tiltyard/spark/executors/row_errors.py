"""Batches with bad rows: the good rows get their predictions, each bad one its reason."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tiltyard.errors import MissingPackage, ModelIntegrityError

MAX_REASON_CHARS = 500

# These are not about rows: no row would fare better alone.
_FATAL = (MissingPackage, ModelIntegrityError, MemoryError)
Predict = Callable[[Sequence[pa.Array]], pa.Array]


class RowErrors:
    """Predictions row by row where a batch fails as a whole.

    Rows without missing values are tried together first, the others by which of their values are missing, and what
    still fails is halved until every bad row stands alone. A failure that depends only on which values are missing
    is that of all rows that miss the same ones: they are not tried again, in this batch or in a later one.
    """

    def __init__(self, predict: Predict, arrow_type: pa.DataType, *, refuses_missing_alike: bool) -> None:
        self._predict = predict
        self._type = arrow_type
        self._alike = refuses_missing_alike
        # Reasons by which columns have no value.
        self._refused: dict[bytes, str] = {}

    def __call__(self, arrays: Sequence[pa.Array]) -> tuple[pa.Array, pa.Array]:
        """Predictions with nulls for bad rows, and the reasons with nulls for good ones."""
        groups = _by_missing(arrays) if self._refused else None
        if groups is None or not any(missing in self._refused for missing, _ in groups):
            found = self._try(arrays, None)
            if isinstance(found, pa.Array):
                return found, pa.nulls(len(found), pa.string())
        return self._gathered(arrays, groups or _by_missing(arrays))

    def _gathered(self, arrays: Sequence[pa.Array], groups: "list[tuple[bytes, Any]]") -> tuple[pa.Array, pa.Array]:
        rows = len(arrays[0])
        values: list[pa.Array] = []
        texts: list[str] = []
        # For each row the place of its prediction, or of its reason; -1 where it has none.
        value_at, text_at = np.full(rows, -1, dtype=np.int64), np.full(rows, -1, dtype=np.int64)
        count = 0
        for missing, group in groups:
            for indices, result in self._solve(arrays, missing, group):
                if isinstance(result, str):
                    text_at[indices] = len(texts)
                    texts.append(result)
                else:
                    value_at[indices] = np.arange(count, count + len(indices))
                    values.append(result)
                    count += len(indices)
        predicted = pa.concat_arrays(values) if values else pa.nulls(0, self._type)
        return predicted.take(_places(value_at)), pa.array(texts, pa.string()).take(_places(text_at))

    def _solve(self, arrays: Sequence[pa.Array], missing: bytes, group: Any) -> Iterator[tuple[Any, "pa.Array | str"]]:
        if missing in self._refused:
            yield group, self._refused[missing]
            return
        pending = [group]
        while pending:
            indices = pending.pop()
            found = self._try(arrays, indices)
            shared = isinstance(found, str) and any(missing) and self._is_about_missing(found)
            alike = shared and self._try(arrays, indices[:1]) == found
            if alike:
                self._refused[missing] = str(found)
            if isinstance(found, pa.Array) or len(indices) == 1 or alike:
                yield indices, found
            else:
                middle = len(indices) // 2
                pending += [indices[middle:], indices[:middle]]

    def _try(self, arrays: Sequence[pa.Array], indices: Any) -> "pa.Array | str":
        try:
            return self._predict(arrays if indices is None else [array.take(pa.array(indices)) for array in arrays])
        except _FATAL:
            raise
        except Exception as error:
            # Whatever a model raises is the reason of a row.
            return reason_of(error)

    def _is_about_missing(self, reason: str) -> bool:
        # A float is never safe in an integer, whatever its value; here it is one because values are missing.
        return "Can not safely convert float64 to int" in reason or (self._alike and "contains NaN" in reason)


def reason_of(error: Exception) -> str:
    """One line that says why a row has no prediction."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MAX_REASON_CHARS else text[: MAX_REASON_CHARS - 1] + "…"


def _by_missing(arrays: Sequence[pa.Array]) -> "list[tuple[bytes, Any]]":
    """Row numbers in groups that miss the same values, each with a mark of which; first those that miss none."""
    columns = [field for array in arrays for field in (array.flatten() if pa.types.is_struct(array.type) else [array])]
    absent = [(i, mask) for i, column in enumerate(columns) if (mask := _missing(column)) is not None]
    whole, rows = bytes(len(columns)), len(arrays[0])
    if not absent:
        return [(whole, np.arange(rows))]
    some = np.logical_or.reduce([mask for _, mask in absent])
    groups = [(whole, np.flatnonzero(~some))] if not some.all() else []
    rest = np.flatnonzero(some)
    if len(absent) == 1:
        return [*groups, (bytes(i == absent[0][0] for i in range(len(columns))), rest)]
    patterns = np.zeros((len(rest), len(columns)), dtype=np.uint8)
    for i, mask in absent:
        patterns[:, i] = mask[rest]
    kinds, place = np.unique(patterns, axis=0, return_inverse=True)
    return groups + [(kind.tobytes(), rest[place.ravel() == i]) for i, kind in enumerate(kinds)]


def _missing(column: pa.Array) -> "np.ndarray[Any, Any] | None":
    """Where a column has no value, NaN included; None where it has all."""
    if pa.types.is_floating(column.type):
        found: np.ndarray[Any, Any] = np.isnan(column.to_numpy(zero_copy_only=False))
        return found if found.any() else None
    if column.null_count == 0:
        return None
    return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False))


def _places(places: "np.ndarray[Any, Any]") -> pa.Array:
    return pa.array(places, mask=places < 0)
