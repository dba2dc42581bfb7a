"""Batch scoring with Spark: `spark_udf` for columns, `score` for DataFrames. Nothing is imported until it is used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiltyard.spark.environment import check_environment as check_environment
    from tiltyard.spark.recorded import batch_job as batch_job
    from tiltyard.spark.scoring import score as score
    from tiltyard.spark.udf import spark_udf as spark_udf

__all__ = ["batch_job", "check_environment", "score", "spark_udf"]

_HOMES = {
    "batch_job": "tiltyard.spark.recorded",
    "check_environment": "tiltyard.spark.environment",
    "score": "tiltyard.spark.scoring",
    "spark_udf": "tiltyard.spark.udf",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
