"""Experiments as DataFrames: `spark.read.format("mlflow-experiment").load(experiment)`.

    tiltyard.spark.register_sources(spark)
    runs = spark.read.format("mlflow-experiment").load("churn")
    runs.where("status = 'FINISHED' AND metrics['auc'] > 0.9").select("run_id", "params")

| option         | means                                                                          |
| -------------- | ------------------------------------------------------------------------------ |
| `path`         | the experiment's id or name, or several with commas between; what `load` gets   |
| `name`         | the name of an experiment, also one of digits or with commas                   |
| `filter`       | a filter of runs in MLflow's language, such as `metrics.auc > 0.9`             |
| `view_type`    | `ACTIVE_ONLY` (default), `DELETED_ONLY` or `ALL`                               |
| `partitions`   | how many tasks read at once: 8 by default, each a part of the time             |
| `registry_url` | the registry; by default what `register_sources` was given                     |
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyspark.sql.datasource import DataSource
from pyspark.sql.types import StructType

from tiltyard.client.address import Credentials, registry_url, without_credentials
from tiltyard.errors import InvalidParameterValue
from tiltyard.spark.experiments.reader import ExperimentReader, Question

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAME = "mlflow-experiment"
SCHEMA = (
    "run_id string, experiment_id string, metrics map<string,double>, params map<string,string>, "
    "tags map<string,string>, start_time timestamp, end_time timestamp, status string, artifact_uri string, "
    "run_name string, user_id string, lifecycle_stage string"
)
_PUSHDOWN = "spark.sql.python.filterPushdown.enabled"
_VIEWS = ("ACTIVE_ONLY", "DELETED_ONLY", "ALL")
_OPTIONS = ("path", "name", "filter", "view_type", "partitions", "registry_url")
_MAX_PARTITIONS = 1000


def register_sources(spark: "SparkSession", *, registry_url: str | None = None) -> None:
    """Has `spark` know the source `mlflow-experiment`, and lets it push filters down to Python sources.

    The registry's address and the caller's credentials are those of this process, for its workers may have others.

    Raises:
        InvalidParameterValue: no registry is given or set by a variable.
    """
    spark.conf.set(_PUSHDOWN, "true")
    spark.dataSource.register(_known_to(registry_url))


def _known_to(url: str | None) -> type[DataSource]:
    found = registry_url(url)
    bare, in_url = without_credentials(found)

    # Made here, so that Spark takes the class along by value, with what it holds.
    class ExperimentsOfThisProcess(ExperimentSource):
        """The source with the registry that the driver knows."""

        address = found
        credentials = Credentials.from_environment() if in_url else Credentials.known_for(bare)

    return ExperimentsOfThisProcess


class ExperimentSource(DataSource):
    """The runs of experiments, one a row."""

    address: str | None = None
    credentials: Credentials | None = None

    @classmethod
    def name(cls) -> str:
        """What `format` is given."""
        return NAME

    def schema(self) -> str:
        """The columns; times are instants."""
        return SCHEMA

    def reader(self, schema: StructType) -> ExperimentReader:
        """The reader of what the options ask for.

        Raises:
            InvalidParameterValue: an option is missing, unknown or not one of its values.
        """
        if schema.fieldNames() != [column.split()[0] for column in SCHEMA.split(", ")]:
            raise InvalidParameterValue(f"The source '{NAME}' has a schema of its own: leave out .schema(…).")
        return ExperimentReader(question(self.options, self.address, self.credentials))


def question(options: Mapping[str, str], address: str | None, credentials: Credentials | None) -> Question:
    """What the options ask for.

    Raises:
        InvalidParameterValue: an option is missing, unknown or not one of its values.
    """
    given = {name.lower(): value for name, value in options.items()}
    unknown = sorted(set(given) - set(_OPTIONS))
    if unknown:
        raise InvalidParameterValue(
            f"The source '{NAME}' has no option '{unknown[0]}': expected one of {', '.join(_OPTIONS)}."
        )
    parts = [part.strip() for part in given.get("path", "").split(",") if part.strip()]
    ids = tuple(part for part in parts if part.isdecimal())
    names = tuple(part for part in parts if not part.isdecimal()) + ((given["name"],) if given.get("name") else ())
    if not ids and not names:
        raise InvalidParameterValue(
            f"The source '{NAME}' needs an experiment, by its id or name: .load('1'), .load('churn') or .load('1,2')."
        )
    view_type = given.get("view_type", _VIEWS[0]).upper()
    if view_type not in _VIEWS:
        raise InvalidParameterValue(f"Invalid option view_type={view_type!r}: expected one of {', '.join(_VIEWS)}.")
    partitions = given.get("partitions", str(Question.partitions))
    if not partitions.isdecimal() or not 1 <= int(partitions) <= _MAX_PARTITIONS:
        raise InvalidParameterValue(f"Invalid option partitions={partitions!r}: expected 1 to {_MAX_PARTITIONS}.")
    return Question(
        url=registry_url(given.get("registry_url") or address),
        experiment_ids=ids,
        experiment_names=names,
        credentials=credentials,
        filter=given.get("filter") or None,
        view_type=view_type,
        partitions=int(partitions),
    )
