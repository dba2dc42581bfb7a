"""Arrow columns to what a model takes.

Plain numbers go straight into one Fortran-ordered matrix: the layout of a DataFrame, so sums round as they do there.
Everything else becomes a DataFrame as Spark itself would make it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tiltyard.errors import InvalidParameterValue, SchemaEnforcementFailed, quote
from tiltyard.pyfunc.data_types import DataType, Name
from tiltyard.pyfunc.schema import Schema
from tiltyard.spark.executors.column_names import match_names
from tiltyard.spark.executors.tensor_columns import to_tensor

_FLOATS = {"float64": pa.float64(), "float32": pa.float32()}
_INTEGERS = {"int64": pa.int64(), "int32": pa.int32()}
# Up to here every integer is a double.
_EXACT = 2**53


class Arguments:
    """How the columns of a UDF call become the model's input.

    `names` are those of the columns, where the call fixed them. Else a struct brings its own, and plain columns take
    the signature's in its order, or '0', '1', … without one. `ignore_case` says that names are the same whatever
    their case, as they are in Spark by default.
    """

    def __init__(
        self,
        inputs: Schema | None,
        *,
        time_zone: str,
        names: Sequence[Name] | None = None,
        ignore_case: bool = True,
    ) -> None:
        self._inputs = inputs
        self._time_zone = time_zone
        self._fixed = names
        self._ignore_case = ignore_case
        # The columns that enforcement will look at, whatever it makes of them.
        self._typed = {
            name for name, spec in zip(inputs.names, inputs.columns, strict=False) if isinstance(spec.type, DataType)
        } if inputs is not None else set()  # fmt: skip

    def named(self, arrays: Sequence[pa.Array]) -> tuple[list[Any], Sequence[pa.Array]]:
        """The names of the model's columns, and the columns.

        Raises:
            InvalidParameterValue: fewer columns than the signature requires.
        """
        if self._fixed is not None:
            return list(self._fixed), arrays
        if len(arrays) == 1 and pa.types.is_struct(arrays[0].type):
            struct = arrays[0]
            names: list[Any] = [field.name for field in struct.type]
            if self._inputs is not None and self._inputs.is_named:
                names = match_names(names, self._inputs.names, ignore_case=self._ignore_case)
            # `flatten` carries the struct's own nulls into its fields.
            return names, struct.flatten()
        names = self._names(len(arrays))
        return names, arrays[: len(names)]

    def to_input(self, arrays: Sequence[pa.Array]) -> Any:
        """The model input for one batch, not yet enforced.

        Raises:
            InvalidParameterValue: fewer columns than the signature requires.
            SchemaEnforcementFailed: the columns cannot be the tensors that the signature asks for, or a long column
                has gaps and values that no double holds.
        """
        if self._inputs is None or not self._inputs.tensors:
            return self.frame(*self.named(arrays))
        specs = self._inputs.tensors
        bare = len(arrays) == 1 and self._fixed is None and not pa.types.is_struct(arrays[0].type)
        names, columns = ([specs[0].name], arrays) if bare and len(specs) == 1 else self.named(arrays)
        if not self._inputs.is_named:
            return to_tensor(columns, specs[0])
        found = dict(zip(names, columns, strict=True))
        if not all(spec.name in found for spec in specs):
            # What is missing is told by enforcement.
            return self.frame(names, columns)
        return {spec.name: to_tensor([found[spec.name]], spec) for spec in specs}

    def frame(self, names: Sequence[Any], arrays: Sequence[pa.Array]) -> pd.DataFrame:
        """The columns as a DataFrame."""
        labels = pd.Index(names, dtype=object)
        if arrays and all(array.type == pa.float64() for array in arrays):
            return pd.DataFrame(to_matrix(arrays), columns=labels, copy=False)
        plain = [i for i, array in enumerate(arrays) if not _is_special(array)]
        # One table for all of them has one block per type, which is quicker than column by column.
        table = pa.Table.from_arrays([arrays[i] for i in plain], names=[str(i) for i in plain])
        frame: pd.DataFrame = table.to_pandas(use_threads=False)
        if len(plain) < len(arrays):
            at = {i: frame[str(i)] for i in plain}
            frame = pd.DataFrame(
                {i: at[i] if i in at else self._series(names[i], array) for i, array in enumerate(arrays)}
            )
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

    def _series(self, name: Name, array: pa.Array) -> Any:
        typed = name in self._typed
        if pa.types.is_timestamp(array.type):
            return _moments(self._local(array))
        if pa.types.is_date(array.type):
            # Without a signature as they are, as Spark's own functions have them.
            return _moments(array.cast(pa.timestamp("us"))) if typed else array.to_pandas(date_as_object=True)
        if pa.types.is_decimal(array.type):
            # By way of text, for Arrow rounds some decimals to the neighbour of their double.
            return array.cast(pa.string()).cast(pa.float64()).to_pandas() if typed else array.to_pandas()
        if typed and pa.types.is_integer(array.type):
            raise SchemaEnforcementFailed(
                f"Incompatible input types for column {quote(name)}. It has missing values, so its integers become "
                "doubles, and some are too large to be one exactly. Fill the missing values or cast the column."
            )
        values = self._local(array).to_pandas(
            maps_as_pydicts="strict", integer_object_nulls=True, date_as_object=True, coerce_temporal_nanoseconds=False
        )
        convert = _moments_within(array.type)
        return values if convert is None else values.map(convert, na_action="ignore")

    def _local(self, array: pa.Array) -> pa.Array:
        """The same with every instant, at any depth, as the wall-clock time of the session's zone.

        Spark sends instants; a model knows wall-clock times, in the session's zone as everywhere in Spark.
        """
        kind = array.type
        if pa.types.is_timestamp(kind):
            if kind.tz is None:
                return array
            local = array.to_pandas().dt.tz_convert(self._time_zone).dt.tz_localize(None)
            return pa.array(local, pa.timestamp("us"), from_pandas=True)
        if not _has_instants(kind):
            return array
        mask = array.is_null() if array.null_count else None
        if pa.types.is_struct(kind):
            fields = [self._local(array.field(i)) for i in range(kind.num_fields)]
            return pa.StructArray.from_arrays(fields, [field.name for field in kind], mask=mask)
        offsets = _offsets(array)
        if pa.types.is_map(kind):
            keys, items = self._local(array.keys), self._local(array.items)
            return pa.MapArray.from_arrays(offsets, keys, items)
        made = pa.LargeListArray if pa.types.is_large_list(kind) else pa.ListArray
        return made.from_arrays(offsets, self._local(array.values))


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


def _is_special(array: pa.Array) -> bool:
    """Whether pandas users expect something else than Arrow makes of it."""
    kind = array.type
    return bool(
        pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_nested(kind)
        or (kind == pa.int64() and array.null_count and not _are_doubles(array))
    )


def _are_doubles(integers: pa.Array) -> bool:
    """Whether a gap among the integers, which makes doubles of them all, changes none."""
    ends = pc.min_max(integers).as_py()
    return ends["min"] is None or (ends["min"] >= -_EXACT and ends["max"] <= _EXACT)


def _moments(array: pa.Array) -> "pd.Series[Any]":
    """Wall-clock times to the nanosecond, or to the microsecond where one is beyond the years 1677 to 2262."""
    series: pd.Series[Any] = array.to_pandas(coerce_temporal_nanoseconds=False)
    try:
        return series.astype("datetime64[ns]")
    except pd.errors.OutOfBoundsDatetime:
        return series


def _has_instants(kind: pa.DataType) -> bool:
    if pa.types.is_timestamp(kind):
        return kind.tz is not None
    return pa.types.is_nested(kind) and any(_has_instants(kind.field(i).type) for i in range(kind.num_fields))


def _moments_within(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """What makes pandas' Timestamps of the times in a nested value; None where there are no times."""
    if pa.types.is_timestamp(kind):
        return lambda value: None if value is None else pd.Timestamp(value)
    if pa.types.is_struct(kind):
        parts = {field.name: convert for field in kind if (convert := _moments_within(field.type)) is not None}
        return _of_struct(parts) if parts else None
    if pa.types.is_map(kind):
        return _of_map(_moments_within(kind.key_type), _moments_within(kind.item_type))
    if pa.types.is_nested(kind):
        return _of_list(_moments_within(kind.value_type))
    return None


def _of_struct(parts: dict[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if value is None:
            return None
        return {name: parts[name](item) if name in parts else item for name, item in value.items()}

    return convert


def _of_map(key: Callable[[Any], Any] | None, item: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    if key is None and item is None:
        return None

    def convert(value: Any) -> Any:
        if value is None:
            return None
        return {(key(k) if key else k): (item(v) if item else v) for k, v in value.items()}

    return convert


def _of_list(item: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    if item is None:
        return None

    def convert(value: Any) -> Any:
        if value is None:
            return None
        found = np.empty(len(value), dtype=object)
        # One by one: of arrays that are equally long numpy would make a matrix.
        for i, element in enumerate(value):
            found[i] = item(element)
        return found

    return convert


def _offsets(array: pa.Array) -> pa.Array:
    """Where each list or map begins in its array of values, null where it is null itself."""
    if not array.null_count:
        return array.offsets
    begins = np.append(np.asarray(array.is_null()), False)
    return pa.array(np.asarray(array.offsets), mask=begins)
