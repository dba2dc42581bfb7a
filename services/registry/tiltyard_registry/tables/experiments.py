"""Experiments, and the logged models in them."""

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, String, Table, Text, false, text

from tiltyard_registry.tables.columns import Id, Millis, child_of, metadata, pairs

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
