"""Whether two answers say the same to a caller."""

import math
from typing import Any

import msgspec

# Linear algebra adds up in another order for another number of rows, so the last digits may differ.
TOLERANCE = 1e-12
TOLERANCE_FLOAT32 = 1e-5


def same_answer(one: bytes, other: bytes, tolerance: float = TOLERANCE_FLOAT32) -> bool:
    """Whether two JSON answers agree, numbers within the relative `tolerance`."""
    return one == other or same(msgspec.json.decode(one), msgspec.json.decode(other), tolerance)


def same(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two plain JSON values agree, numbers within the relative `tolerance`."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(lambda a, b: same(a, b, tolerance), one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], tolerance) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return bool(one == other)
