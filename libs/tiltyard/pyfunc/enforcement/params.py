"""Params: what a caller may set beside the input, their defaults, and the check of what came.

Source: mlflow/types/schema.py (ParamSpec) and mlflow/models/utils.py (_enforce_params_schema) at v3.17.2.
"""

import datetime as dt
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tiltyard.errors import InvalidParameterValue, TiltyardError, quote
from tiltyard.pyfunc.data_types import DataType, Object, load_list, type_from_dict, type_to_dict

_log = logging.getLogger(__name__)

# By type: the Python types and the names of the numpy scalars a value may have.
_ACCEPTED: dict[DataType, tuple[tuple[type, ...], frozenset[str]]] = {
    DataType.boolean: ((bool,), frozenset({"bool", "bool_"})),
    DataType.integer: ((int,), frozenset({"int32"})),
    DataType.long: ((int,), frozenset({"int32", "int64"})),
    DataType.float: ((float, int), frozenset({"float32", "int32", "int64"})),
    DataType.double: ((float, int), frozenset({"float32", "float64", "int32", "int64"})),
    DataType.string: ((str,), frozenset({"str_"})),
}
_PYTHON: dict[DataType, type] = {
    DataType.boolean: bool,
    DataType.integer: int,
    DataType.long: int,
    DataType.float: float,
    DataType.double: float,
    DataType.string: str,
}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class ParamSpec:
    """One param: name, type, default, and shape (None for one value, (-1,) for a list).

    Raises:
        InvalidParameterValue: binary, another shape, or a default that is not of the type.
    """

    name: str
    type: DataType | Object
    default: Any
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.type is DataType.binary:
            raise InvalidParameterValue(f"Param '{self.name}': binary params are not supported.")
        if self.shape not in (None, (-1,)):
            raise InvalidParameterValue(f"Param '{self.name}': shape must be null or [-1], got {list(self.shape)}.")
        object.__setattr__(self, "default", self.check(self.default))

    def __str__(self) -> str:
        shape = "" if self.shape is None else f" (shape: {self.shape})"
        return f"'{self.name}': {self.type} (default: {quote(self.default)}){shape}"

    def check(self, value: Any) -> Any:
        """`value` in the param's type. Raises: InvalidParameterValue."""
        if self.shape is None:
            return self._check_one(value)
        if not _is_list(value):
            raise InvalidParameterValue(
                f"Value must be a 1D array with shape (-1,) for param '{self.name}', received {quote(value)}"
            )
        return [self._check_one(item) for item in value]

    def _check_one(self, value: Any) -> Any:
        if isinstance(self.type, Object):
            from tiltyard.pyfunc.enforcement.values import enforce_value

            enforce_value(value, self.type)
            return value
        return _check_scalar(value, self.type)

    def to_dict(self) -> dict[str, Any]:
        """The param as JSON values."""
        default = self.default
        if self.type is DataType.datetime:
            default = [item.isoformat() for item in default] if self.shape else default and default.isoformat()
        shape = None if self.shape is None else list(self.shape)
        return {"name": self.name, "default": default, "shape": shape} | type_to_dict(self.type)


@dataclass(frozen=True)
class ParamSchema:
    """The params a model declares. Raises: InvalidParameterValue if a name comes twice."""

    params: tuple[ParamSpec, ...]

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.params]
        if len(set(names)) != len(names):
            raise InvalidParameterValue("A params schema names a param twice.")

    def __iter__(self) -> Iterator[ParamSpec]:
        return iter(self.params)

    def __len__(self) -> int:
        return len(self.params)

    def to_json(self) -> str:
        """The params as upstream writes them into MLmodel."""
        return json.dumps([spec.to_dict() for spec in self.params])

    @classmethod
    def from_json(cls, text: str) -> "ParamSchema":
        """The params that `text` spells. Raises: InvalidParameterValue."""
        return cls(tuple(_param_from_dict(entry) for entry in load_list(text, what="params")))


def validate_params(params: Any, schema: ParamSchema | None) -> dict[str, Any]:
    """What the model gets: every declared param, with the caller's value or the default.

    Unknown names are dropped, and everything is when the model declares no params.

    Raises:
        InvalidParameterValue: not a mapping, or values that do not fit; the message names each.
    """
    if schema is None:
        if params:
            _log.warning("Params are ignored: the model's signature declares none.")
        return {}
    if params is None:
        params = {}
    if not isinstance(params, Mapping):
        raise InvalidParameterValue(f"Parameters must be a dictionary. Got type '{type(params).__name__}'.")
    given = {str(name): value for name, value in params.items()}
    result: dict[str, Any] = {}
    invalid: list[str] = []
    for spec in schema.params:
        if spec.name not in given:
            # A copy, so that a model that changes its params does not change the next call's defaults.
            result[spec.name] = list(spec.default) if isinstance(spec.default, list) else spec.default
            continue
        try:
            result[spec.name] = spec.check(given[spec.name])
        except TiltyardError as error:
            invalid.append(f"('{spec.name}', \"Failed to validate type and shape for {spec}, error: {error.message}\")")
    if invalid:
        raise InvalidParameterValue(f"Invalid parameters found: {{{', '.join(invalid)}}}")
    unknown = given.keys() - result.keys()
    if unknown:
        _log.warning("%d params are ignored: the model's signature does not declare them.", len(unknown))
    return result


def _is_list(value: Any) -> bool:
    if type(value).__module__ == "numpy" and hasattr(value, "ndim"):
        return bool(value.ndim == 1)
    return isinstance(value, list) and not any(isinstance(item, list) for item in value)


def _check_scalar(value: Any, kind: DataType) -> Any:
    if value is None:
        return None
    if kind is DataType.datetime:
        return _check_datetime(value)
    if isinstance(value, list | tuple | dict | set) or getattr(value, "shape", ()) != ():
        raise InvalidParameterValue(f"Value must be a scalar for type `{kind}`, got {quote(value)}")
    python, numpy_names = _ACCEPTED[kind]
    is_numpy = type(value).__module__ == "numpy"
    if (type(value).__name__ in numpy_names) if is_numpy else (type(value) in python):
        try:
            return _PYTHON[kind](value)
        except OverflowError:
            pass
    raise InvalidParameterValue(f"Can not safely convert `{type(value).__name__}` to `{kind}` for value {quote(value)}")


def _check_datetime(value: Any) -> Any:
    if isinstance(value, dt.date):
        return value
    refused = InvalidParameterValue(
        f"Failed to convert value to `datetime`. It must be convertible to datetime.date/datetime, got {quote(value)}"
    )
    if not isinstance(value, str) and type(value).__name__ != "datetime64":
        raise refused
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return dt.date.fromisoformat(value)
        if isinstance(value, str) and len(value) > 10:
            moment = dt.datetime.fromisoformat(value)
            return moment if moment.tzinfo is None else moment.astimezone(dt.UTC).replace(tzinfo=None)
        import numpy as np

        item = np.datetime64(value).item()
    except (ValueError, OverflowError, TypeError):
        raise refused from None
    if item is not None and not isinstance(item, dt.date):
        raise refused
    return item


def _param_from_dict(entry: Any) -> ParamSpec:
    # `dtype` is the key's name in signatures of older releases.
    kind = (entry.get("type") or entry.get("dtype")) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or "name" not in entry or "default" not in entry or not isinstance(kind, str):
        raise InvalidParameterValue("A param in a signature needs 'name', 'type' and 'default'.")
    spec = type_from_dict(entry | {"type": kind})
    if not isinstance(spec, DataType | Object):
        raise InvalidParameterValue(f"A param cannot have the type '{kind[:40]}'.")
    shape = entry.get("shape")
    if shape is not None and not isinstance(shape, list):
        raise InvalidParameterValue("A param's 'shape' in a signature must be null or a list.")
    return ParamSpec(str(entry["name"]), spec, entry["default"], None if shape is None else tuple(shape))
