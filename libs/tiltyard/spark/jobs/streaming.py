"""Streams that follow an alias: one exact version per micro-batch."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

from tiltyard.client import Client
from tiltyard.errors import InvalidParameterValue, TemporarilyUnavailable, TransportError
from tiltyard.models import resolve
from tiltyard.spark.scoring.batch_size import unmeasured
from tiltyard.spark.scoring.score import apply, need_not_measure
from tiltyard.spark.scoring.scoring_function import ScoringFunction
from tiltyard.spark.scoring.udf import spark_udf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger("tiltyard.spark")

Refresh = Literal["per-batch", "per-query"]
# A micro-batch waits no longer for a registry that is away.
_RETRY_S = 3.0
_AS_SCORED = ("output_col", "keep", "lineage")


def foreach_batch(
    model_uri: str, write: "Callable[[DataFrame, int], Any]", *, refresh: Refresh = "per-batch", **options: Any
) -> "Callable[[DataFrame, int], None]":
    """The function for `foreachBatch` of a streaming query: scores each micro-batch and gives it to `write`.

        query = stream.writeStream.foreachBatch(
            foreach_batch("models:/m@champion", lambda scored, batch_id: scored.write.mode("append").parquet(target))
        ).start()

    With `refresh='per-batch'` the URI is resolved before each micro-batch, whose rows all have that one version; with
    'per-query' before the first one only. While the registry gives no answer the last version goes on, with a warning.

    Args:
        options: as `tiltyard.spark.score` takes them; `lineage` is true by default, so that rows say who scored them.

    Raises:
        InvalidParameterValue: an unknown `refresh`. What the model or a micro-batch lacks is raised by the query.
    """
    if refresh not in ("per-batch", "per-query"):
        raise InvalidParameterValue(f"Invalid 'refresh': '{refresh}'. Expected 'per-batch' or 'per-query'.")
    shape = {"lineage": True} | {name: options.pop(name) for name in _AS_SCORED if name in options}
    followed = _Followed(model_uri, refresh, options)

    def score_batch(batch: "DataFrame", batch_id: int) -> None:
        function = followed.function(batch.sparkSession)
        quickly = need_not_measure(batch, function, shape.get("keep"))
        # The session is the stream's own.
        with unmeasured(batch.sparkSession) if quickly else nullcontext():
            write(apply(batch, function, unmeasured=quickly, **shape), batch_id)

    return score_batch


class _Followed:
    """The function of the version that a URI names now, made again only when that is another one."""

    def __init__(self, model_uri: str, refresh: Refresh, options: dict[str, Any]) -> None:
        self._model_uri = model_uri
        self._refresh = refresh
        self._options = options
        self._function: ScoringFunction | None = None

    def function(self, spark: "SparkSession") -> ScoringFunction:
        last = self._function
        if last is not None and (self._refresh == "per-query" or not self._moved(last)):
            return last
        self._function = spark_udf(spark, self._model_uri, **self._options)
        if last is not None:
            logger.info("%s names %s now", self._model_uri, self._function.model_uri)
        return self._function

    def _moved(self, last: ScoringFunction) -> bool:
        if last.reference.registry_url is None:
            now = resolve(self._model_uri)
        else:
            try:
                with Client(last.reference.registry_url, retry_s=_RETRY_S) as client:
                    now = resolve(self._model_uri, client=client)
            except (TransportError, TemporarilyUnavailable) as error:
                logger.warning("Going on with %s: %s", last.model_uri, error)
                return False
        return now.exact_uri != last.model_uri or now.digest not in (None, last.digest)
