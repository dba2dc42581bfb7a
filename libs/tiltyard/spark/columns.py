"""Arrow columns to what a model takes, and predictions back to one Arrow column.

Plain numbers go straight into one Fortran-ordered matrix: the layout of a DataFrame, so sums round as they do there.
Everything else becomes a DataFrame as Spark itself would make it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.schema import Schema

_FLOATS = {"float64": pa.float64(), "float32": pa.float32()}
_INTEGERS = {"int64": pa.int64(), "int32": pa.int32()}


class Arguments:
    """How the columns of a UDF call become the model's input.

    `names` are those of the columns, where the call fixed them. Else a struct brings its own, and plain columns take
    the signature's in its order, or '0', '1', … without one.
    """

    def __init__(self, inputs: Schema | None, *, time_zone: str, names: Sequence[str] | None = None) -> None:
        self._inputs = inputs
        self._time_zone = time_zone
        self._fixed = names

    def named(self, arrays: Sequence[pa.Array]) -> tuple[list[Any], Sequence[pa.Array]]:
        """The names of the model's columns, and the columns.

        Raises:
            InvalidParameterValue: fewer columns than the signature requires.
        """
        if self._fixed is not None:
            return list(self._fixed), arrays
        if len(arrays) == 1 and pa.types.is_struct(arrays[0].type):
            struct = arrays[0]
            # `flatten` carries the struct's own nulls into its fields.
            return [field.name for field in struct.type], struct.flatten()
        names = self._names(len(arrays))
        return names, arrays[: len(names)]

    def to_input(self, arrays: Sequence[pa.Array]) -> Any:
        """The model input for one batch, not yet enforced.

        Raises:
            InvalidParameterValue: fewer columns than the signature requires.
        """
        bare = len(arrays) == 1 and self._fixed is None and not pa.types.is_struct(arrays[0].type)
        if bare and self._inputs is not None and self._inputs.tensors:
            return _tensor(arrays[0])
        return self.frame(*self.named(arrays))

    def frame(self, names: Sequence[Any], arrays: Sequence[pa.Array]) -> pd.DataFrame:
        """The columns as a DataFrame."""
        labels = pd.Index(names, dtype=object)
        if arrays and all(array.type == pa.float64() for array in arrays):
            return pd.DataFrame(to_matrix(arrays), columns=labels, copy=False)
        plain = [i for i, array in enumerate(arrays) if not _is_special(array.type)]
        # One table for all of them has one block per type, which is quicker than column by column.
        table = pa.Table.from_arrays([arrays[i] for i in plain], names=[str(i) for i in plain])
        frame: pd.DataFrame = table.to_pandas(use_threads=False)
        if len(plain) < len(arrays):
            at = {i: frame[str(i)] for i in plain}
            frame = pd.DataFrame({i: at[i] if i in at else self._series(array) for i, array in enumerate(arrays)})
        frame.columns = labels
        return frame

    def _names(self, count: int) -> list[Any]:
        if self._inputs is None:
            return [str(i) for i in range(count)]
        if not self._inputs.is_named:
            return list(range(count))
        required = self._inputs.required_names
        if count < len(required):
            raise InvalidParameterValue(
                f"Model input is missing required columns. Expected {len(required)} required input columns "
                f"{required}, but the model received only {count} unnamed input columns (Since the columns were "
                "passed unnamed they are expected to be in the order specified by the schema)."
            )
        return self._inputs.names[:count]

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


def to_matrix(arrays: Sequence[pa.Array]) -> "np.ndarray[Any, Any]":
    """Columns of numbers as one Fortran-ordered matrix of the type they share; nulls are NaN."""
    dtype = np.result_type(*{array.type.to_pandas_dtype() for array in arrays})
    matrix = np.empty((len(arrays[0]), len(arrays)), dtype=dtype, order="F")
    for i, array in enumerate(arrays):
        matrix[:, i] = array.to_numpy(zero_copy_only=False)
    return matrix


def is_proven(arrays: Sequence[pa.Array], dtypes: Sequence[str]) -> bool:
    """Whether the columns are numbers of exactly these pandas dtypes, so that enforcement would change nothing."""
    return len(arrays) == len(dtypes) and all(
        array.type == _FLOATS.get(dtype) or (array.type == _INTEGERS.get(dtype) and array.null_count == 0)
        for array, dtype in zip(arrays, dtypes, strict=True)
    )


def _is_special(kind: pa.DataType) -> bool:
    """Whether pandas users expect something else than Arrow makes of it."""
    return bool(
        pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_decimal(kind) or pa.types.is_nested(kind)
    )


def _tensor(array: pa.Array) -> "np.ndarray[Any, Any]":
    kind = array.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    values = array.flatten()
    lengths = pc.unique(pc.list_value_length(array))
    if array.null_count == 0 and len(lengths) == 1 and pa.types.is_floating(values.type):
        return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(array), -1)
    return np.array(array.to_pylist())


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
