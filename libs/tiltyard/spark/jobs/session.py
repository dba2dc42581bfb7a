"""A Spark session for the jobs that this library submits itself."""

import os
import sys
from typing import TYPE_CHECKING

from tiltyard.java import java_home

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def open_session(*, app_name: str, master: str | None, conf: dict[str, str] | None = None) -> "SparkSession":
    """The active session, or a new one on `master`.

    By default that is what spark-submit or `SPARK_REMOTE` says, else every core of this machine.

    Raises:
        MissingPackage: there is no Java and no package that brings one, or no pyspark.
    """
    from tiltyard.errors import MissingPackage

    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise MissingPackage("Batch scoring needs pyspark. Install it with: pip install 'tiltyard[spark]'") from None

    os.environ["JAVA_HOME"] = str(java_home())
    # The executors of a local or standalone master run the interpreter that submits.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(app_name)
    # Whoever submits this process has named the master, and started the JVM that it talks to.
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if master is None and not submitted and "SPARK_REMOTE" not in os.environ:
        master = "local[*]"
    if master is not None:
        builder = builder.master(master)
    defaults = {
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
    }
    if master is not None and master.startswith("local"):
        # Nothing of a local job needs to be reached from another machine.
        defaults |= {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
    for key, value in (defaults | (conf or {})).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
