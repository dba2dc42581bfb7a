"""The first schema, and what exists from the start: the built-in schemas and the experiment `Default`."""

import time
import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None

# SQLite auto-increments only a column declared exactly INTEGER PRIMARY KEY. Keys are named as `tables.columns` says.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OF_VERSION = ["registered_model_id", "version"]
_VERSIONS = [f"model_versions.{name}" for name in _OF_VERSION]


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
    op.create_index("ix_latest_metrics_value", "latest_metrics", ["key", "value", "run"])
    for table in ("params", "run_tags"):
        op.create_index(f"ix_{table}_value", table, ["key", sa.text("substr(value, 1, 200)"), "run"])


def _create_tables() -> None:
    _create_namespaces()
    op.create_table(
        "events",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("registered_model_id", sa.BigInteger()),
        sa.Column("name", sa.String(800)),
        sa.Column("version", sa.Integer()),
        sa.Column("alias", sa.String(255)),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.Column("request_id", sa.String(64)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_alias", "events", ["registered_model_id", "alias", "time", "id"])
    op.create_index("ix_events_model", "events", ["registered_model_id", "time", "id"])
    op.create_index("ix_events_name", "events", ["name", "time", "id"])
    op.create_index("ix_events_principal", "events", ["principal", "time", "id"])
    op.create_index("ix_events_time", "events", ["time", "id"])
    op.create_table(
        "files",
        sa.Column("path", sa.Text(), primary_key=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("etag", sa.String(255), nullable=False),
        sa.Column("last_modified", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "manifests",
        sa.Column("digest", sa.String(71), primary_key=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
    )
    _create_experiments()
    _create_runs()
    _create_models()


def _create_namespaces() -> None:
    def create(name: str, *columns: sa.Column[Any]) -> None:
        op.create_table(
            name,
            sa.Column("id", _ID, primary_key=True, autoincrement=True),
            sa.Column("uuid", sa.String(36), nullable=False),
            *columns,
            sa.Column("comment", sa.Text()),
            sa.Column("owner", sa.String(255)),
            sa.Column("created_at", sa.BigInteger(), nullable=False),
            sa.Column("created_by", sa.String(255)),
            sa.Column("updated_at", sa.BigInteger(), nullable=False),
            sa.Column("updated_by", sa.String(255)),
        )

    create("catalogs", sa.Column("name", sa.String(255), nullable=False, unique=True))
    catalog_id = sa.Column("catalog_id", _ID, sa.ForeignKey("catalogs.id"), nullable=False)
    create("schemas", catalog_id, sa.Column("name", sa.String(255), nullable=False))
    op.create_index("uq_schemas_catalog_id_name", "schemas", ["catalog_id", "name"], unique=True)


def _create_experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("experiment_id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(500), nullable=False, unique=True),
        sa.Column("artifact_location", sa.Text(), nullable=False),
        _lifecycle_stage(),
        sa.Column("creation_time", sa.BigInteger(), nullable=False),
        sa.Column("last_update_time", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    _create_pairs("experiment_tags", _key_of("experiments.experiment_id", sa.Integer()))
    op.create_table(
        "logged_models",
        sa.Column("model_id", sa.String(34), primary_key=True),
        _experiment_id(),
        sa.Column("name", sa.String(500), nullable=False),
        sa.Column("artifact_uri", sa.Text(), nullable=False),
        sa.Column("creation_timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_updated_timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("status_message", sa.Text()),
        sa.Column("model_type", sa.String(500), server_default=sa.text("''"), nullable=False),
        sa.Column("source_run_id", sa.String(32), server_default=sa.text("''"), nullable=False),
        _lifecycle_stage(),
    )
    listing = ["experiment_id", "lifecycle_stage", "creation_timestamp_ms", "model_id"]
    op.create_index("ix_logged_models_listing", "logged_models", listing)
    op.create_index("ix_logged_models_name", "logged_models", ["experiment_id", "name"])
    _create_pairs("logged_model_params", _key_of("logged_models.model_id", sa.String(34)), key_chars=255)
    _create_pairs("logged_model_tags", _key_of("logged_models.model_id", sa.String(34)), key_chars=255)
    op.create_table(
        "logged_model_metrics",
        _key_of("logged_models.model_id", sa.String(34)),
        sa.Column("run_id", sa.String(32), primary_key=True),
        *_point(in_key=True),
        sa.Column("dataset_name", sa.String(500), server_default=sa.text("''"), primary_key=True),
        sa.Column("dataset_digest", sa.String(36), server_default=sa.text("''"), primary_key=True),
    )
    op.create_index("ix_logged_model_metrics_key", "logged_model_metrics", ["model_id", "key"])


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(32), nullable=False, unique=True),
        _experiment_id(),
        sa.Column("run_name", sa.Text(), nullable=False),
        sa.Column("user_id", sa.String(256), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger()),
        sa.Column("artifact_uri", sa.Text(), nullable=False),
        _lifecycle_stage(),
        sa.Column("deleted_time", sa.BigInteger()),
    )
    op.create_index("ix_runs_listing", "runs", ["experiment_id", "lifecycle_stage", "start_time", "run_id"])
    op.create_table("metrics", _run(), *_point(in_key=True))
    op.create_table("latest_metrics", _run(), *_point(in_key=False))
    _create_pairs("params", _run())
    _create_pairs("run_tags", _run())
    op.create_table(
        "datasets",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        _experiment_id(ondelete="CASCADE"),
        sa.Column("name", sa.String(500), nullable=False),
        sa.Column("digest", sa.String(36), nullable=False),
        sa.Column("source_type", sa.String(36), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text()),
        sa.Column("profile", sa.Text()),
    )
    unique = ["experiment_id", "name", "digest"]
    op.create_index("uq_datasets_experiment_id_name_digest", "datasets", unique, unique=True)
    op.create_table("dataset_inputs", _run(), _key_of("datasets.id", _ID, "dataset_id"))
    _create_pairs("dataset_input_tags", _run(), _key_of("datasets.id", _ID, "dataset_id"), key_chars=255)
    op.create_table("model_inputs", _run(), sa.Column("model_id", sa.String(34), primary_key=True))
    op.create_table(
        "model_outputs",
        _run(),
        sa.Column("model_id", sa.String(34), primary_key=True),
        sa.Column("step", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )


def _create_models() -> None:
    op.create_table(
        "registered_models",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("schema_id", _ID, sa.ForeignKey("schemas.id"), nullable=False),
        sa.Column("name", sa.String(800), nullable=False, unique=True),
        sa.Column("description", sa.Text()),
        sa.Column("owner", sa.String(255)),
        sa.Column("creation_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(255)),
        sa.Column("last_updated_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.String(255)),
        sa.Column("last_version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_registered_models_schema_id", "registered_models", ["schema_id"])
    _create_pairs("registered_model_tags", _key_of("registered_models.id", _ID, "registered_model_id"))
    op.create_index("ix_registered_model_tags_key", "registered_model_tags", ["key", "registered_model_id"])
    model_id = sa.ForeignKey("registered_models.id")
    op.create_table(
        "model_versions",
        sa.Column("registered_model_id", _ID, model_id, primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("creation_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("last_updated_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("user_id", sa.String(255)),
        sa.Column("updated_by", sa.String(255)),
        sa.Column("current_stage", sa.String(20), server_default=sa.text("'None'"), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("run_link", sa.Text()),
        sa.Column("model_id", sa.String(64)),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("status_message", sa.Text()),
        sa.Column("storage_location", sa.Text(), nullable=False),
        sa.Column("pinned_prefix", sa.Text()),
        sa.Column("manifest_digest", sa.String(71), sa.ForeignKey("manifests.digest")),
        sa.Column("external", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.create_index("ix_model_versions_last_updated", "model_versions", ["last_updated_timestamp"])
    op.create_index("ix_model_versions_stage", "model_versions", ["registered_model_id", "current_stage", "version"])
    for column in ("manifest_digest", "model_id", "pinned_prefix", "run_id"):
        op.create_index(f"ix_model_versions_{column}", "model_versions", [column])
    _create_pairs("model_version_tags", *_version_key())
    op.create_index("ix_model_version_tags_key", "model_version_tags", ["key", "registered_model_id", "version"])
    op.create_table(
        "registered_model_aliases",
        sa.Column("registered_model_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("alias", sa.String(255), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(_OF_VERSION, _VERSIONS),
    )
    op.create_index("ix_registered_model_aliases_version", "registered_model_aliases", _OF_VERSION)
    op.create_table(
        "batch_jobs",
        *_version_key(),
        sa.Column("job_id", sa.String(64), primary_key=True),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("input", sa.Text()),
        sa.Column("output", sa.Text()),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger()),
        sa.Column("row_count", sa.BigInteger()),
        sa.Column("null_count", sa.BigInteger()),
    )
    op.create_index("ix_batch_jobs_listing", "batch_jobs", [*_OF_VERSION, "start_time", "job_id"])


def _create_pairs(name: str, *owner: SchemaItem, key_chars: int = 250) -> None:
    key = sa.Column("key", sa.String(key_chars), primary_key=True)
    op.create_table(name, *owner, key, sa.Column("value", sa.Text(), nullable=False))


def _key_of(parent: str, kind: Any, name: str | None = None) -> sa.Column[Any]:
    """What rows are keyed by that go with their parent; called as there unless `name` says otherwise."""
    foreign = sa.ForeignKey(parent, ondelete="CASCADE")
    return sa.Column(name or parent.partition(".")[2], kind, foreign, primary_key=True, autoincrement=False)


def _run() -> sa.Column[Any]:
    return _key_of("runs.id", _ID, "run")


def _version_key() -> tuple[SchemaItem, ...]:
    return (
        sa.Column("registered_model_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.ForeignKeyConstraint(_OF_VERSION, _VERSIONS, ondelete="CASCADE"),
    )


def _point(*, in_key: bool) -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("key", sa.String(250), primary_key=True),
        sa.Column("timestamp", sa.BigInteger(), primary_key=in_key, autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), primary_key=in_key, autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), primary_key=in_key, nullable=False),
        sa.Column("is_nan", sa.Boolean(), server_default=sa.false(), primary_key=in_key, nullable=False),
    )


def _experiment_id(ondelete: str | None = None) -> sa.Column[Any]:
    experiment = sa.ForeignKey("experiments.experiment_id", ondelete=ondelete)
    return sa.Column("experiment_id", sa.Integer(), experiment, nullable=False)


def _lifecycle_stage() -> sa.Column[Any]:
    return sa.Column("lifecycle_stage", sa.String(16), server_default=sa.text("'active'"), nullable=False)
