"""What can be told of the places of a job on this machine before Spark is there, which takes seconds to start."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists

# Spark reads these as patterns.
_PATTERN = set("*?[{")
# Where one of these is set, a path without a scheme may be somewhere else.
_ELSEWHERE = ("HADOOP_CONF_DIR", "SPARK_CONF_DIR", "SPARK_REMOTE", "PYSPARK_GATEWAY_PORT")
_DEFAULT_FS = "spark.hadoop.fs.defaultFS"


def check_local_places(
    input_path: str, output_path: str, *, mode: str, master: str | None, conf: Mapping[str, str]
) -> None:
    """Nothing, unless the places are on this machine, and the input is missing or the output must not be there.

    Raises:
        InvalidParameterValue: there is no such input.
        ResourceAlreadyExists: there is an output, and `mode` is `errorifexists`.
    """
    if master is not None and not master.startswith("local"):
        return
    if _DEFAULT_FS in conf or any(name in os.environ for name in _ELSEWHERE):
        return
    source, target = _local_path(input_path), _local_path(output_path)
    if source is not None and not source.exists() and not _PATTERN & set(input_path):
        raise InvalidParameterValue(f"The input '{input_path}' does not exist.")
    if mode == "errorifexists" and target is not None and target.exists():
        raise ResourceAlreadyExists(
            f"The output '{output_path}' exists. Choose another, or the mode overwrite or append."
        )


def _local_path(place: str) -> Path | None:
    """The path on this machine, None where it is a table or on another file system."""
    parts = urlsplit(place)
    if not parts.scheme:
        return Path(place)
    return Path(unquote(parts.path)) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None
