"""What went wrong in Spark, in one line; and what did not, in none."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

MAX_REASON_CHARS = 1000
_OF_PY4J = "An error occurred while calling "

# Errors whose names do not end in a word for one.
_OURS = ("SchemaEnforcementFailed", "InvalidParameterValue", "MissingPackage")


def last_words(error: BaseException) -> str:
    """Of a worker's traceback the last line, which names the error; else what the error says of itself."""
    lines = [line.strip() for line in str(error).splitlines()]
    # Between the Python worker's traceback and Spark's own there are only lines of Java.
    words = [line for line in lines if line and not line.startswith(("at ", "...", "Caused by", "Driver stacktrace"))]
    named = [line for line in words if line.partition(":")[0].endswith(("Error", "Exception", *_OURS))]
    return ((named or words or [type(error).__name__])[-1])[:MAX_REASON_CHARS]


def first_words(error: BaseException) -> str:
    """What Spark's driver says first: the error, without the way to it."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(_OF_PY4J)]
    return (lines or [type(error).__name__])[0].lstrip(": ")[:MAX_REASON_CHARS]


@contextmanager
def quiet(spark: Any, name: str) -> Iterator[None]:
    """Within the block Spark's driver warns of nothing under this logger's name; it still tells of errors."""
    if not hasattr(spark, "_jvm"):
        yield
        return
    before = None
    with suppress(Exception):
        # As Spark's own setLogLevel does it; a Spark with another logging library warns on.
        log4j = spark._jvm.org.apache.logging.log4j
        before = log4j.LogManager.getLogger(name).getLevel()
        if before.isLessSpecificThan(log4j.Level.WARN):
            log4j.core.config.Configurator.setLevel(name, log4j.Level.ERROR)
        else:
            before = None
    try:
        yield
    finally:
        if before is not None:
            spark._jvm.org.apache.logging.log4j.core.config.Configurator.setLevel(name, before)
