"""Whether the executors' Python is the one that a model needs, told before a job starts."""

import logging
import os
import platform
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tiltyard.environments.requirements import installed_version, specifiers
from tiltyard.errors import InvalidParameterValue, MissingPackage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tiltyard.spark.scoring.scoring_function import ScoringFunction

logger = logging.getLogger("tiltyard.spark")

ON_MISMATCH = ("warn", "error")

# Compared between driver and executors whatever the model says: predictions depend on them.
ALWAYS = ("numpy", "pandas", "pyarrow", "scikit-learn")
# Named by every model that MLflow saved, and not needed to run one.
_NOT_NEEDED = ("mlflow", "mlflow-skinny")
# So long a probe holds its core, so that the next one goes to another.
_HOLD_S = 0.3


@dataclass(frozen=True)
class Executor:
    """The Python of one executor, which `executor` tells from others on its host; absent packages have no version.

    `prefix` is where its environment lies.
    """

    host: str
    executor: str
    python: str
    versions: dict[str, str | None]
    prefix: str = ""


@dataclass(frozen=True)
class Mismatch:
    """One difference: what `expected_by` expects, and what an executor has (None: nothing)."""

    host: str
    package: str
    found: str | None
    expected: str
    expected_by: str

    def __str__(self) -> str:
        return (
            f"{self.host}: {self.package} is {self.found or 'not installed'}, {self.expected_by} says {self.expected}"
        )


def check_environment(
    spark: "SparkSession", function: "ScoringFunction", *, on_mismatch: str = "warn"
) -> list[Executor]:
    """What Python and packages the executors have, once they were compared with the driver and the model.

    One short task per core asks. Python (to its minor version), numpy, pandas, pyarrow and scikit-learn must be the
    driver's; the model's own requirements must be fulfilled.

    Args:
        on_mismatch: 'warn' logs a table of the differences, 'error' raises it.

    Raises:
        MissingPackage: there are differences, and `on_mismatch` is 'error'. The message is the table.
    """
    if on_mismatch not in ON_MISMATCH:
        raise InvalidParameterValue(
            f"Invalid 'on_mismatch': '{on_mismatch}'. Expected one of {', '.join(ON_MISMATCH)}."
        )
    named = specifiers(function.requirements)
    requirements = {line.name: line.specifier for line in named if line.name not in _NOT_NEEDED}
    names = tuple(dict.fromkeys((*ALWAYS, *requirements)))
    with function.on_executors():
        found = _ask(spark, names)
    driver = describe(names)
    differences = [entry for executor in found for entry in compare(executor, driver, requirements)]
    if differences:
        lines = list(dict.fromkeys(map(str, differences)))
        table = "\n  ".join(("The executors' Python environment is not what the model needs:", *lines))
        if on_mismatch == "error":
            raise MissingPackage(table)
        logger.warning("%s", table)
    return found


def describe(names: Sequence[str]) -> Executor:
    """The Python of this process."""
    # A worker's parent is the daemon of its executor.
    versions = {name: installed_version(name) for name in names}
    return Executor(socket.gethostname(), str(os.getppid()), platform.python_version(), versions, sys.prefix)


def compare(executor: Executor, driver: Executor, requirements: dict[str, str]) -> list[Mismatch]:
    """The differences of one executor to the driver, and to the requirements, a version specifier by name."""
    from packaging.specifiers import SpecifierSet

    found = []
    if _minor(executor.python) != _minor(driver.python):
        found.append(Mismatch(executor.host, "python", executor.python, driver.python, "the driver"))
    for name, have in executor.versions.items():
        wanted = requirements.get(name)
        if wanted is not None and (have is None or not SpecifierSet(wanted).contains(have, prereleases=True)):
            found.append(Mismatch(executor.host, name, have, wanted or "any version", "the model"))
        elif name in ALWAYS and have != driver.versions.get(name):
            expected = driver.versions.get(name) or "not installed"
            found.append(Mismatch(executor.host, name, have, expected, "the driver"))
    return found


def _ask(spark: "SparkSession", names: tuple[str, ...]) -> list[Executor]:
    import pyarrow as pa

    def probe(batches: Iterator[Any]) -> Iterator[Any]:
        # To the last batch: Spark ends a worker that leaves some unread, and the next one would import everything anew.
        answered = False
        for batch in batches:
            if batch.num_rows and not answered:
                answered = True
                time.sleep(_HOLD_S)
                here = describe(names)
                row = asdict(here) | {"versions": list(here.versions.values())}
                yield pa.RecordBatch.from_pylist([row], schema=fields)

    fields = pa.schema([(name, pa.string()) for name in ("host", "executor", "python", "prefix")])
    fields = fields.append(pa.field("versions", pa.list_(pa.string())))
    # A range has as many partitions as there are cores, if nobody says otherwise.
    columns = "host string, executor string, python string, prefix string, versions array<string>"
    asked = spark.range(10_000).mapInArrow(probe, columns)
    found = {
        (row["host"], row["executor"]): Executor(
            row["host"], row["executor"], row["python"], dict(zip(names, row["versions"], strict=True)), row["prefix"]
        )
        for row in asked.collect()
    }
    return list(found.values())


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])
