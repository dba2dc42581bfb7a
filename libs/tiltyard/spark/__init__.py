"""Spark: `spark_udf` for columns, `score` for DataFrames, `register_sources` to read experiments as DataFrames.

Nothing is imported until it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiltyard.spark.experiments.source import register_sources as register_sources
    from tiltyard.spark.jobs.batch_job import batch_job as batch_job
    from tiltyard.spark.jobs.streaming import foreach_batch as foreach_batch
    from tiltyard.spark.scoring.executor_check import check_environment as check_environment
    from tiltyard.spark.scoring.score import score as score
    from tiltyard.spark.scoring.udf import spark_udf as spark_udf

__all__ = ["batch_job", "check_environment", "register_sources", "score", "spark_udf"]

_HOMES = {
    "batch_job": "tiltyard.spark.jobs.batch_job",
    "check_environment": "tiltyard.spark.scoring.executor_check",
    "register_sources": "tiltyard.spark.experiments.source",
    "foreach_batch": "tiltyard.spark.jobs.streaming",
    "score": "tiltyard.spark.scoring.score",
    "spark_udf": "tiltyard.spark.scoring.udf",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
