"""Stage 2 for tensors: shape and dtype are those of the spec; frames are reshaped into them.

Source: mlflow/models/utils.py (_enforce_tensor_spec, _enforce_tensor_schema) at v3.17.2.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.errors import InvalidParameterValue, SchemaEnforcementFailed, quote
from tiltyard.pyfunc.schema import Schema, TensorSpec


def tensor_dtype(spec: TensorSpec) -> "np.dtype[Any]":
    """The numpy dtype a tensor must have. Raises: InvalidParameterValue if numpy knows no such dtype."""
    try:
        return np.dtype(spec.dtype)
    except TypeError:
        raise InvalidParameterValue(f"The signature names an unknown tensor dtype {quote(spec.dtype)}.") from None


def clean_dtype(dtype: "np.dtype[Any]") -> "np.dtype[Any]":
    """`dtype` without the length that texts and bytes carry."""
    return np.dtype({"U": "str", "S": "bytes"}[dtype.kind]) if dtype.kind in "US" else dtype


def is_sparse(data: Any) -> bool:
    """Whether `data` is a scipy matrix in csr or csc form; loads no scipy to find out."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and isinstance(data, (sparse.csr_matrix, sparse.csc_matrix))


def enforce_tensor(values: Any, spec: TensorSpec) -> Any:
    """`values` (ndarray or sparse matrix) if its shape and dtype are those of the spec.

    Raises:
        SchemaEnforcementFailed: another rank, size or dtype.
    """
    expected, actual = spec.shape, tuple(values.shape)
    dtype = values.dtype if isinstance(values, np.ndarray) else values.data.dtype
    target = tensor_dtype(spec)
    if expected == (-1,) and target == np.dtype(object):
        return values
    if len(expected) > 1 and -1 in expected[1:] and len(actual) == 1 and dtype == np.dtype(object):
        # A ragged batch: rows of different sizes come as one array of objects.
        return values
    if len(expected) != len(actual) or any(want not in (-1, got) for want, got in zip(expected, actual, strict=True)):
        raise SchemaEnforcementFailed(f"Shape of input {actual} does not match expected shape {expected}.")
    if clean_dtype(dtype) != target:
        raise SchemaEnforcementFailed(f"dtype of input {dtype} does not match expected dtype {target}")
    return values


def enforce_tensors(data: Any, schema: Schema) -> Any:
    """The ndarray (unnamed) or the dict of ndarrays (named) that the model takes.

    Raises:
        SchemaEnforcementFailed: `data` is of another kind, or a tensor does not fit its spec.
    """
    if not schema.is_named:
        return _unnamed(data, schema.tensors[0])
    if isinstance(data, pd.DataFrame):
        return {spec.name: reshape_column(_cells(data[spec.name], spec), spec) for spec in schema.tensors}
    if not isinstance(data, Mapping):
        raise SchemaEnforcementFailed(
            "This model contains a tensor-based model signature with input names, which suggests a dictionary input "
            "mapping input name to tensor, or a pandas DataFrame input containing columns mapping input name to "
            f"flattened list value from tensor, but an input of type {type(data).__name__} was found."
        )
    for spec in schema.tensors:
        if not isinstance(data[spec.name], np.ndarray):
            raise SchemaEnforcementFailed(
                "This model contains a tensor-based model signature with input names, which suggests a dictionary "
                f"input mapping input name to a numpy array, but a dict with value type "
                f"{type(data[spec.name]).__name__} was found."
            )
    return {spec.name: enforce_tensor(data[spec.name], spec) for spec in schema.tensors}


def _unnamed(data: Any, spec: TensorSpec) -> Any:
    if isinstance(data, np.ndarray) or is_sparse(data):
        return enforce_tensor(data, spec)
    if not isinstance(data, pd.DataFrame):
        raise SchemaEnforcementFailed(
            "This model contains a tensor-based model signature with no input names, which suggests a numpy array "
            "input or a pandas dataframe input with proper column values, but an input of type "
            f"{type(data).__name__} was found."
        )
    if data.empty:
        raise SchemaEnforcementFailed("Input DataFrame is empty.")
    if len(data.columns) == 1:
        return reshape_column(_cells(data.iloc[:, 0], spec), spec)
    check_frame_shape(len(data.columns), spec)
    return enforce_tensor(data.to_numpy(), spec)


def check_frame_shape(columns: int, spec: TensorSpec) -> None:
    """Nothing, if a frame of that many scalar columns is what the unnamed tensor asks for.

    Raises:
        SchemaEnforcementFailed: the shape is not (-1, columns).
    """
    if spec.shape != (-1, columns):
        raise SchemaEnforcementFailed(
            "This model contains a model signature with an unnamed input. Since the input data is a pandas DataFrame "
            "containing multiple columns, the input shape must be of the structure (-1, number_of_dataframe_columns). "
            f"Instead, the input DataFrame passed had {columns} columns and an input shape of {spec.shape} with all "
            "values within the DataFrame of scalar type."
        )


def _cells(column: "pd.Series[Any]", spec: TensorSpec) -> "list[Any] | np.ndarray[Any, Any]":
    """The cells of a column; as an array where nothing is left to convert, which one call would do for all of them."""
    same = column.dtype == tensor_dtype(spec) and tensor_dtype(spec).kind in "biuf"
    return column.to_numpy() if same else column.tolist()


def reshape_column(values: "list[Any] | np.ndarray[Any, Any]", spec: TensorSpec) -> "np.ndarray[Any, Any]":
    """A tensor from one column: of scalars, or of flat lists that are reshaped in C order.

    An array is one of numbers of the tensor's type, or has more than one dimension: then its first one is the column's.

    Raises:
        SchemaEnforcementFailed: the spec's shape is not fixed beyond its first dimension, or the values
            do not fill it.
    """
    name = "the unnamed input" if spec.name is None else f"input {quote(spec.name)}"
    if not spec.shape or spec.shape[0] != -1 or -1 in spec.shape[1:]:
        raise SchemaEnforcementFailed(
            "For pandas dataframe input, the first dimension of shape must be a variable dimension and other "
            f"dimensions must be fixed, but in model signature the shape of {name} is {spec.shape}."
        )
    if not len(values):
        raise SchemaEnforcementFailed("Input DataFrame is empty.")
    target = tensor_dtype(spec)
    first = values[0]
    refused = SchemaEnforcementFailed(
        f"The value in the Input DataFrame column of {name} could not be converted to the expected shape of: "
        f"'{spec.shape}'. Ensure that each of the input list elements are of uniform length and that the data can be "
        f"coerced to the tensor type '{target}'"
    )
    try:
        if np.isscalar(first):
            if spec.shape not in ((-1,), (-1, 1)):
                raise SchemaEnforcementFailed(
                    f"The input pandas dataframe column of {name} contains scalar values, which requires the shape to "
                    f"be (-1,) or (-1, 1), but got tensor spec shape of {spec.shape}."
                )
            return np.asarray(enforce_tensor(np.array(values, dtype=target).reshape(spec.shape), spec))
        if isinstance(values, np.ndarray):
            tensor = values.reshape(spec.shape)
        elif isinstance(first, list) and first and np.isscalar(first[0]):
            tensor = np.vstack(values).reshape(spec.shape).astype(target)
        elif isinstance(first, np.ndarray):
            tensor = np.vstack(values).reshape(spec.shape)
        else:
            raise SchemaEnforcementFailed(
                "Because the model signature requires tensor spec input, the input pandas dataframe values should be "
                "either scalar value, python list containing scalar values or numpy array containing scalar values, "
                "other types are not supported."
            )
    except (ValueError, TypeError, OverflowError):
        raise refused from None
    if len(tensor) != len(values):
        raise refused
    return tensor
