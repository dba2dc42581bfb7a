"""The data formats of a batch job, and whether a session knows them."""

from typing import TYPE_CHECKING

from tiltyard.errors import InvalidParameterValue

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BY_ENDING = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
# Formats whose writer replaces and appends in transactions of its own, and what brings each into a session.
TRANSACTIONAL = {
    "delta": (
        "spark.jars.packages=io.delta:delta-spark_2.13:VERSION",
        "spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog",
    ),
}
FORMATS = (*dict.fromkeys(_BY_ENDING.values()), *TRANSACTIONAL)


def format_of(path: str, given: str | None) -> str:
    """The data format of `path`: the one given, else by the path's ending, else parquet.

    Raises:
        InvalidParameterValue: the format given is not one of `FORMATS`.
    """
    if given is not None:
        if given not in FORMATS:
            raise InvalidParameterValue(f"Invalid format '{given}'. Expected one of {', '.join(FORMATS)}.")
        return given
    stem = path.rstrip("/").lower()
    return next((name for ending, name in _BY_ENDING.items() if stem.endswith(ending)), "parquet")


def check_available(spark: "SparkSession", name: str | None) -> None:
    """Nothing, if the session can read and write the format.

    Raises:
        InvalidParameterValue: its package is not in the session; the message says how to add it.
    """
    if name not in TRANSACTIONAL:
        return
    try:
        # A package that is there goes on to look for a table, and misses it in words of its own.
        spark.read.format(name).load("/tiltyard-no-such-table").schema  # noqa: B018 - Connect asks no sooner
    except Exception as error:
        # Spark's class for it differs between a session here and one over Connect; the name of the error does not.
        if "DATA_SOURCE_NOT_FOUND" not in str(error):
            return
        raise InvalidParameterValue(
            f"The format '{name}' needs a package that this Spark session lacks. Add "
            f"{' '.join(f'--conf {setting}' for setting in TRANSACTIONAL[name])}, with the release that is for Spark "
            f"{spark.version}; where Spark is running already, add it where that is configured."
        ) from None
