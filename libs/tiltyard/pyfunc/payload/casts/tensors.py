"""Nested lists of a request body as a tensor, none of whose values the cast has changed."""

import math
import warnings
from typing import Any

import numpy as np

from tiltyard.errors import BadRequest, quote
from tiltyard.pyfunc.data_types import Name
from tiltyard.pyfunc.payload.casts import Coerce, Refused, Vector
from tiltyard.pyfunc.payload.casts.times import cast_times
from tiltyard.pyfunc.payload.chunks import array_of

# Beyond it a double no longer holds every integer.
EXACT_DOUBLE = 2**53


def cast_tensor(data: Any, dtype: "np.dtype[Any]", name: Name | None, *, coerce: Coerce = "strict") -> Vector:
    """Nested lists (or one value) as a tensor of `dtype`.

    Raises:
        BadRequest: ragged, not of the dtype, or (strict) the cast would change a value.
    """
    where = "" if name is None else f" for input {quote(name)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if coerce == "strict" and dtype.kind in "iufb":
                return _exact_tensor(array_of(data), data, dtype)
            if coerce == "strict" and dtype.kind == "M":
                items = array_of(data, object)
                shape = items.shape
                return cast_times(items.ravel().tolist(), strict=True).astype(dtype).reshape(shape)
            return np.asarray(array_of(data, dtype))
    except Refused as refused:
        why = refused.why
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        # numpy's own text names the offending value alone: "could not convert string to float: 'a'".
        why = str(error)[:200]
    raise BadRequest(f"Invalid input. Failed to convert data{where} to a tensor of type '{dtype}'. {why}")


def _exact_tensor(raw: Vector, data: Any, dtype: "np.dtype[Any]") -> Vector:
    if raw.dtype.kind == "O" and any(isinstance(value, list | dict) for value in raw.flat):
        raise Refused(-1, "The nested lists do not have one shape.")
    if raw.dtype.kind in "USO":
        if raw.dtype.kind == "O" and dtype.kind in "iub" and any(value is None for value in raw.flat):
            raise Refused(-1, f"A null is not of type '{dtype}'.")
        # Text and nulls: numpy parses them, and refuses those that are not of the dtype.
        result = array_of(data, dtype)
        if dtype.kind == "b":
            raise Refused(-1, "Only true, false, 1 and 0 are booleans.")
        return check_exact(data, result)
    with np.errstate(over="ignore", invalid="ignore"):
        if raw.dtype.kind == "f" and dtype.kind in "iuf" and bool((np.abs(raw) >= _exact_limit(dtype)).any()):
            # Beside a decimal, or beyond 64 bits with a sign, numpy has made floats of integers already.
            return _exact_items(data, dtype)
        result = raw.astype(dtype)
        changed = _changed(raw, result)
    if changed.any():
        raise Refused(-1, f"{quote(raw[changed].flat[0].item())} would be changed by the cast.")
    return result


def _exact_limit(dtype: "np.dtype[Any]") -> int:
    """From here on, the type's floats do not hold every integer."""
    return 2**24 if dtype.kind == "f" and dtype.itemsize < 8 else EXACT_DOUBLE


def _exact_items(data: Any, dtype: "np.dtype[Any]") -> Vector:
    """The tensor, value by value: numbers that JSON spells exactly stay exact, or are refused."""
    items = array_of(data, object)
    if dtype.kind == "f":
        result = items.astype(dtype)
        for number, made in zip(items.flat, result.flat, strict=True):
            if isinstance(number, float) and math.isinf(made) and not math.isinf(number):
                raise Refused(-1, f"{quote(number)} is out of range.")
        return check_exact(data, result)
    whole = np.empty(items.shape, dtype=object)
    for i, number in enumerate(items.flat):
        if isinstance(number, float) and not number.is_integer():
            raise Refused(-1, f"{quote(number)} would be changed by the cast.")
        whole.flat[i] = int(number)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if wrong := [number for number in whole.flat if not low <= number <= high]:
        raise Refused(-1, f"{quote(wrong[0])} is out of range.")
    return whole.astype(dtype)


def check_exact(data: Any, result: Vector) -> Vector:
    """`result` if its floats are the integers in `data`, where it has integers."""
    if result.dtype.kind == "f":
        for number, made in zip(array_of(data, object).flat, result.flat, strict=True):
            if type(number) is int and (math.isinf(made) or int(made) != number):
                raise Refused(-1, f"{quote(number)} cannot be held exactly.")
    return result


def _changed(raw: Vector, result: Vector) -> Vector:
    """Which numbers of `raw` are another number in `result`; rounding of a decimal does not count."""
    kinds = raw.dtype.kind + result.dtype.kind
    if raw.dtype == result.dtype or kinds[0] == "b":
        return np.zeros(raw.shape, dtype=bool)
    if kinds[1] == "b":
        return np.asarray((raw != 0) & (raw != 1))
    if kinds == "ff":
        return np.asarray(np.isinf(result) & ~np.isinf(raw))
    if kinds[1] == "f":
        limit = 2**24 if result.dtype.itemsize < 8 else EXACT_DOUBLE
        changed = np.asarray((raw > limit) | (raw < -limit))
        for i in np.flatnonzero(changed):
            changed.flat[i] = int(result.flat[i]) != int(raw.flat[i])
        return changed
    info = np.iinfo(result.dtype)
    outside = (raw < info.min) | (raw > info.max)
    return np.asarray(outside | (np.trunc(raw) != raw)) if kinds[0] == "f" else np.asarray(outside)
