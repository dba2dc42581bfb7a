"""Stage 2: makes an input what the signature says, by the strict in-process rules.

Shared by online and batch scoring. Nothing is cast that could change a value; extra columns are dropped,
columns come out in the signature's order, an optional column that is absent stays absent.

Source: mlflow/models/utils.py (_enforce_schema) at v3.17.2.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.errors import SchemaEnforcementFailed, name_list, quote
from tiltyard.pyfunc.data_types import Array, DataType, Object
from tiltyard.pyfunc.enforcement.columns import DTYPES, enforce_column
from tiltyard.pyfunc.enforcement.tensors import enforce_tensors
from tiltyard.pyfunc.enforcement.values import enforce_value
from tiltyard.pyfunc.schema import ColSpec, Schema


def enforce(data: Any, schema: Schema) -> Any:
    """`data` as the model takes it: a DataFrame for columns, an ndarray or a dict of them for tensors.

    Takes a DataFrame, Series, ndarray, list, mapping, sparse matrix or scalar. The result passes again.

    Raises:
        SchemaEnforcementFailed: an input is missing, or a value cannot be converted safely.
    """
    try:
        return _enforce(data, schema)
    except SchemaEnforcementFailed as error:
        prefix = "Failed to enforce schema of data"
        if error.message.startswith(prefix + " with schema"):
            raise
        raise SchemaEnforcementFailed(f"{prefix} with schema '{schema}'. Error: {error.message}") from None


def check_missing(have: set[Any], schema: Schema) -> None:
    """Nothing, if every required input is among `have`.

    Raises:
        SchemaEnforcementFailed: names the missing ones, and the extra ones.
    """
    missing = [name for name in schema.required_names if name not in have]
    if not missing:
        return
    known = set(schema.names)
    extra = sorted((name for name in have if name not in known), key=str)
    note = f" Note that there were extra inputs: {name_list(extra)}." if extra else ""
    raise SchemaEnforcementFailed(f"Model is missing inputs {name_list(missing)}.{note}")


def check_count(count: int, schema: Schema) -> None:
    """Nothing, if so many columns are enough for a signature that names none. Raises: SchemaEnforcementFailed."""
    if count < len(schema.columns):
        raise SchemaEnforcementFailed(
            f"Model inference is missing inputs. The model signature declares {len(schema.columns)} inputs  but the "
            f"provided value only has {count} inputs. Note: the inputs were not named in the signature so we can only "
            "verify their count."
        )


def _enforce(data: Any, schema: Schema) -> Any:
    if isinstance(data, pd.Series):
        data = pd.DataFrame(data)
    if schema.names_by_text is not None:
        data = _with_own_names(data, schema)
    if schema.tensors:
        if schema.is_named:
            if len(schema) == 1 and isinstance(data, np.ndarray):
                data = {schema.names[0]: data}
            have = data.columns if isinstance(data, pd.DataFrame) else data if isinstance(data, Mapping) else ()
            check_missing(set(have), schema)
            _refuse_duplicates(list(have), set(schema.names))
        return enforce_tensors(data, schema)
    return _enforce_columns(data if isinstance(data, pd.DataFrame) else _to_frame(data, schema), schema)


def _with_own_names(data: Any, schema: Schema) -> Any:
    """A DataFrame or a mapping whose names are texts, in the integer names of the schema."""
    if not isinstance(data, pd.DataFrame | Mapping):
        return data
    given = list(data.columns if isinstance(data, pd.DataFrame) else data)
    names: Any = schema.own_names(given)
    if names is given:
        return data
    return (
        data.set_axis(names, axis=1) if isinstance(data, pd.DataFrame) else dict(zip(names, data.values(), strict=True))
    )


def _to_frame(data: Any, schema: Schema) -> pd.DataFrame:
    """A DataFrame from what a caller may pass instead of one."""
    try:
        if np.isscalar(data):
            return pd.DataFrame([data])
        if isinstance(data, Mapping):
            return _mapping_to_frame(dict(data), schema)
        if isinstance(data, list | np.ndarray):
            return pd.DataFrame(data)
    except (ValueError, TypeError, AttributeError, KeyError):
        raise SchemaEnforcementFailed(
            "This model contains a column-based signature, which suggests a DataFrame input. "
            "There was an error casting the input data to a DataFrame."
        ) from None
    raise SchemaEnforcementFailed(f"Expected input to be DataFrame. Found: {type(data).__name__}")


def _mapping_to_frame(data: dict[Any, Any], schema: Schema) -> pd.DataFrame:
    nested = any(isinstance(spec.type, Array | Object) for spec in schema.columns)
    if nested or all(_is_cell(value) for value in data.values()):
        return pd.DataFrame([data])
    if all(isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind == "U" for value in data.values()):
        return pd.DataFrame([{key: value.item() for key, value in data.items()}])
    flat = {
        key: value.tolist() if isinstance(value, np.ndarray) and value.ndim > 1 else value
        for key, value in data.items()
    }
    return pd.DataFrame(flat)


def _is_cell(value: Any) -> bool:
    """Whether a mapping's value is one cell, not a column: a scalar or a list of texts."""
    is_texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return is_texts or value is None or bool(np.isscalar(value))


def _enforce_columns(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    frame, specs = _select(frame, schema)
    dtypes = list(frame.dtypes)
    pending: dict[tuple[Any, DataType], list[int]] = defaultdict(list)
    nested: list[int] = []
    for i, (dtype, spec) in enumerate(zip(dtypes, specs, strict=True)):
        if not isinstance(spec.type, DataType):
            nested.append(i)
        elif dtype != DTYPES[spec.type]:
            pending[dtype, spec.type].append(i)
    if not pending and not nested:
        return frame
    pieces: dict[int, Any] = {}
    groups: list[tuple[list[int], pd.DataFrame]] = []
    for (dtype, kind), positions in pending.items():
        block = _enforce_block(frame, positions, dtype, kind)
        if block is not None:
            groups.append((positions, block))
            continue
        for i in positions:
            pieces[i] = enforce_column(frame.columns[i], frame.iloc[:, i], kind)
    for i in nested:
        pieces[i] = _enforce_nested(frame.iloc[:, i], specs[i])
    return _assemble(frame, pieces, groups)


def _select(frame: pd.DataFrame, schema: Schema) -> tuple[pd.DataFrame, tuple[ColSpec, ...]]:
    """The columns the signature knows, in its order, and their specs."""
    labels = list(frame.columns)
    specs = schema.columns
    if not schema.is_named:
        check_count(len(labels), schema)
        if len(labels) > len(specs):
            frame = frame.iloc[:, : len(specs)]
        _refuse_duplicates(labels[: len(specs)], set(labels[: len(specs)]))
        return frame, specs
    if labels == schema.names:
        return frame, specs
    have = set(labels)
    check_missing(have, schema)
    if len(have) != len(labels):
        _refuse_duplicates(labels, set(schema.names))
    present = tuple(spec for spec in specs if spec.name in have)
    return frame[[spec.name for spec in present]], present


def _refuse_duplicates(labels: list[Any], wanted: set[Any]) -> None:
    twice = [label for label, count in Counter(labels).items() if count > 1 and label in wanted]
    if twice:
        raise SchemaEnforcementFailed(f"Columns come more than once: {name_list(twice)}")


def _enforce_block(frame: pd.DataFrame, positions: list[int], dtype: Any, kind: DataType) -> pd.DataFrame | None:
    """All columns of one numeric dtype converted at once; None if they must be looked at one by one."""
    if len(positions) < 2 or not isinstance(dtype, np.dtype) or dtype.kind not in "iuf":
        return None
    try:
        target: Any = enforce_column("", pd.Series(np.empty(0, dtype=dtype)), kind).dtype
    except SchemaEnforcementFailed:
        return None
    block = frame.iloc[:, positions].to_numpy()
    if dtype == np.dtype("int64") and target.kind == "f" and not ((block == 0) | (block == 1)).all():
        # Such a column may hold flags only, which the empty probe could not show: let it be refused by name.
        return None
    return pd.DataFrame(block.astype(target), index=frame.index, columns=positions)


def _enforce_nested(column: "pd.Series[Any]", spec: ColSpec) -> "pd.Series[Any]":
    values = []
    for i, value in enumerate(column):
        try:
            values.append(enforce_value(value, spec.type, spec.required))
        except SchemaEnforcementFailed as error:
            raise SchemaEnforcementFailed(
                f"Column {quote(column.name)} row {i} is not of type '{spec.type}': {error.message}"
            ) from None
    # As upstream's, the column has the type that pandas infers, which matters for `any`.
    return pd.Series(values, index=column.index)


def _assemble(
    frame: pd.DataFrame, pieces: dict[int, Any], groups: list[tuple[list[int], pd.DataFrame]]
) -> pd.DataFrame:
    changed = set(pieces).union(*(positions for positions, _ in groups))
    kept = [i for i in range(len(frame.columns)) if i not in changed]
    if kept:
        groups = [(kept, frame.iloc[:, kept]), *groups]
    if pieces:
        groups = [*groups, (list(pieces), pd.DataFrame(pieces, index=frame.index))]
    order = [i for positions, _ in groups for i in positions]
    result = groups[0][1] if len(groups) == 1 else pd.concat([block for _, block in groups], axis=1)
    if order != sorted(order):
        result = result.iloc[:, np.argsort(order)]
    return result.set_axis(frame.columns, axis=1)
