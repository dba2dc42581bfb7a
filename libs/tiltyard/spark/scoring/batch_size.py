"""How Spark bounds the batches that it sends to Python: by rows, and since 4.0 by bytes too.

For the bytes it asks every column for its size after every row, which is half of what sending numbers costs. Where
even a full batch is below the bound, the answer is known before.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType as SparkType

MAX_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
MAX_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"

# The one value with which Spark does not ask.
_UNMEASURED = str(2**31 - 1)
# By session, what the setting was before the first of so many blocks.
_unmeasured: dict[str, tuple[str | None, int]] = {}
_counting = threading.Lock()
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_WIDTHS_BYTES = {
    **{"boolean": 1, "tinyint": 1, "smallint": 2, "int": 4, "bigint": 8, "float": 4, "double": 8},
    **{"date": 4, "timestamp": 8, "timestamp_ntz": 8, "decimal": 16},
}


def is_measured(spark: "SparkSession") -> bool:
    """Whether Spark asks for the size of a batch after every row."""
    return _told(spark, MAX_BYTES) not in (None, _UNMEASURED)


def always_fits(spark: "SparkSession", columns: "Iterable[SparkType]") -> bool:
    """Whether a full batch of such rows is below the bound in bytes, whatever their values are."""
    widths = [_WIDTHS_BYTES.get(column.simpleString().partition("(")[0]) for column in columns]
    rows = int(_told(spark, MAX_ROWS) or 0)
    bound = _bytes(_told(spark, MAX_BYTES) or _UNMEASURED)
    # Each column has a bit per row beside its values, which says whether there is one.
    return rows > 0 and None not in widths and rows * sum(width + 1 for width in widths if width) <= bound


@contextmanager
def unmeasured(spark: "SparkSession") -> Iterator[None]:
    """Queries of `spark` that run within the block send batches that are bounded by their rows alone.

    Blocks of several threads may overlap: the setting is the session's, and comes back when the last one is left.
    """
    # Python may have several objects for one session.
    key = str(spark._jsparkSession) if hasattr(spark, "_jsparkSession") else str(getattr(spark, "session_id", spark))
    with _counting:
        before, count = _unmeasured.get(key, (None, 0))
        if not count:
            before = _setting(spark, MAX_BYTES)
            if before is not None:
                spark.conf.set(MAX_BYTES, _UNMEASURED)
        _unmeasured[key] = before, count + 1
    try:
        yield
    finally:
        with _counting:
            before, count = _unmeasured.pop(key)
            if count > 1:
                _unmeasured[key] = before, count - 1
            elif before is not None:
                spark.conf.set(MAX_BYTES, before)


def _told(spark: "SparkSession", key: str) -> str | None:
    """What the session says of a setting, without the unit of bytes; None when this Spark does not know it."""
    said = _setting(spark, key)
    return None if said is None else said.strip().lower().removesuffix("b")


def _setting(spark: "SparkSession", key: str) -> str | None:
    from pyspark.errors import PySparkException

    try:
        # Asked with a default Spark would answer that, even where it has one of its own.
        return str(spark.conf.get(key))
    except PySparkException:
        return None


def _bytes(size: str) -> int:
    digits = size.rstrip("kmg")
    return int(digits) * _UNITS[size[len(digits) :]]
