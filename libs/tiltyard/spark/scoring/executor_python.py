"""The Python that executors run functions with: their own, or one that was packed for a model."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltyard.cache.model_cache import ModelCache
from tiltyard.environments.pack import ARCHIVE, packed
from tiltyard.environments.requirements import of_model
from tiltyard.errors import InternalError, InvalidParameterValue

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What scores, beside the model's own requirements: in the driver's versions where the model does not say.
_RUNTIME = ("numpy", "pandas", "pyarrow", "cloudpickle", "skops")

# Held while functions are made. One thread may ask again: to register a function makes it.
_making = threading.RLock()


def packed_python(spark: "SparkSession", model: Path) -> str:
    """The interpreter, as the executors of `spark` find it, of an environment with all that the model requires.

    It is built and packed when it is not on this host yet, and given to the executors as an archive.

    Raises:
        InvalidParameterValue: `spark` is a Connect session, whose server chooses the interpreter.
        MissingPackage: there is no uv to build it with.
        InternalError: uv could not build it; the message has its last words.
    """
    asked = of_model(model)
    asked.lines.leave_out_mlflow()
    asked.lines.add(f"{name}=={metadata.version(name)}" for name in _RUNTIME if name not in asked.lines.names)
    try:
        directory = packed(asked, ModelCache().root)
    except subprocess.CalledProcessError as error:
        raise InternalError(f"uv could not build the model's environment: {error.stderr.strip()[-1000:]}") from None
    archive, name = directory / ARCHIVE, f"tiltyard-env-{directory.name[:16]}"
    if not hasattr(spark, "_jvm"):
        raise InvalidParameterValue(
            "Invalid 'env': 'packed' is not supported over Spark Connect. Give the server the archive with "
            f"spark.addArtifact('{archive}#{name}', archive=True), set "
            f"spark.sql.execution.pyspark.python to './{name}/bin/python', and use env='local'."
        )
    context: Any = spark.sparkContext
    if context.master.startswith("local") and not context.master.startswith("local-cluster"):
        # Executors are this process, and its directory is not theirs to unpack into.
        return str(directory / "bin" / "python")
    context.addArchive(f"{archive.as_uri()}#{name}")
    return f"./{name}/bin/python"


@contextmanager
def executors_python(spark: "SparkSession", python: str | None) -> "Iterator[None]":
    """Functions of Python that are made within the block run with the interpreter `python` on the executors.

    None is that of the session. The interpreter is noted for the whole driver, so threads take turns.
    """
    if not hasattr(spark, "_jvm"):
        yield
        return
    context: Any = spark.sparkContext
    with _making:
        before = context.pythonExec
        if python is not None:
            context.pythonExec = python
        try:
            yield
        finally:
            context.pythonExec = before
