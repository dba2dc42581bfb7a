"""What a batch job did, and how its predictions are spread."""

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiltyard.spark.scoring.whole_rows import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_POLL_S = 0.02

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


class RowCounter:
    """Counts the rows of the first action on `counted`, which is `scored` otherwise."""

    def __init__(self, scored: "DataFrame", output_col: str) -> None:
        from pyspark.sql import Observation, functions

        self._observation: Any = Observation("tiltyard")
        self.counted: DataFrame = scored.observe(
            self._observation,
            functions.count(functions.lit(1)).alias("rows"),
            functions.count_if(quoted(output_col).isNull()).alias("nulls"),
        )

    def figures(self, *, wait_s: float) -> tuple[int, int] | None:
        """The rows and the null predictions; None when no action ended, which is waited for so long.

        Spark tells of them a moment after the action.
        """
        deadline = time.monotonic() + wait_s
        while not self._is_complete():
            if time.monotonic() > deadline:
                return None
            time.sleep(_POLL_S)
        found = self._observation.get
        return int(found["rows"]), int(found["nulls"])

    def _is_complete(self) -> bool:
        # Asked for too early, `get` of a classic session would never return; that of Connect is empty.
        if hasattr(self._observation, "_jo"):
            return bool(self._observation._jo.future().isCompleted())
        return bool(self._observation.get)
