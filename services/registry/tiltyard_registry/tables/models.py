"""Registered models, their versions, aliases and tags, and the jobs that scored with them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
    text,
)

from tiltyard_registry.tables.columns import Id, Millis, child_of, metadata, pairs


def _of_version(ondelete: str | None = None) -> ForeignKeyConstraint:
    key = ("registered_model_id", "version")
    return ForeignKeyConstraint(key, [f"model_versions.{name}" for name in key], ondelete=ondelete)


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
    _of_version(ondelete="CASCADE"),
    Index("ix_model_version_tags_key", "key", "registered_model_id", "version"),
)

registered_model_aliases = Table(
    "registered_model_aliases",
    metadata,
    Column("registered_model_id", Id, primary_key=True, autoincrement=False),
    Column("alias", String(255), primary_key=True),
    Column("version", Integer, nullable=False),
    # 'An alias always names an existing version' is the database's own rule.
    _of_version(),
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
    _of_version(ondelete="CASCADE"),
    Index("ix_batch_jobs_listing", "registered_model_id", "version", "start_time", "job_id"),
)
