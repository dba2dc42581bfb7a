"""Long lists, looked at in chunks: one call over millions of values holds the interpreter's lock, and others wait.

Transposing in chunks is faster, too: what is read is still in the processor's cache.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, takewhile
from typing import Any

import numpy as np

CHUNK_VALUES = 100_000
_RAGGED = re.compile(r"The detected shape was \(([\d, ]+)\) \+ inhomogeneous part")
_SINGLE = frozenset({type(None), bool, int, float, str})
# To transpose a row takes an iterator of it, which costs as much as so many cells.
_ROW_CELLS = 10


def types_of(values: Sequence[Any]) -> set[type]:
    """The types of the values."""
    if len(values) <= CHUNK_VALUES:
        return set(map(type, values))
    return set().union(*(set(map(type, chunk)) for chunk in chunks(values)))


def lengths_of(rows: Sequence[Any]) -> set[int]:
    """The lengths of the rows."""
    return set().union(*(set(map(len, chunk)) for chunk in chunks(rows)))


def range_of(values: Sequence[Any]) -> tuple[Any, Any]:
    """The least and the largest of some values."""
    ends = [(min(chunk), max(chunk)) for chunk in chunks(values)]
    return min(least for least, _ in ends), max(largest for _, largest in ends)


def fits_64_bits(integers: Sequence[int]) -> bool:
    """Whether each of some integers is one of 64 bits."""
    least, largest = range_of(integers)
    return bool(least >= -(2**63) and largest < 2**63)


def numbers_of(values: list[Any]) -> Any:
    """The array that pandas infers from very many numbers of one type; few values, and others, are given back."""
    if len(values) <= CHUNK_VALUES:
        return values
    types = types_of(values)
    if float in types and types <= {float, type(None)}:
        return array_of(values, np.float64)
    if types == {bool} or (types == {int} and fits_64_bits(values)):
        return array_of(values, np.bool_ if bool in types else np.int64)
    return values


def columns_of(rows: Sequence[Any]) -> list[Sequence[Any]]:
    """The columns of rows of one length. Raises: ValueError if they differ."""
    cells_of_row = max(_ROW_CELLS, len(rows[0]))
    if len(rows) * cells_of_row <= CHUNK_VALUES:
        return list(zip(*rows, strict=True))
    columns: list[list[Any]] = [[] for _ in rows[0]]
    for chunk in chunks(rows, cells_of_row):
        for column, cells in zip(columns, zip(*chunk, strict=True), strict=True):
            column.extend(cells)
    return list(columns)


def flat(rows: Sequence[Any]) -> list[Any]:
    """All that is in the rows, one after the other."""
    values: list[Any] = []
    cells = cells_of(rows)
    if len(rows) * cells <= CHUNK_VALUES:
        return list(chain.from_iterable(rows))
    for chunk in chunks(rows, cells):
        values += chain.from_iterable(chunk)
    return values


def array_of(values: Any, dtype: Any = None) -> "np.ndarray[Any, Any]":
    """What `np.array` makes of a value, or of nested lists; texts may have room for more. Raises: as that."""
    if type(values) is not list or len(values) * (cells := cells_of(values)) <= CHUNK_VALUES:
        return np.array(values, dtype=dtype)
    parts, shapes = [], []
    try:
        for chunk in chunks(values, cells):
            try:
                parts.append(np.array(chunk, dtype=dtype))
                shapes.append(parts[-1].shape[1:])
            except ValueError as error:
                ragged = _RAGGED.search(str(error))
                if ragged is None:
                    raise
                shapes.append(tuple(int(size) for size in ragged[1].split(",")[1:] if size))
    except (ValueError, TypeError, OverflowError):
        # What numpy finds wrong first depends on how much it is given.
        return np.array(values, dtype=dtype)
    if dtype is None and (len(parts) < len(shapes) or len(set(shapes)) > 1):
        # As numpy says it of the whole, which it would look at in one go.
        raise _ragged(len(values), shapes)
    if dtype is None and any(part.dtype == object for part in parts):
        parts = [np.array(chunk, dtype=object) for chunk in chunks(values, cells)]
    if len(parts) < len(shapes) or len(set(shapes)) > 1:
        # Lists as they are.
        return np.array(values, dtype=dtype)
    if dtype is None and len({part.dtype.kind == "U" for part in parts}) > 1:
        # Beside a text, numbers are the texts that each of them is.
        text = np.full(shapes[0], "").tolist()
        parts = [np.array([*chunk, text])[:-1] for chunk in chunks(values, cells)]
    # Part by part: one copy of all would hold the interpreter's lock as long.
    whole = np.empty((len(values), *shapes[0]), np.result_type(*(part.dtype for part in parts)))
    at = 0
    for part in parts:
        whole[at : at + len(part)] = part
        at += len(part)
    return whole


def _ragged(count: int, shapes: Sequence[tuple[int, ...]]) -> ValueError:
    """What numpy says of so many rows of these shapes, or of no shape beyond them."""
    common = tuple(sizes[0] for sizes in takewhile(lambda sizes: len(set(sizes)) == 1, zip(*shapes, strict=False)))
    return ValueError(
        "setting an array element with a sequence. The requested array has an inhomogeneous shape after "
        f"{1 + len(common)} dimensions. The detected shape was {(count, *common)} + inhomogeneous part."
    )


def chunks(values: Sequence[Any], cells: int = 1) -> Iterator[Sequence[Any]]:
    """The values, some at a time: fewer when each stands for more cells."""
    step = max(1, CHUNK_VALUES // max(1, cells))
    if len(values) <= step:
        yield values
        return
    for start in range(0, len(values), step):
        yield values[start : start + step]


def cells_of(values: Sequence[Any]) -> int:
    """How many cells each of the values stands for, told by the first one."""
    first = values[0] if len(values) else None
    if type(first) in _SINGLE:
        return 1
    if isinstance(first, np.ndarray):
        return max(1, first.size)
    if type(first) is not list and isinstance(first, Mapping):
        first = list(first.values())
    return max(1, len(first)) * cells_of(first) if isinstance(first, list | tuple) else 1
