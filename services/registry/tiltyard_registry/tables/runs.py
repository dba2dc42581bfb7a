"""Runs, what is logged to them, and what they read and made."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    column,
    false,
    table,
    text,
)

from tiltyard_registry.tables.columns import Id, Millis, child_of, metadata, pairs, value_head

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


# For searches: whose metric is so great, in that order, and whose param or tag has this value.
Index("ix_latest_metrics_value", latest_metrics.c.key, latest_metrics.c.value, latest_metrics.c.run)
Index("ix_params_value", params.c.key, value_head(params), params.c.run)
Index("ix_run_tags_value", run_tags.c.key, value_head(run_tags), run_tags.c.run)

# For patterns of names: a function of PostgreSQL's with an index of what it gives, and on SQLite a virtual table, up to
# which run it has the names, and which of them have changed since.
TRIGRAMS = "tiltyard_trigrams"
run_name_trigrams = table("run_name_trigrams", column("rowid", Integer), column("run_name", Text))
run_names_indexed = table("run_names_indexed", column("upto", Integer))
run_names_stale = table("run_names_stale", column("run", Integer))

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
