"""The least that is an MLflow server: its tables, with a run and a version, and a folder of artifacts."""

import sqlite3
from pathlib import Path

RUN = "a1" * 16
_TABLES = """
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256), artifact_location VARCHAR(256),
    lifecycle_stage VARCHAR(32), creation_time BIGINT, last_update_time BIGINT);
CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250), experiment_id INTEGER, user_id VARCHAR(256),
    status VARCHAR(9), start_time BIGINT, end_time BIGINT, lifecycle_stage VARCHAR(20), artifact_uri VARCHAR(200));
CREATE TABLE experiment_tags (experiment_id INTEGER, key VARCHAR(250), value VARCHAR(5000));
CREATE TABLE params (run_uuid VARCHAR(32), key VARCHAR(250), value VARCHAR(8000));
CREATE TABLE tags (run_uuid VARCHAR(32), key VARCHAR(250), value VARCHAR(8000));
CREATE TABLE metrics (run_uuid VARCHAR(32), key VARCHAR(250), value FLOAT, timestamp BIGINT, step BIGINT, is_nan INT);
CREATE TABLE latest_metrics (run_uuid VARCHAR(32), key VARCHAR(250), value FLOAT, timestamp BIGINT, step BIGINT,
    is_nan INT);
CREATE TABLE datasets (dataset_uuid VARCHAR(36), experiment_id INTEGER, name VARCHAR(500), digest VARCHAR(36),
    dataset_source_type VARCHAR(36), dataset_source TEXT, dataset_schema TEXT, dataset_profile TEXT);
CREATE TABLE inputs (input_uuid VARCHAR(36), source_type VARCHAR(36), source_id VARCHAR(36),
    destination_type VARCHAR(36), destination_id VARCHAR(36), step BIGINT);
CREATE TABLE input_tags (input_uuid VARCHAR(36), name VARCHAR(255), value VARCHAR(500));
CREATE TABLE logged_models (model_id VARCHAR(34) PRIMARY KEY, experiment_id INTEGER, name VARCHAR(500),
    artifact_location VARCHAR(1000), creation_timestamp_ms BIGINT, last_updated_timestamp_ms BIGINT, status INTEGER,
    lifecycle_stage VARCHAR(32), model_type VARCHAR(500), source_run_id VARCHAR(32), status_message VARCHAR(1000));
CREATE TABLE registered_models (name VARCHAR(256) PRIMARY KEY, creation_time BIGINT, last_updated_time BIGINT,
    description VARCHAR(5000));
CREATE TABLE model_versions (name VARCHAR(256), version INTEGER, creation_time BIGINT, last_updated_time BIGINT,
    description VARCHAR(5000), user_id VARCHAR(256), current_stage VARCHAR(20), source VARCHAR(500),
    run_id VARCHAR(32), run_link VARCHAR(500), status VARCHAR(20), status_message VARCHAR(500),
    storage_location VARCHAR(500));
"""


class SmallServer:
    """A database file and an artifact folder. `location` is what the database says of experiment 1's place."""

    def __init__(self, folder: Path, location: str = "mlflow-artifacts:/1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.database = folder / "mlflow.db"
        self.artifacts = folder / "art"
        self.url = f"sqlite:///{self.database}"
        with sqlite3.connect(self.database) as database:
            database.executescript(_TABLES)
        self.experiment(0, "Default", "mlflow-artifacts:/0")
        self.experiment(1, "used", location)
        self.run(RUN, 1, location)
        self.file(f"1/{RUN}/artifacts/notes.txt")

    def execute(self, statement: str, *values: object) -> None:
        """Runs one statement in the server's database."""
        with sqlite3.connect(self.database) as database:
            database.execute(statement, values)

    def experiment(self, number: int, name: str, location: str) -> None:
        """An experiment more."""
        self.execute("INSERT INTO experiments VALUES (?, ?, ?, 'active', 5, 5)", number, name, location)

    def run(self, run_id: str, experiment: int, location: str) -> None:
        """A run more, with a metric."""
        self.execute(
            "INSERT INTO runs VALUES (?, 'run', ?, 'u', 'FINISHED', 1, 2, 'active', ?)",
            run_id,
            experiment,
            f"{location}/{run_id}/artifacts",
        )
        self.execute("INSERT INTO metrics VALUES (?, 'm', 1.5, 1, 1, 0)", run_id)

    def file(self, path: str, body: bytes = b"kept") -> Path:
        """A file more below the artifact root."""
        place = self.artifacts / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
        return place
