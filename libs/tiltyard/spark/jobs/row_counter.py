"""Rows and null predictions, counted by Spark while they are written."""

import time
from typing import TYPE_CHECKING, Any

from tiltyard.spark.scoring.whole_rows import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_POLL_S = 0.02


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
