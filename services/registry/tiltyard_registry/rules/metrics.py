"""What a metric point is, which of several is the newest, and how a batch is bounded.

Source: mlflow/utils/validation.py and mlflow/store/tracking/sqlalchemy_store.py.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.keys import MAX_INT64, check_int64, check_key, check_length

MAX_BATCH_METRICS = 1000
MAX_BATCH_PARAMS = 100
MAX_BATCH_TAGS = 100
MAX_BATCH_ENTRIES = 1000
MAX_DATASET_NAME_CHARS = 500
MAX_DATASET_DIGEST_CHARS = 36


class Point(NamedTuple):
    """One value of a metric. NaN has no order, so it is a flag beside a zero; infinities are themselves."""

    key: str
    value: float
    timestamp: int
    step: int
    is_nan: bool
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""

    @property
    def age(self) -> tuple[int, int, float, bool]:
        """What 'newest' compares."""
        return (self.step, self.timestamp, self.value, self.is_nan)


class GivenPoint(Protocol):
    """A point as a request spells it."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def model_id(self) -> str | None: ...
    @property
    def dataset_name(self) -> str | None: ...
    @property
    def dataset_digest(self) -> str | None: ...


def check_point(given: GivenPoint, path: str = "") -> Point:
    """The point as it is stored.

    Raises:
        InvalidParameterValue: a key that `check_key` refuses, a negative time, or a number over 64 bits.
    """
    prefix = f"{path}." if path else ""
    check_key(given.key, parameter=f"{prefix}name", noun="Metric name")
    if given.timestamp < 0:
        raise InvalidParameterValue(
            f"Invalid value {str(given.timestamp)[:80]} for parameter '{prefix}timestamp' supplied: "
            f"metric '{given.key}' (value={given.value}). Timestamp must be a nonnegative long (64-bit integer) "
        )
    is_nan = math.isnan(given.value)
    return Point(
        given.key,
        0.0 if is_nan else float(given.value),
        check_int64(given.timestamp, parameter=f"{prefix}timestamp"),
        check_int64(given.step, parameter=f"{prefix}step"),
        is_nan,
        given.model_id or "",
        check_length(given.dataset_name or "", MAX_DATASET_NAME_CHARS, f"{prefix}dataset_name"),
        check_length(given.dataset_digest or "", MAX_DATASET_DIGEST_CHARS, f"{prefix}dataset_digest"),
    )


def check_points(given: Iterable[GivenPoint]) -> list[Point]:
    """The points of a batch as they are stored; a mistake is named by its place in `metrics`.

    Raises:
        InvalidParameterValue: as `check_point`.
    """
    keys: set[str] = set()
    points = []
    for index, one in enumerate(given):
        # Most points are like this: finite, and of no model or dataset.
        if (
            one.value - one.value == 0
            and 0 <= one.timestamp <= MAX_INT64 >= one.step >= -MAX_INT64
            and not (one.model_id or one.dataset_name or one.dataset_digest)
        ):
            if one.key not in keys:
                keys.add(check_key(one.key, parameter=f"metrics[{index}].name", noun="Metric name"))
            points.append(Point(one.key, one.value, one.timestamp, one.step, False))
        else:
            points.append(check_point(one, f"metrics[{index}]"))
    return points


def newest(points: Iterable[Point]) -> list[Point]:
    """One point per key, the one with the greatest (step, timestamp, value), sorted by key.

    The order is that in which every transaction takes its rows, so that no two wait for each other.
    """
    best: dict[str, Point] = {}
    for point in points:
        known = best.get(point.key)
        # The step alone decides almost always, and quicker.
        if known is None or point.step > known.step or (point.step == known.step and point.age > known.age):
            best[point.key] = point
    return [best[key] for key in sorted(best)]


def shown(value: float, is_nan: bool) -> float | str:
    """The value as the wire has it: JSON knows neither NaN nor infinities, so they travel as texts."""
    if is_nan:
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def check_batch(metrics: int, params: int, tags: int) -> None:
    """Passes if a batch of these many entries may be logged at once.

    Raises:
        InvalidParameterValue: one kind, or all of them together, are too many.
    """
    _check_count("metrics", metrics, MAX_BATCH_METRICS)
    _check_count("params", params, MAX_BATCH_PARAMS)
    _check_count("tags", tags, MAX_BATCH_TAGS)
    _check_count("metrics, params, and tags", metrics + params + tags, MAX_BATCH_ENTRIES)


def _check_count(noun: str, count: int, limit: int) -> None:
    if count > limit:
        raise InvalidParameterValue(
            f"A batch logging request can contain at most {limit} {noun}. Got {count} {noun}. Please split up "
            f"{noun} across multiple requests and try again."
        )
