"""Models whose `predict` names the type of its input: plain Python lists, checked against the hint.

Source: mlflow/types/type_hints.py and mlflow/pyfunc/utils/data_validation.py at v3.17.2.
"""

import base64
import binascii
import datetime as dt
import inspect
import math
import re
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tiltyard.errors import InvalidModelInput, quote

# The hint that asks for the input in the form of the input example.
TypeFromExample = TypeVar("TypeFromExample")

# Hints that are only a text, as `from __future__ import annotations` makes them.
_TOLD = (
    (re.compile(r"(t\w*\.)?list\[str\]", re.IGNORECASE), list[str]),
    (re.compile(r"(t\w*\.)?list\[(t\w*\.)?dict\[str,str\]\]", re.IGNORECASE), list[dict[str, str]]),
)
_PRIMITIVES = (int, str, bool, float, bytes, dt.datetime)
_UNIONS = (Union, UnionType)
# Up to here a float holds every integer.
_EXACT = 2**53


def takes_context(function: Any) -> bool:
    """Whether a `predict` takes a context before its input; any name will do for it."""
    names = list(inspect.signature(function).parameters)
    return "context" in names or len([name for name in names if name not in ("self", "params")]) == 2


def input_hint(function: Any) -> Any:
    """The type hint of the input of a `predict` function or method, spelled with built-in types; None without one."""
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    index = 1 if takes_context(function) else 0
    if len(names) <= index:
        return None
    function = function if hasattr(function, "__annotations__") else function.__call__
    try:
        return plain_hint(get_type_hints(function).get(names[index]))
    except (TypeError, NameError, AttributeError):
        # Texts whose names the pickle has left behind.
        told = getattr(function, "__annotations__", {}).get(names[index])
        return next(
            (hint for form, hint in _TOLD if isinstance(told, str) and form.fullmatch(told.replace(" ", ""))), None
        )


def plain_hint(hint: Any) -> Any:
    """A hint as the built-in types spell it: `typing.List[str]` as `list[str]`, `typing.List` as `list`."""
    origin, args = get_origin(hint), tuple(map(plain_hint, get_args(hint)))
    if origin in (list, dict):
        return origin[args] if args else origin
    return Union[args] if origin in _UNIONS else hint  # noqa: UP007 - as many as there are


def validate_model_input(
    args: tuple[Any, ...], kwargs: dict[str, Any], index: int, hint: Any, name: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with the input, by position or by name, checked and converted by its hint.

    Raises:
        InvalidModelInput: the input does not match the hint.
    """
    if name in kwargs:
        kwargs[name] = check_hint(from_frame(kwargs[name], hint), hint)
    elif len(args) > index:
        args = (*args[:index], check_hint(from_frame(args[index], hint), hint), *args[index + 1 :])
    return args, kwargs


def check_hint(data: Any, hint: Any) -> Any:  # noqa: PLR0911 - one return per kind of hint
    """`data` if it is what the hint says; dicts become pydantic models where it names one.

    ISO text becomes a datetime and base64 text bytes: JSON has neither.

    Raises:
        InvalidModelInput: it is not; names the first offending element.
    """
    if hint is Any or isinstance(hint, TypeVar):
        return data
    if hint in _PRIMITIVES:
        return _primitive(data, hint)
    if hasattr(hint, "model_validate"):
        return _pydantic(data, hint)
    origin, args = get_origin(hint), get_args(hint)
    if origin is list:
        if not isinstance(data, list):
            raise InvalidModelInput(f"Expected list, but got {type(data).__name__}")
        return [_element(item, args[0], i) for i, item in enumerate(data)]
    if origin is dict:
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            raise InvalidModelInput(f"Expected dict with text keys, but got {type(data).__name__}")
        return {key: _element(item, args[1], key) for key, item in data.items()}
    if origin in _UNIONS:
        others = [arg for arg in args if arg is not type(None)]
        if data is None or len(others) > 1:
            return data
        return check_hint(data, others[0])
    return data


def from_frame(data: Any, hint: Any) -> Any:
    """A DataFrame as the list that a `list[...]` hint asks for: rows if of dicts, else the first column."""
    if not hasattr(data, "iloc") or not hasattr(data, "columns") or get_origin(hint) is not list or not get_args(hint):
        return data
    item = get_args(hint)[0]
    wants_rows = item is dict or get_origin(item) is dict or hasattr(item, "model_validate")
    if wants_rows and list(data.columns) != [0]:
        return _plain(data.to_dict(orient="records"))
    return _plain(data.iloc[:, 0].tolist())


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _element(item: Any, hint: Any, where: Any) -> Any:
    try:
        return check_hint(item, hint)
    except InvalidModelInput as error:
        raise InvalidModelInput(
            f"Failed to validate data against type hint, invalid element {quote(where)}: {error.message}"
        ) from None


def _primitive(data: Any, hint: Any) -> Any:
    try:
        if hint is bytes and isinstance(data, str):
            return base64.b64decode("".join(data.split()), validate=True)
        if hint is dt.datetime and isinstance(data, str):
            return dt.datetime.fromisoformat(data)
    except (ValueError, binascii.Error):
        raise InvalidModelInput(f"Expected type {hint.__name__}, but got {quote(data)}") from None
    if isinstance(data, hint):
        return data
    # JSON has one kind of number, and JavaScript writes 1.0 as 1.
    if hint is float and type(data) is int and abs(data) <= _EXACT:
        return float(data)
    raise InvalidModelInput(f"Expected type {hint.__name__}, but got {type(data).__name__}")


def _pydantic(data: Any, hint: Any) -> Any:
    if not isinstance(data, dict):
        if isinstance(data, hint):
            return data
        raise InvalidModelInput(f"Expecting a dictionary or a {hint.__name__}, got {type(data).__name__}")
    try:
        return hint.model_validate(data, strict=True)
    except ValueError as error:
        count = getattr(error, "error_count", lambda: 1)()
        raise InvalidModelInput(f"Data doesn't match type hint {hint.__name__}: {count} fields are wrong.") from None
