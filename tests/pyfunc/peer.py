"""The stock MLflow client as the reference that tests compare with; imported once per run."""

import copy
import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException
    from mlflow.models import ModelSignature
    from mlflow.models.utils import _enforce_params_schema, _enforce_schema
    from mlflow.pyfunc.scoring_server import infer_and_parse_data
    from mlflow.types.schema import ParamSchema as PeerParams
    from mlflow.types.schema import Schema as PeerSchema

logging.getLogger("mlflow").setLevel(logging.ERROR)

REFUSED = object()


def enforce(data: Any, schema: Any) -> Any:
    """What the peer makes of `data` in process, or REFUSED."""
    return _quietly(_enforce_schema, data, PeerSchema.from_json(schema.to_json()))


def parse(fields: dict[str, Any], schema: Any) -> Any:
    """What the peer makes of a request's fields: its parser's casts, then its enforcement; or REFUSED."""
    peer = PeerSchema.from_json(schema.to_json())

    def both() -> Any:
        # The peer's parser changes the fields it is given.
        return _enforce_schema(infer_and_parse_data(copy.deepcopy(fields), peer), peer)

    return _quietly(both)


def params(given: Any, schema: Any) -> Any:
    """The peer's validated params, or REFUSED."""
    return _quietly(_enforce_params_schema, given, PeerParams.from_json(schema.to_json()))


def _quietly(function: Any, *args: Any) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(*args)
        except Exception:
            return REFUSED


def same(one: Any, other: Any) -> bool:
    """Whether two model inputs are equal: kinds, columns, dtypes and values."""
    if isinstance(one, pd.DataFrame):
        if not isinstance(other, pd.DataFrame) or list(one.columns) != list(other.columns):
            return False
        # A frame without columns has no rows at the peer; with us it keeps them.
        if len(one.columns) and len(one) != len(other):
            return False
        return all(_same_column(one.iloc[:, i], other.iloc[:, i]) for i in range(one.shape[1]))
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, np.ndarray):
        if not isinstance(other, np.ndarray) or one.shape != other.shape:
            return False
        # The length that a numpy text carries says nothing.
        same_dtype = one.dtype == other.dtype or (one.dtype.kind == other.dtype.kind and one.dtype.kind in "US")
        return same_dtype and same_value(one.tolist(), other.tolist())
    return same_value(one, other)


def _same_column(one: Any, other: Any) -> bool:
    return one.dtype == other.dtype and same_value(one.tolist(), other.tolist())


def same_value(one: Any, other: Any) -> bool:
    """Whether two values are equal, NaN to NaN, None to None."""
    if isinstance(one, list | np.ndarray) and isinstance(other, list | np.ndarray):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    if one is None or other is None:
        return one is None and other is None
    if pd.api.types.is_scalar(one) and pd.isna(one):
        return bool(pd.isna(other))
    return bool(one == other)


__all__ = ["REFUSED", "MlflowException", "ModelSignature", "PeerSchema", "enforce", "mlflow", "params", "parse", "same"]
