"""The rows: every table of the registry, its columns named as the wire names them.

Times are integer milliseconds since the epoch. A row outside this module is a mapping of these names
(plus the lists that hang on it: `tags`, `aliases`, ...), from which the wire Structs are converted.

Registered models, versions and runs are keyed by small internal integers, so that a rename touches one row.
Experiment ids, run ids and logged-model ids are what the wire shows.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
    func,
    literal_column,
    text,
)

from tiltyard_registry import columns
from tiltyard_registry.columns import Id, Millis, child_of, pairs

metadata = columns.metadata

# --- Namespaces -------------------------------------------------------------------------------------------

catalogs = Table(
    "catalogs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("uuid", String(36), nullable=False),
    Column("name", String(255), nullable=False, unique=True),
    Column("comment", Text),
    # JSON object of texts; null where none were given.
    Column("properties", Text),
    Column("owner", String(255)),
    Column("created_at", Millis, nullable=False),
    Column("created_by", String(255)),
    Column("updated_at", Millis, nullable=False),
    Column("updated_by", String(255)),
)

schemas = Table(
    "schemas",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("uuid", String(36), nullable=False),
    Column("catalog_id", ForeignKey("catalogs.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("comment", Text),
    # JSON object of texts; null where none were given.
    Column("properties", Text),
    Column("owner", String(255)),
    Column("created_at", Millis, nullable=False),
    Column("created_by", String(255)),
    Column("updated_at", Millis, nullable=False),
    Column("updated_by", String(255)),
    Index("uq_schemas_catalog_id_name", "catalog_id", "name", unique=True),
)

# --- Registered models ------------------------------------------------------------------------------------

registered_models = Table(
    "registered_models",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("uuid", String(36), nullable=False),
    Column("schema_id", ForeignKey("schemas.id"), nullable=False, index=True),
    # The name as clients see it: 'model' in workspace.default, 'catalog.schema.model' elsewhere.
    Column("name", String(800), nullable=False, unique=True),
    Column("description", Text),
    Column("owner", String(255)),
    Column("creation_timestamp", Millis, nullable=False),
    Column("created_by", String(255)),
    Column("last_updated_timestamp", Millis, nullable=False),
    Column("updated_by", String(255)),
    # The counter that hands out version numbers: never lowered, so a number is never used twice.
    Column("last_version", Integer, nullable=False, server_default=text("0")),
    # The events remember a model by its id, so a deleted model's must not be given to another.
    sqlite_autoincrement=True,
)

registered_model_tags = pairs(
    "registered_model_tags",
    Column("registered_model_id", child_of("registered_models.id"), primary_key=True, autoincrement=False),
    Index("ix_registered_model_tags_key", "key", "registered_model_id"),
)

manifests = Table(
    "manifests",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    # JSON list of {path, size_bytes, sha256}, in the order that the digest is taken over.
    Column("files", Text, nullable=False),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("registered_model_id", ForeignKey("registered_models.id"), primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("uuid", String(36), nullable=False),
    Column("creation_timestamp", Millis, nullable=False),
    Column("last_updated_timestamp", Millis, nullable=False),
    Column("description", Text),
    Column("user_id", String(255)),
    Column("updated_by", String(255)),
    Column("current_stage", String(20), nullable=False, server_default=text("'None'")),
    Column("source", Text, nullable=False),
    Column("run_id", String(64)),
    Column("run_link", Text),
    Column("model_id", String(64)),
    Column("status", String(24), nullable=False),
    Column("status_message", Text),
    # Where the files are read, resolved when the version was created.
    Column("storage_location", Text, nullable=False),
    # The same place as a path below our artifact root; nothing at or below it may change. Null when external.
    Column("pinned_prefix", Text, index=True),
    Column("manifest_digest", ForeignKey("manifests.digest"), index=True),
    # Recorded as it came, outside our stores: nobody vouches for its bytes.
    Column("external", Boolean, nullable=False, server_default=false()),
    Index("ix_model_versions_stage", "registered_model_id", "current_stage", "version"),
    Index("ix_model_versions_run_id", "run_id"),
    Index("ix_model_versions_model_id", "model_id"),
    Index("ix_model_versions_last_updated", "last_updated_timestamp"),
)

model_version_tags = Table(
    "model_version_tags",
    metadata,
    Column("registered_model_id", Id, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    ForeignKeyConstraint(
        ["registered_model_id", "version"],
        ["model_versions.registered_model_id", "model_versions.version"],
        ondelete="CASCADE",
    ),
    Index("ix_model_version_tags_key", "key", "registered_model_id", "version"),
)

registered_model_aliases = Table(
    "registered_model_aliases",
    metadata,
    Column("registered_model_id", Id, primary_key=True, autoincrement=False),
    Column("alias", String(255), primary_key=True),
    Column("version", Integer, nullable=False),
    # 'An alias always names an existing version' is the database's own rule.
    ForeignKeyConstraint(
        ["registered_model_id", "version"],
        ["model_versions.registered_model_id", "model_versions.version"],
    ),
    Index("ix_registered_model_aliases_version", "registered_model_id", "version"),
)

# What scored with a version, as the job itself tells it. Not state of the registry, so no event tells of it.
batch_jobs = Table(
    "batch_jobs",
    metadata,
    Column("registered_model_id", Id, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    # Given by the job, so that what it repeats is not recorded twice.
    Column("job_id", String(64), primary_key=True),
    Column("principal", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("message", Text),
    Column("input", Text),
    Column("output", Text),
    Column("start_time", Millis, nullable=False),
    Column("end_time", Millis),
    Column("row_count", BigInteger),
    Column("null_count", BigInteger),
    ForeignKeyConstraint(
        ["registered_model_id", "version"],
        ["model_versions.registered_model_id", "model_versions.version"],
        ondelete="CASCADE",
    ),
    Index("ix_batch_jobs_listing", "registered_model_id", "version", "start_time", "job_id"),
)

# --- Events: the audit log, and the memory of every alias --------------------------------------------------

events = Table(
    "events",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("time", Millis, nullable=False),
    Column("principal", String(255), nullable=False),
    Column("action", String(64), nullable=False),
    # What it happened to; no foreign key, for an event outlives its object.
    Column("registered_model_id", BigInteger),
    Column("name", String(800)),
    Column("version", Integer),
    Column("alias", String(255)),
    # JSON of the changed fields, before and after; null where there was nothing.
    Column("before", Text),
    Column("after", Text),
    Column("request_id", String(64)),
    Index("ix_events_time", "time", "id"),
    Index("ix_events_principal", "principal", "time", "id"),
    Index("ix_events_name", "name", "time", "id"),
    Index("ix_events_model", "registered_model_id", "time", "id"),
    Index("ix_events_alias", "registered_model_id", "alias", "time", "id"),
    sqlite_autoincrement=True,
)

# --- Artifacts --------------------------------------------------------------------------------------------

files = Table(
    "files",
    metadata,
    # Path below the artifact root. The hash counts only while the store still shows this etag.
    Column("path", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("etag", String(255), nullable=False),
    Column("last_modified", Millis, nullable=False),
)

# --- Tracking ---------------------------------------------------------------------------------------------

experiments = Table(
    "experiments",
    metadata,
    Column("experiment_id", Id, primary_key=True, autoincrement=True),
    Column("name", String(500), nullable=False, unique=True),
    Column("artifact_location", Text, nullable=False),
    Column("lifecycle_stage", String(16), nullable=False, server_default=text("'active'")),
    Column("creation_time", Millis, nullable=False),
    Column("last_update_time", Millis, nullable=False),
    sqlite_autoincrement=True,
)

experiment_tags = pairs(
    "experiment_tags",
    Column("experiment_id", child_of("experiments.experiment_id"), primary_key=True, autoincrement=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("run_id", String(32), nullable=False, unique=True),
    Column("experiment_id", ForeignKey("experiments.experiment_id"), nullable=False),
    Column("run_name", Text, nullable=False),
    Column("user_id", String(256), nullable=False),
    Column("status", String(16), nullable=False),
    Column("start_time", Millis, nullable=False),
    Column("end_time", Millis),
    Column("artifact_uri", Text, nullable=False),
    Column("lifecycle_stage", String(16), nullable=False, server_default=text("'active'")),
    Column("deleted_time", Millis),
    Index("ix_runs_listing", "experiment_id", "lifecycle_stage", "start_time", "run_id"),
)

params = pairs("params", Column("run", child_of("runs.id"), primary_key=True, autoincrement=False))

run_tags = pairs("run_tags", Column("run", child_of("runs.id"), primary_key=True, autoincrement=False))

# NaN has no place in a key, so it is a flag beside a zero; infinities are stored as they are.
metrics = Table(
    "metrics",
    metadata,
    Column("run", child_of("runs.id"), primary_key=True, autoincrement=False),
    Column("key", String(250), primary_key=True),
    Column("timestamp", Millis, primary_key=True, autoincrement=False),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Double, primary_key=True),
    Column("is_nan", Boolean, primary_key=True, server_default=false()),
)

# The point of each key with the greatest (step, timestamp, value).
latest_metrics = Table(
    "latest_metrics",
    metadata,
    Column("run", child_of("runs.id"), primary_key=True, autoincrement=False),
    Column("key", String(250), primary_key=True),
    Column("timestamp", Millis, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("value", Double, nullable=False),
    Column("is_nan", Boolean, nullable=False, server_default=false()),
)


VALUE_HEAD_CHARS = 200


def value_head(table: Table) -> ColumnElement[str]:
    """The start of a value, which is what an index of long texts can hold; equal texts start alike."""
    return func.substr(table.c.value, literal_column("1"), literal_column(f"{VALUE_HEAD_CHARS}"))


# For searches: whose metric is so great, in that order, and whose param or tag has this value.
Index("ix_latest_metrics_value", latest_metrics.c.key, latest_metrics.c.value, latest_metrics.c.run)
Index("ix_params_value", params.c.key, value_head(params), params.c.run)
Index("ix_run_tags_value", run_tags.c.key, value_head(run_tags), run_tags.c.run)

datasets = Table(
    "datasets",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("experiment_id", child_of("experiments.experiment_id"), nullable=False),
    Column("name", String(500), nullable=False),
    Column("digest", String(36), nullable=False),
    Column("source_type", String(36), nullable=False),
    Column("source", Text, nullable=False),
    Column("schema", Text),
    Column("profile", Text),
    Index("uq_datasets_experiment_id_name_digest", "experiment_id", "name", "digest", unique=True),
)

dataset_inputs = Table(
    "dataset_inputs",
    metadata,
    Column("run", child_of("runs.id"), primary_key=True, autoincrement=False),
    Column("dataset_id", child_of("datasets.id"), primary_key=True, autoincrement=False),
    # Its place among those that were logged, for the order in which they are shown.
    Column("position", Integer, nullable=False, server_default=text("0")),
)

dataset_input_tags = Table(
    "dataset_input_tags",
    metadata,
    Column("run", child_of("runs.id"), primary_key=True, autoincrement=False),
    Column("dataset_id", child_of("datasets.id"), primary_key=True, autoincrement=False),
    Column("key", String(255), primary_key=True),
    Column("value", Text, nullable=False),
)

logged_models = Table(
    "logged_models",
    metadata,
    Column("model_id", String(34), primary_key=True),
    Column("experiment_id", ForeignKey("experiments.experiment_id"), nullable=False),
    Column("name", String(500), nullable=False),
    Column("artifact_uri", Text, nullable=False),
    Column("creation_timestamp_ms", Millis, nullable=False),
    Column("last_updated_timestamp_ms", Millis, nullable=False),
    Column("status", String(32), nullable=False),
    Column("status_message", Text),
    Column("model_type", String(500), nullable=False, server_default=text("''")),
    Column("source_run_id", String(32), nullable=False, server_default=text("''")),
    Column("lifecycle_stage", String(16), nullable=False, server_default=text("'active'")),
    Index("ix_logged_models_listing", "experiment_id", "lifecycle_stage", "creation_timestamp_ms", "model_id"),
    Index("ix_logged_models_name", "experiment_id", "name"),
)

logged_model_params = pairs(
    "logged_model_params",
    Column("model_id", child_of("logged_models.model_id"), primary_key=True),
    key_chars=255,
)

logged_model_tags = pairs(
    "logged_model_tags",
    Column("model_id", child_of("logged_models.model_id"), primary_key=True),
    key_chars=255,
)

logged_model_metrics = Table(
    "logged_model_metrics",
    metadata,
    Column("model_id", child_of("logged_models.model_id"), primary_key=True),
    Column("run_id", String(32), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("timestamp", Millis, primary_key=True, autoincrement=False),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Double, primary_key=True),
    Column("is_nan", Boolean, primary_key=True, server_default=false()),
    # Empty text where the metric was logged without a dataset, for a key column holds no null.
    Column("dataset_name", String(500), primary_key=True, server_default=text("''")),
    Column("dataset_digest", String(36), primary_key=True, server_default=text("''")),
    Index("ix_logged_model_metrics_key", "model_id", "key"),
)

model_inputs = Table(
    "model_inputs",
    metadata,
    Column("run", child_of("runs.id"), primary_key=True, autoincrement=False),
    Column("model_id", String(34), primary_key=True),
)

model_outputs = Table(
    "model_outputs",
    metadata,
    Column("run", child_of("runs.id"), primary_key=True, autoincrement=False),
    Column("model_id", String(34), primary_key=True),
    Column("step", BigInteger, nullable=False, server_default=text("0")),
)
