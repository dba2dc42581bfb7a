"""Spark: `spark_udf` for columns, `score` for DataFrames, `register_sources` to read experiments as DataFrames.

Nothing is imported until it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiltyard.spark.environment import check_environment as check_environment
    from tiltyard.spark.experiment_source import register_sources as register_sources
    from tiltyard.spark.recorded import batch_job as batch_job
    from tiltyard.spark.scoring import score as score
    from tiltyard.spark.streaming import foreach_batch as foreach_batch
    from tiltyard.spark.udf import spark_udf as spark_udf

__all__ = ["batch_job", "check_environment", "register_sources", "score", "spark_udf"]

_HOMES = {
    "batch_job": "tiltyard.spark.recorded",
    "check_environment": "tiltyard.spark.environment",
    "register_sources": "tiltyard.spark.experiment_source",
    "foreach_batch": "tiltyard.spark.streaming",
    "score": "tiltyard.spark.scoring",
    "spark_udf": "tiltyard.spark.udf",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
