"""What a model returned, as one Arrow column of the UDF's result type.

Missing is null, whichever container the model chose: None, NaN, NaT and pandas' NA, at any depth.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.data_types import Array, Object, Type
from tiltyard.pyfunc.payload.output import plain
from tiltyard.pyfunc.schema import Schema
from tiltyard.spark.executors.output_table import (
    Columns,
    as_mapping,
    holds_lists,
    holds_mappings,
    is_list,
    is_mapping,
    length_of,
    rows_of,
    to_table,
)
from tiltyard.spark.executors.result_values import cast, is_missing, kind_of

Path = tuple[str, ...]


class Predictions:
    """How a model's output becomes one Arrow column of `arrow_type`.

    `time_zone` is the session's, in which times without a zone are; `outputs` says what may be absent.
    """

    def __init__(self, arrow_type: pa.DataType, *, time_zone: str = "UTC", outputs: Schema | None = None) -> None:
        self._type = arrow_type
        self._time_zone = time_zone
        self._optional = frozenset(_optional(outputs))

    def to_arrow(self, output: Any, rows: int) -> pa.Array:
        """The predictions of one batch.

        Raises:
            InvalidParameterValue: the model gave another number of rows, or values that do not fit the type.
        """
        nested = pa.types.is_nested(self._type)
        if nested and isinstance(output, np.ndarray) and output.ndim > 1 and pa.types.is_list(self._type):
            _check_rows(len(output), rows)
            return self._list_column(output, self._type, ())
        if pa.types.is_map(self._type) and not isinstance(output, Mapping | pd.DataFrame):
            _check_rows(length_of(output), rows)
            return self._map_column(output, self._type, ())
        table, got = to_table(output)
        _check_rows(got, rows)
        columns = [values for _, values in table]
        if pa.types.is_struct(self._type):
            return self._fields(table, rows)
        if pa.types.is_list(self._type):
            return self._lists(columns)
        if pa.types.is_map(self._type) and not (len(columns) == 1 and holds_mappings(columns[0])):
            return self._map_column(rows_of(table), self._type, ())
        return self._column(_leftmost(columns, self._type), self._type, ())

    def empty(self) -> pa.Array:
        """No predictions, for a batch without rows."""
        return pa.array([], type=self._type)

    def _fields(self, table: Columns, rows: int) -> pa.Array:
        """A struct of columns by their names, or of a single column of structs."""
        columns = {str(name): values for name, values in table}
        wanted = [field.name for field in self._type]
        missing = [name for name in wanted if name not in columns]
        if missing and len(table) == 1 and holds_mappings(table[0][1]):
            return self._column(table[0][1], self._type, ())
        missing = [name for name in missing if (name,) not in self._optional]
        if missing:
            raise InvalidParameterValue(
                f"The result type names fields {missing} that the model does not give; it gives {list(columns)}."
            )
        fields = [
            self._column(columns[field.name], field.type, (field.name,))
            if field.name in columns
            else pa.nulls(rows, field.type)
            for field in self._type
        ]
        return pa.StructArray.from_arrays(fields, fields=list(self._type))

    def _lists(self, columns: list[Any]) -> pa.Array:
        element = self._type.value_type
        if len(columns) == 1 and (holds_lists(columns[0]) or pa.types.is_nested(element)):
            return self._column(columns[0], self._type, ())
        fitting = _fitting([kind_of(values) for values in columns], element) if len(columns) > 1 else []
        if not fitting and (lists := next((values for values in columns if holds_lists(values)), None)) is not None:
            # Beside a label, or a number that is no element, the column of lists is meant.
            return self._column(lists, self._type, ())
        # Of a table with a label the numbers are meant; where nothing fits, the first column says why.
        chosen = [columns[i] for i in fitting] or columns
        if not chosen:
            raise InvalidParameterValue("The model gave no output columns.")
        arrays = [self._column(values, element, ()) for values in chosen]
        rows, count = len(arrays[0]), len(arrays)
        offsets = pa.array(np.arange(0, rows * count + 1, count, dtype=np.int32))
        if count == 1:
            return pa.ListArray.from_arrays(offsets, arrays[0], type=self._type)
        side_by_side = np.arange(rows * count).reshape(count, rows).T.ravel()
        flat = pa.concat_arrays(arrays).take(pa.array(side_by_side))
        return pa.ListArray.from_arrays(offsets, flat, type=self._type)

    def _column(self, values: Any, target: pa.DataType, path: Path) -> pa.Array:
        """One column in the type `target`, which may be nested."""
        if pa.types.is_list(target):
            return self._list_column(values, target, path)
        if pa.types.is_struct(target):
            return self._struct_column(values, target, path)
        if pa.types.is_map(target):
            return self._map_column(values, target, path)
        return cast(values, target, self._time_zone)

    def _list_column(self, values: Any, target: pa.DataType, path: Path) -> pa.Array:
        if isinstance(values, np.ndarray) and values.ndim > 1:
            rows, count = values.shape[:2]
            offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * np.int32(count))
            inner = self._column(values.reshape(rows * count, *values.shape[2:]), target.value_type, path)
            return pa.ListArray.from_arrays(offsets, inner, type=target)
        items: list[Any] = []
        ends: list[int | None] = [0]
        for value in values:
            if is_missing(value):
                # An offset of None says that the list that begins here is none.
                ends[-1] = None
            elif is_list(value):
                items.extend(value)
            else:
                raise _mismatch(value, target)
            ends.append(len(items))
        inner = self._column(items, target.value_type, path)
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), inner, type=target)

    def _struct_column(self, values: Any, target: pa.DataType, path: Path) -> pa.Array:
        rows = [_mapping(value, target) for value in values]
        known = {name for row in rows if row is not None for name in row}
        filled = any(row is not None for row in rows)
        fields = []
        for field in target:
            own = (*path, field.name)
            if filled and field.name not in known and own not in self._optional:
                raise InvalidParameterValue(
                    f"The result type names a field '{'.'.join(own)}' that the model does not give; "
                    f"it gives {sorted(map(str, known))}."
                )
            fields.append(self._column([None if row is None else row.get(field.name) for row in rows], field.type, own))
        absent = pa.array([row is None for row in rows], pa.bool_())
        return pa.StructArray.from_arrays(fields, fields=list(target), mask=absent if absent.true_count else None)

    def _map_column(self, values: Any, target: pa.DataType, path: Path) -> pa.Array:
        keys: list[Any] = []
        items: list[Any] = []
        ends: list[int | None] = [0]
        for value in values:
            row = _mapping(value, target)
            if row is None:
                ends[-1] = None
            else:
                keys.extend(row)
                items.extend(row.values())
            ends.append(len(keys))
        return pa.MapArray.from_arrays(
            pa.array(ends, pa.int32()),
            self._column(keys, target.key_type, path),
            self._column(items, target.item_type, path),
            type=target,
        )


def _check_rows(got: int, rows: int) -> None:
    if got != rows:
        said = "values that are no rows" if got < 0 else f"{got} predictions"
        raise InvalidParameterValue(f"The model gave {said} for {rows} rows; batch scoring needs one per row.")


def _leftmost(columns: list[Any], target: pa.DataType) -> Any:
    """The first column whose kind is that of `target`: by its kind and not by its values, so alike in each batch."""
    if not columns:
        raise InvalidParameterValue("The model gave no output columns.")
    if len(columns) == 1:
        return columns[0]
    fitting = _fitting([kind_of(values) for values in columns], target)
    return columns[fitting[0]] if fitting else columns[0]


def _fitting(kinds: Sequence[str], target: pa.DataType) -> list[int]:
    """The places of the columns that `target` takes: those of the nearest kind that there is."""
    for kind in _preferred(target):
        found = [i for i, own in enumerate(kinds) if own in kind]
        if found:
            return found
    return []


def _preferred(target: pa.DataType) -> tuple[tuple[str, ...], ...]:
    nothing = ("missing",)
    if pa.types.is_string(target):
        return (("integer", "number", "boolean", "time", "text", "other", "missing"),)
    if pa.types.is_boolean(target):
        return (("boolean",), nothing)
    if pa.types.is_integer(target):
        return (("integer",), ("number",), ("boolean",), nothing)
    if pa.types.is_floating(target):
        return (("integer", "number"), ("boolean",), nothing)
    return (("time",) if pa.types.is_timestamp(target) else ("other",), nothing)


def _optional(outputs: Schema | None) -> "list[Path]":
    """Which fields a row may lack, by their path."""
    found: list[Path] = []

    def look(kind: Type, path: Path) -> None:
        if isinstance(kind, Array):
            look(kind.items, path)
        elif isinstance(kind, Object):
            for entry in kind.properties:
                found.extend([] if entry.required else [(*path, entry.name)])
                look(entry.type, (*path, entry.name))

    columns = outputs.columns if outputs is not None else ()
    for column in columns:
        # A single column is the struct itself.
        path = (str(column.name),) if len(columns) > 1 else ()
        found.extend([] if column.required or not path else [path])
        look(column.type, path)
    return found


def _mapping(value: Any, target: pa.DataType) -> Mapping[Any, Any] | None:
    if is_missing(value):
        return None
    if not is_mapping(value):
        raise _mismatch(value, target)
    return as_mapping(value)


def _mismatch(value: Any, target: pa.DataType) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"The model did not produce any values compatible with the requested type '{target}': it gave a value of type "
        f"'{type(plain(value)).__name__}'."
    )
