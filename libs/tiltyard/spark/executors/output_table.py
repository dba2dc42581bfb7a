"""What a model returned, as named columns of equal length."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.spark.executors.result_values import is_missing

Columns = list[tuple[Any, Any]]


def to_table(output: Any) -> tuple[Columns, int]:  # noqa: PLR0911 - one return per shape of output
    """The output as named columns, and how many rows it has."""
    if isinstance(output, pd.DataFrame):
        return [(name, output.iloc[:, i]) for i, name in enumerate(output.columns)], len(output)
    if isinstance(output, pd.Series):
        return [(output.name if output.name is not None else "0", output)], len(output)
    if isinstance(output, Mapping):
        lengths = {length_of(values) for values in output.values()}
        return list(output.items()), lengths.pop() if len(lengths) == 1 else -1
    if hasattr(output, "toarray"):
        output = output.toarray()
    if not isinstance(output, np.ndarray):
        output = _to_array(list(output) if isinstance(output, list | tuple | pd.Index) else [output])
    if isinstance(output, list):
        return _of_rows(output), len(output)
    if output.dtype.names:
        return [(name, output[name]) for name in output.dtype.names], len(output)
    if output.ndim == 0:
        output = output.reshape(1)
    if output.ndim == 2:
        return [(str(i), output[:, i]) for i in range(output.shape[1])], len(output)
    return [("0", output)], len(output)


def _to_array(rows: list[Any]) -> "np.ndarray[Any, Any] | list[Any]":
    """Rows of equally many numbers as a matrix; any others as they are."""
    first = rows[0] if rows else None
    if isinstance(first, np.ndarray) and first.ndim and first.dtype.kind in "biuf":
        form = (first.shape, first.dtype)
        alike = all(isinstance(row, np.ndarray) and (row.shape, row.dtype) == form for row in rows)
        return np.stack(rows) if alike else rows
    return rows


def _of_rows(rows: list[Any]) -> Columns:
    """A list as columns: rows of one dict each by its names, rows of equally many plain values by their places."""
    present = [row for row in rows if not is_missing(row)]
    if present and all(is_mapping(row) for row in present):
        mappings = [None if is_missing(row) else as_mapping(row) for row in rows]
        names = dict.fromkeys(name for row in mappings if row is not None for name in row)
        return [(name, [None if row is None else row.get(name) for row in mappings]) for name in names]
    lengths = {len(row) if isinstance(row, list | tuple) else -1 for row in rows}
    flat = len(lengths) == 1 and -1 not in lengths and not any(is_list(item) or is_mapping(item) for item in rows[0])
    if flat and rows[0]:
        return [(str(i), [row[i] for row in rows]) for i in range(len(rows[0]))]
    return [("0", rows)]


def rows_of(table: Columns) -> list[Any]:
    """The rows of a table, each a mapping by the names of its columns."""
    names = [str(name) for name, _ in table]
    return [dict(zip(names, row, strict=True)) for row in zip(*(values for _, values in table), strict=True)]


def is_mapping(value: Any) -> bool:
    """Whether a value has fields by name: a dict, or a pydantic model."""
    return isinstance(value, Mapping) or callable(getattr(value, "model_dump", None))


def as_mapping(value: Any) -> Mapping[Any, Any]:
    """A dict, or the fields of a pydantic model."""
    dump: Callable[[], Mapping[Any, Any]] | None = getattr(value, "model_dump", None)
    return value if dump is None else dump()


def holds_mappings(values: Any) -> bool:
    """Whether a column is one of mappings."""
    return is_mapping(next((value for value in values if not is_missing(value)), None))


def holds_lists(values: Any) -> bool:
    """Whether a column is one of lists or arrays."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values.ndim > 1
    return is_list(next((value for value in values if not is_missing(value)), None))


def is_list(value: Any) -> bool:
    """Whether a value is a list or an array."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray | pd.Series) and value.ndim > 0)


def length_of(values: Any) -> int:
    """How many rows a column has; -1 for what is none."""
    return -1 if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__") else len(values)
