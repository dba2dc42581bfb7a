"""The first schema, and what exists from the start: the built-in schemas and the experiment `Default`."""

import time
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite auto-increments only a column declared exactly INTEGER PRIMARY KEY.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Creates every table and the rows that no client creates."""
    _create_tables()
    _create_search_indexes()
    connection = op.get_bind()
    now = time.time_ns() // 1_000_000
    for catalog in ("main", "workspace"):
        values = {"uuid": str(uuid.uuid4()), "name": catalog, "now": now}
        catalog_id = connection.scalar(
            sa.text(
                "INSERT INTO catalogs (uuid, name, created_at, updated_at) "
                "VALUES (:uuid, :name, :now, :now) RETURNING id"
            ),
            values,
        )
        connection.execute(
            sa.text(
                "INSERT INTO schemas (uuid, catalog_id, name, created_at, updated_at) "
                "VALUES (:uuid, :catalog_id, 'default', :now, :now)"
            ),
            {"uuid": str(uuid.uuid4()), "catalog_id": catalog_id, "now": now},
        )
    connection.execute(
        sa.text(
            "INSERT INTO experiments (experiment_id, name, artifact_location, creation_time, last_update_time) "
            "VALUES (0, 'Default', 'mlflow-artifacts:/0', :now, :now)"
        ),
        {"now": now},
    )


def _create_search_indexes() -> None:
    op.create_index("ix_latest_metrics_value", "latest_metrics", ["key", "value", "run"], unique=False)
    for table in ("params", "run_tags"):
        op.create_index(f"ix_{table}_value", table, ["key", sa.text("substr(value, 1, 200)"), "run"], unique=False)


def _create_tables() -> None:
    op.create_table(
        "catalogs",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_catalogs"),
        sa.UniqueConstraint("name", name="uq_catalogs_name"),
    )
    op.create_table(
        "events",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("registered_model_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.String(length=800), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("alias", sa.String(length=255), nullable=True),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_alias", "events", ["registered_model_id", "alias", "time", "id"], unique=False)
    op.create_index("ix_events_model", "events", ["registered_model_id", "time", "id"], unique=False)
    op.create_index("ix_events_name", "events", ["name", "time", "id"], unique=False)
    op.create_index("ix_events_principal", "events", ["principal", "time", "id"], unique=False)
    op.create_index("ix_events_time", "events", ["time", "id"], unique=False)
    op.create_table(
        "experiments",
        sa.Column("experiment_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("artifact_location", sa.Text(), nullable=False),
        sa.Column("lifecycle_stage", sa.String(length=16), server_default=sa.text("'active'"), nullable=False),
        sa.Column("creation_time", sa.BigInteger(), nullable=False),
        sa.Column("last_update_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", name="pk_experiments"),
        sa.UniqueConstraint("name", name="uq_experiments_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "files",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("etag", sa.String(length=255), nullable=False),
        sa.Column("last_modified", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_files"),
    )
    op.create_table(
        "manifests",
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_manifests"),
    )
    op.create_table(
        "datasets",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("experiment_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("digest", sa.String(length=36), nullable=False),
        sa.Column("source_type", sa.String(length=36), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=True),
        sa.Column("profile", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.experiment_id"], name="fk_datasets_experiment_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
    )
    op.create_index(
        "uq_datasets_experiment_id_name_digest", "datasets", ["experiment_id", "name", "digest"], unique=True
    )
    op.create_table(
        "experiment_tags",
        sa.Column("experiment_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.experiment_id"],
            name="fk_experiment_tags_experiment_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment_id", "key", name="pk_experiment_tags"),
    )
    op.create_table(
        "logged_models",
        sa.Column("model_id", sa.String(length=34), nullable=False),
        sa.Column("experiment_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("artifact_uri", sa.Text(), nullable=False),
        sa.Column("creation_timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_updated_timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("status_message", sa.Text(), nullable=True),
        sa.Column("model_type", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("source_run_id", sa.String(length=32), server_default=sa.text("''"), nullable=False),
        sa.Column("lifecycle_stage", sa.String(length=16), server_default=sa.text("'active'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.experiment_id"], name="fk_logged_models_experiment_id"
        ),
        sa.PrimaryKeyConstraint("model_id", name="pk_logged_models"),
    )
    op.create_index(
        "ix_logged_models_listing",
        "logged_models",
        ["experiment_id", "lifecycle_stage", "creation_timestamp_ms", "model_id"],
        unique=False,
    )
    op.create_index("ix_logged_models_name", "logged_models", ["experiment_id", "name"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("experiment_id", sa.Integer(), nullable=False),
        sa.Column("run_name", sa.Text(), nullable=False),
        sa.Column("user_id", sa.String(length=256), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.Column("artifact_uri", sa.Text(), nullable=False),
        sa.Column("lifecycle_stage", sa.String(length=16), server_default=sa.text("'active'"), nullable=False),
        sa.Column("deleted_time", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.experiment_id"], name="fk_runs_experiment_id"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("run_id", name="uq_runs_run_id"),
    )
    op.create_index(
        "ix_runs_listing", "runs", ["experiment_id", "lifecycle_stage", "start_time", "run_id"], unique=False
    )
    op.create_table(
        "schemas",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("catalog_id", _ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["catalog_id"], ["catalogs.id"], name="fk_schemas_catalog_id"),
        sa.PrimaryKeyConstraint("id", name="pk_schemas"),
    )
    op.create_index("uq_schemas_catalog_id_name", "schemas", ["catalog_id", "name"], unique=True)
    op.create_table(
        "dataset_input_tags",
        sa.Column("run", _ID, autoincrement=False, nullable=False),
        sa.Column("dataset_id", _ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_dataset_input_tags_dataset_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_dataset_input_tags_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "dataset_id", "key", name="pk_dataset_input_tags"),
    )
    op.create_table(
        "dataset_inputs",
        sa.Column("run", _ID, autoincrement=False, nullable=False),
        sa.Column("dataset_id", _ID, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_dataset_inputs_dataset_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_dataset_inputs_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "dataset_id", name="pk_dataset_inputs"),
    )
    op.create_table(
        "latest_metrics",
        sa.Column("run", _ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("is_nan", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_latest_metrics_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "key", name="pk_latest_metrics"),
    )
    op.create_table(
        "logged_model_metrics",
        sa.Column("model_id", sa.String(length=34), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("is_nan", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("dataset_name", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("dataset_digest", sa.String(length=36), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["logged_models.model_id"], name="fk_logged_model_metrics_model_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "model_id",
            "run_id",
            "key",
            "timestamp",
            "step",
            "value",
            "is_nan",
            "dataset_name",
            "dataset_digest",
            name="pk_logged_model_metrics",
        ),
    )
    op.create_index("ix_logged_model_metrics_key", "logged_model_metrics", ["model_id", "key"], unique=False)
    op.create_table(
        "logged_model_params",
        sa.Column("model_id", sa.String(length=34), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["logged_models.model_id"], name="fk_logged_model_params_model_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_id", "key", name="pk_logged_model_params"),
    )
    op.create_table(
        "logged_model_tags",
        sa.Column("model_id", sa.String(length=34), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["logged_models.model_id"], name="fk_logged_model_tags_model_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_id", "key", name="pk_logged_model_tags"),
    )
    op.create_table(
        "metrics",
        sa.Column("run", _ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("is_nan", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_metrics_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "key", "timestamp", "step", "value", "is_nan", name="pk_metrics"),
    )
    op.create_table(
        "model_inputs",
        sa.Column("run", _ID, autoincrement=False, nullable=False),
        sa.Column("model_id", sa.String(length=34), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_model_inputs_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "model_id", name="pk_model_inputs"),
    )
    op.create_table(
        "model_outputs",
        sa.Column("run", _ID, autoincrement=False, nullable=False),
        sa.Column("model_id", sa.String(length=34), nullable=False),
        sa.Column("step", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_model_outputs_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "model_id", name="pk_model_outputs"),
    )
    op.create_table(
        "params",
        sa.Column("run", _ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_params_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "key", name="pk_params"),
    )
    op.create_table(
        "registered_models",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("schema_id", _ID, nullable=False),
        sa.Column("name", sa.String(length=800), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("creation_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=True),
        sa.Column("last_updated_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.String(length=255), nullable=True),
        sa.Column("last_version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["schema_id"], ["schemas.id"], name="fk_registered_models_schema_id"),
        sa.PrimaryKeyConstraint("id", name="pk_registered_models"),
        sa.UniqueConstraint("name", name="uq_registered_models_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_registered_models_schema_id", "registered_models", ["schema_id"], unique=False)
    op.create_table(
        "run_tags",
        sa.Column("run", _ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_run_tags_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "key", name="pk_run_tags"),
    )
    op.create_table(
        "model_versions",
        sa.Column("registered_model_id", _ID, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("creation_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("last_updated_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("user_id", sa.String(length=255), nullable=True),
        sa.Column("updated_by", sa.String(length=255), nullable=True),
        sa.Column("current_stage", sa.String(length=20), server_default=sa.text("'None'"), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("run_link", sa.Text(), nullable=True),
        sa.Column("model_id", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("status_message", sa.Text(), nullable=True),
        sa.Column("storage_location", sa.Text(), nullable=False),
        sa.Column("pinned_prefix", sa.Text(), nullable=True),
        sa.Column("manifest_digest", sa.String(length=71), nullable=True),
        sa.Column("external", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["manifest_digest"], ["manifests.digest"], name="fk_model_versions_manifest_digest"),
        sa.ForeignKeyConstraint(
            ["registered_model_id"], ["registered_models.id"], name="fk_model_versions_registered_model_id"
        ),
        sa.PrimaryKeyConstraint("registered_model_id", "version", name="pk_model_versions"),
    )
    op.create_index("ix_model_versions_last_updated", "model_versions", ["last_updated_timestamp"], unique=False)
    op.create_index("ix_model_versions_manifest_digest", "model_versions", ["manifest_digest"], unique=False)
    op.create_index("ix_model_versions_model_id", "model_versions", ["model_id"], unique=False)
    op.create_index("ix_model_versions_pinned_prefix", "model_versions", ["pinned_prefix"], unique=False)
    op.create_index("ix_model_versions_run_id", "model_versions", ["run_id"], unique=False)
    op.create_index(
        "ix_model_versions_stage", "model_versions", ["registered_model_id", "current_stage", "version"], unique=False
    )
    op.create_table(
        "registered_model_tags",
        sa.Column("registered_model_id", _ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["registered_model_id"],
            ["registered_models.id"],
            name="fk_registered_model_tags_registered_model_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("registered_model_id", "key", name="pk_registered_model_tags"),
    )
    op.create_index(
        "ix_registered_model_tags_key", "registered_model_tags", ["key", "registered_model_id"], unique=False
    )
    op.create_table(
        "model_version_tags",
        sa.Column("registered_model_id", _ID, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["registered_model_id", "version"],
            ["model_versions.registered_model_id", "model_versions.version"],
            name="fk_model_version_tags_registered_model_id_version",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("registered_model_id", "version", "key", name="pk_model_version_tags"),
    )
    op.create_index(
        "ix_model_version_tags_key", "model_version_tags", ["key", "registered_model_id", "version"], unique=False
    )
    op.create_table(
        "registered_model_aliases",
        sa.Column("registered_model_id", _ID, autoincrement=False, nullable=False),
        sa.Column("alias", sa.String(length=255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["registered_model_id", "version"],
            ["model_versions.registered_model_id", "model_versions.version"],
            name="fk_registered_model_aliases_registered_model_id_version",
        ),
        sa.PrimaryKeyConstraint("registered_model_id", "alias", name="pk_registered_model_aliases"),
    )
    op.create_index(
        "ix_registered_model_aliases_version",
        "registered_model_aliases",
        ["registered_model_id", "version"],
        unique=False,
    )
    op.create_table(
        "batch_jobs",
        sa.Column("registered_model_id", _ID, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("input", sa.Text(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.Column("row_count", sa.BigInteger(), nullable=True),
        sa.Column("null_count", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["registered_model_id", "version"],
            ["model_versions.registered_model_id", "model_versions.version"],
            name="fk_batch_jobs_registered_model_id_version",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("registered_model_id", "version", "job_id", name="pk_batch_jobs"),
    )
    op.create_index(
        "ix_batch_jobs_listing",
        "batch_jobs",
        ["registered_model_id", "version", "start_time", "job_id"],
        unique=False,
    )
