"""Arrow columns to a tensor: reshaped and cast to what the signature says, where that loses nothing but digits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tiltyard.errors import SchemaEnforcementFailed, quote
from tiltyard.pyfunc.enforcement.tensors import check_frame_shape, clean_dtype, reshape_column, tensor_dtype
from tiltyard.pyfunc.schema import TensorSpec


def to_tensor(arrays: Sequence[pa.Array], spec: TensorSpec) -> "np.ndarray[Any, Any]":
    """The tensor of a column of (flat or nested) arrays or of scalars, or of several columns of scalars.

    Raises:
        SchemaEnforcementFailed: the values do not fill the shape, or a cast would change them by more than a float
            of fewer digits does.
    """
    if len(arrays) > 1:
        check_frame_shape(len(arrays), spec)
        columns = [_cast(_scalars(array), spec) for array in arrays]
        tensor: np.ndarray[Any, Any] = np.empty((len(arrays[0]), len(arrays)), dtype=columns[0].dtype, order="F")
        for i, column in enumerate(columns):
            tensor[:, i] = column
        return tensor
    array = arrays[0]
    rows, sizes = len(array), [len(array)]
    while _is_list(array.type):
        if array.null_count:
            raise SchemaEnforcementFailed(f"A row has no array for {_name(spec)}, which a tensor cannot leave out.")
        lengths = pc.unique(pc.list_value_length(array))
        if len(lengths) > 1:
            return _ragged(arrays[0], spec)
        sizes.append(lengths[0].as_py() if len(lengths) else 0)
        array = array.flatten()
    values = _cast(_scalars(array), spec)
    if -1 in spec.shape[1:]:
        # What the signature leaves open the data say themselves.
        return values.reshape(sizes)
    if spec.shape[:1] != (-1,) or values.size != rows * int(np.prod(spec.shape[1:])):
        raise SchemaEnforcementFailed(
            f"The values of {_name(spec)} could not be converted to the expected shape of: '{spec.shape}'. Ensure "
            f"that each row has an array of as many values. The arrays have the shape {tuple(sizes)}."
        )
    return values.reshape((rows, *spec.shape[1:]))


def _ragged(array: pa.Array, spec: TensorSpec) -> "np.ndarray[Any, Any]":
    """Arrays that are not equally long: where the signature leaves that open one object each, else refused."""
    if -1 not in spec.shape[1:]:
        # It says what is expected.
        return reshape_column(array.to_pylist(), spec)
    found = np.empty(len(array), dtype=object)
    for i, row in enumerate(array):
        found[i] = _cast(np.array(row.as_py()), spec)
    return found


def _scalars(array: pa.Array) -> "np.ndarray[Any, Any]":
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string()).cast(pa.float64())
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _cast(values: "np.ndarray[Any, Any]", spec: TensorSpec) -> "np.ndarray[Any, Any]":
    target = tensor_dtype(spec)
    if clean_dtype(values.dtype) == target or target == np.dtype(object):
        return values
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            cast = values.astype(target)
            # A float is rounded to one of fewer digits, as everywhere; nothing else may change.
            lossless = (values.dtype.kind, target.kind) == ("f", "f") or bool((cast == values).all())
    except (TypeError, ValueError, OverflowError):
        lossless = False
    if not lossless or (values.dtype.kind in "OUS") != (target.kind in "US"):
        raise SchemaEnforcementFailed(
            f"The values of {_name(spec)} are {values.dtype} and cannot be {target} without a loss."
        )
    return cast


def _name(spec: TensorSpec) -> str:
    return "the unnamed input" if spec.name is None else f"input {quote(spec.name)}"


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
