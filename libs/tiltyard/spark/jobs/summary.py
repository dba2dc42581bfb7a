"""What a batch job did, and how its predictions are spread."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiltyard.spark.scoring.whole_rows import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Up to this many different predictions are counted one by one.
MAX_CLASSES = 20
BINS = 10


@dataclass(frozen=True)
class JobSummary:
    """What a batch job did.

    `counts` has the predictions by value when there are few different ones, else numbers by range, else it is None.
    `job_id` is that of the registry's record, None when there is none.
    """

    model_uri: str
    digest: str
    rows: int
    null_predictions: int
    duration_s: float
    counts: dict[str, int] | None
    job_id: str | None = None

    @property
    def rows_per_s(self) -> float:
        """Rows per second, reading and writing included."""
        return self.rows / self.duration_s if self.duration_s > 0 else 0.0


def spread(written: "DataFrame", output_col: str) -> dict[str, int] | None:
    """How often each prediction occurs, or how many numbers lie in each of `BINS` equal ranges."""
    from pyspark.sql.types import AtomicType, NumericType

    kind = written.schema[output_col].dataType
    if not isinstance(kind, AtomicType):
        return None
    column = quoted(output_col)
    values = written.where(column.isNotNull()).select(column.alias("value"))
    rows = values.groupBy("value").count().orderBy("value").take(MAX_CLASSES + 1)
    if len(rows) <= MAX_CLASSES:
        return {str(row["value"]): int(row["count"]) for row in rows}
    return _by_range(values) if isinstance(kind, NumericType) else None


def _by_range(values: "DataFrame") -> dict[str, int] | None:
    from pyspark.sql import functions

    number = functions.col("value").cast("double")
    # Neither NaN nor an infinity belongs to any range.
    finite = values.select(number.alias("value")).where(functions.abs("value") < math.inf)
    ends: Any = finite.agg(functions.min("value"), functions.max("value")).first()
    if ends is None or ends[0] is None:
        return None
    low, high = float(ends[0]), float(ends[1])
    width = (high - low) / BINS or 1.0
    place = functions.least(functions.floor((functions.col("value") - low) / width), functions.lit(BINS - 1))
    found = {int(row["bin"]): int(row["count"]) for row in finite.groupBy(place.alias("bin")).count().collect()}
    return {f"{low + i * width:.4g} … {low + (i + 1) * width:.4g}": found.get(i, 0) for i in range(BINS)}
