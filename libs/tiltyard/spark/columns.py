"""Arrow columns to what a model takes, and predictions back to one Arrow column.

Where every column is a plain double, the values go straight into one Fortran-ordered matrix; pandas only puts names
on it. Everything else becomes a DataFrame as Spark itself would make it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.schema import Schema


class Arguments:
    """How the columns of a UDF call become the model's input.

    A struct brings its own names. Plain columns take the signature's names in its order, or '0', '1', … without one.
    """

    def __init__(self, inputs: Schema | None, *, time_zone: str) -> None:
        self._inputs = inputs
        self._time_zone = time_zone

    def to_input(self, arrays: Sequence[pa.Array]) -> Any:
        """The model input for one batch, not yet enforced.

        Raises:
            InvalidParameterValue: fewer columns than the signature requires.
        """
        if len(arrays) == 1 and pa.types.is_struct(arrays[0].type):
            struct = arrays[0]
            # `flatten` carries the struct's own nulls into its fields.
            return self._frame([field.name for field in struct.type], struct.flatten())
        if self._inputs is not None and self._inputs.tensors and len(arrays) == 1:
            return _tensor(arrays[0])
        return self._frame(self._names(len(arrays)), arrays)

    def _names(self, count: int) -> list[Any]:
        if self._inputs is None:
            return [str(i) for i in range(count)]
        required = self._inputs.required_names
        if count < len(required):
            raise InvalidParameterValue(
                f"Model input is missing required columns. Expected {len(required)} required input columns "
                f"{required}, but the model received only {count} unnamed input columns (Since the columns were "
                "passed unnamed they are expected to be in the order specified by the schema)."
            )
        return self._inputs.names[:count]

    def _frame(self, names: Sequence[Any], arrays: Sequence[pa.Array]) -> pd.DataFrame:
        if self._inputs is not None and len(arrays) > len(self._inputs) and not isinstance(names[0], str):
            names = list(range(len(arrays)))
        pairs = list(zip(names, arrays, strict=False))
        if pairs and all(array.type == pa.float64() for _, array in pairs):
            matrix = np.empty((len(pairs[0][1]), len(pairs)), order="F")
            for i, (_, array) in enumerate(pairs):
                matrix[:, i] = array.to_numpy(zero_copy_only=False)
            return pd.DataFrame(matrix, columns=[name for name, _ in pairs], copy=False)
        return pd.DataFrame({name: self._series(array) for name, array in pairs})

    def _series(self, array: pa.Array) -> Any:
        if pa.types.is_timestamp(array.type):
            series = array.to_pandas(timestamp_as_object=False)
            # Spark sends instants; a model knows wall-clock times, in the session's zone as everywhere in Spark.
            if array.type.tz is not None:
                series = series.dt.tz_convert(self._time_zone).dt.tz_localize(None)
            return series.astype("datetime64[ns]")
        if pa.types.is_date(array.type):
            return pd.to_datetime(array.to_pandas(date_as_object=True))
        if pa.types.is_decimal(array.type):
            return array.cast(pa.float64()).to_pandas()
        return array.to_pandas(maps_as_pydicts="strict")


def _tensor(array: pa.Array) -> np.ndarray[Any, Any]:
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        return np.array(array.to_pylist())
    return np.asarray(array.to_numpy(zero_copy_only=False))


class Predictions:
    """How a model's output becomes one Arrow column of the UDF's result type."""

    def __init__(self, arrow_type: pa.DataType) -> None:
        self._type = arrow_type

    def to_arrow(self, output: Any, rows: int) -> pa.Array:
        """The predictions of one batch.

        Raises:
            InvalidParameterValue: the model gave another number of rows, or values that do not fit the type.
        """
        table = _table(output)
        got = len(table[0][1]) if table else 0
        if got != rows:
            raise InvalidParameterValue(
                f"The model gave {got} predictions for {rows} rows; batch scoring needs one per row."
            )
        if pa.types.is_struct(self._type):
            return self._struct({str(name): values for name, values in table})
        if pa.types.is_list(self._type):
            return self._lists([values for _, values in table])
        return self._leftmost(table)

    def empty(self) -> pa.Array:
        """No predictions, for a batch without rows."""
        return pa.array([], type=self._type)

    def _struct(self, columns: dict[str, Any]) -> pa.Array:
        wanted = [field.name for field in self._type]
        missing = [name for name in wanted if name not in columns]
        if missing:
            raise InvalidParameterValue(
                f"The result type names fields {missing} that the model does not give; it gives {list(columns)}."
            )
        fields = [_cast(columns[field.name], field.type) for field in self._type]
        return pa.StructArray.from_arrays(fields, names=wanted)

    def _lists(self, columns: list[Any]) -> pa.Array:
        inner = self._type.value_type
        if len(columns) == 1 and _holds_lists(columns[0]):
            return pa.array([None if value is None else list(value) for value in columns[0]], type=self._type)
        flat = np.column_stack([np.asarray(values) for values in columns]).ravel()
        offsets = np.arange(0, len(flat) + 1, len(columns), dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), _cast(flat, inner), type=self._type)

    def _leftmost(self, table: list[tuple[Any, Any]]) -> pa.Array:
        reason = None
        for _, values in table:
            try:
                return _cast(values, self._type)
            except InvalidParameterValue as error:
                reason = reason or error
        raise reason or InvalidParameterValue("The model gave no output columns.")


def _table(output: Any) -> list[tuple[Any, Any]]:
    """The output as named columns of equal length."""
    if isinstance(output, pd.DataFrame):
        return [(name, output.iloc[:, i]) for i, name in enumerate(output.columns)]
    if isinstance(output, pd.Series):
        return [(output.name if output.name is not None else "0", output)]
    if isinstance(output, dict):
        return list(output.items())
    values = output if isinstance(output, np.ndarray) else _to_array(output)
    if values.ndim == 0:
        values = values.reshape(1)
    if values.ndim == 1:
        return [("0", values)]
    if values.ndim == 2:
        return [(str(i), values[:, i]) for i in range(values.shape[1])]
    return [("0", list(values))]


def _to_array(output: Any) -> np.ndarray[Any, Any]:
    values = list(output) if isinstance(output, list | tuple) else [output]
    if values and isinstance(values[0], dict):
        return np.array(values, dtype=object)
    try:
        return np.asarray(values)
    except ValueError:
        ragged = np.empty(len(values), dtype=object)
        ragged[:] = values
        return ragged


def _holds_lists(values: Any) -> bool:
    first = next((value for value in values if value is not None), None)
    return isinstance(first, list | tuple | np.ndarray)


def _cast(values: Any, target: pa.DataType) -> pa.Array:
    """One column in `target`'s type; nothing is lost silently, but a float may be rounded to a narrower float."""
    try:
        array = pa.array(values, from_pandas=isinstance(values, pd.Series))
        if pa.types.is_string(target) and not pa.types.is_string(array.type):
            texts = pd.Series(values).astype(object)
            return pa.array([None if value is None else str(value) for value in texts], type=target)
        if pa.types.is_boolean(target) and not pa.types.is_boolean(array.type):
            raise _mismatch(array.type, target)
        if pa.types.is_string(array.type) and not pa.types.is_string(target):
            raise _mismatch(array.type, target)
        return array.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise _mismatch(getattr(values, "dtype", type(values).__name__), target) from None


def _mismatch(got: Any, target: pa.DataType) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"The model did not produce any values compatible with the requested type '{target}': it gave '{got}'. "
        "Consider requesting the udf with 'string' or 'array<string>'."
    )
