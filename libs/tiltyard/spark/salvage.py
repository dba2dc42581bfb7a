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


class Salvage:
    """Predictions row by row where a batch fails as a whole.

    Rows without missing values are tried together first, the others by which of their values are missing, and what
    still fails is halved until every bad row stands alone. A failure that depends only on which values are missing
    is that of all rows that miss the same ones, so they are not tried again.
    """

    def __init__(self, predict: Predict, arrow_type: pa.DataType, *, refuses_missing_alike: bool) -> None:
        self._predict = predict
        self._type = arrow_type
        self._alike = refuses_missing_alike

    def __call__(self, arrays: Sequence[pa.Array]) -> tuple[pa.Array, pa.Array]:
        """Predictions with nulls for bad rows, and the reasons with nulls for good ones."""
        rows = len(arrays[0])
        whole = np.arange(rows)
        found = self._try(arrays, None)
        if isinstance(found, pa.Array):
            return found, pa.nulls(rows, pa.string())
        values: list[pa.Array] = []
        order: list[Any] = []
        reasons = np.full(rows, None, dtype=object)
        for group, has_missing in _by_missing(arrays):
            for indices, result in self._solve(arrays, whole[group], has_missing=has_missing):
                order.append(indices)
                if isinstance(result, str):
                    reasons[indices] = result
                    values.append(pa.nulls(len(indices), self._type))
                else:
                    values.append(result)
        back = np.argsort(np.concatenate(order))
        return pa.concat_arrays(values).take(pa.array(back)), pa.array(reasons, pa.string())

    def _solve(
        self, arrays: Sequence[pa.Array], group: Any, *, has_missing: bool
    ) -> Iterator[tuple[Any, "pa.Array | str"]]:
        pending = [group]
        while pending:
            indices = pending.pop()
            found = self._try(arrays, indices)
            shared = isinstance(found, str) and has_missing and self._is_about_missing(found)
            if isinstance(found, pa.Array) or len(indices) == 1 or (shared and self._try(arrays, indices[:1]) == found):
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


def _by_missing(arrays: Sequence[pa.Array]) -> Iterator[tuple[Any, bool]]:
    """Row numbers in groups that miss the same values; first those that miss none."""
    columns = [field for array in arrays for field in (array.flatten() if pa.types.is_struct(array.type) else [array])]
    missing = np.column_stack(
        [pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False) for column in columns]
    )
    some = missing.any(axis=1)
    if not some.all():
        yield np.flatnonzero(~some), False
    rest = np.flatnonzero(some)
    if len(rest):
        pattern = np.unique(np.packbits(missing[rest], axis=1), axis=0, return_inverse=True)[1].ravel()
        for i in range(int(pattern.max()) + 1):
            yield rest[pattern == i], True
