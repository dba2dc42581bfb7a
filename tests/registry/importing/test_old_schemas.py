"""Databases of older MLflow releases, made by MLflow's own migrations, lack tables and columns."""

import sqlite3
from pathlib import Path

import pytest

from tests.registry.importing.commands import imported, table
from tests.registry.importing.databases import ask

pytestmark = pytest.mark.slow

# The revision that a release begins with, and whether it has logged models.
RELEASES = [
    pytest.param("400f98739977", id="3.0"),
    pytest.param("0584bdc529eb", id="2.22", marks=pytest.mark.bench),
]
ROWS = """
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) VALUES (0, 'Default', 'a', 'active');
INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, artifact_uri, experiment_id)
    VALUES ('a1', 'old', 'FINISHED', 5, 'active', 'mlflow-artifacts:/0/a1/artifacts', 0);
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES ('m', 0, 1, 'a1', 0, 1);
INSERT INTO latest_metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES ('m', 0, 1, 'a1', 0, 1);
INSERT INTO registered_models (name, creation_time) VALUES ('old', 5);
INSERT INTO model_versions (name, version, creation_time, source, current_stage, status)
    VALUES ('old', 1, 6, 's3://bucket/x', 'Staging', 'READY'),
           ('old', 2, 7, 's3://bucket/y', 'Deleted_Internal', 'READY');
INSERT INTO registered_model_aliases (name, alias, version) VALUES ('old', 'champion', 1);
"""


@pytest.fixture(params=RELEASES)
def old_database(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A database with the schema of an older release, and a few rows."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    path = tmp_path / "mlflow.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    config = _get_alembic_config(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, request.param)
    engine.dispose()
    with sqlite3.connect(path) as database:
        database.executescript(ROWS)
    return path


def test_an_older_database_moves_in(old_database: Path, sqlite_url: str, tmp_path: Path) -> None:
    """What a release lacks is empty here; what was never changed was last changed when it was made."""
    arguments = ("--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    done = imported("--from", f"sqlite:///{old_database}", *arguments)
    assert done.exit_code == 0, done.output
    compared = table(done.stdout)
    assert {verdict for *_, verdict in compared.values()} == {"yes"}
    assert (compared["runs"][1], compared["logged models"][1], compared["model versions"][1]) == (1, 0, 1)
    statement = "SELECT creation_timestamp, last_updated_timestamp, current_stage, external FROM model_versions"
    assert ask(sqlite_url, statement) == [(6, 6, "Staging", 1)]
    assert ask(sqlite_url, "SELECT last_updated_timestamp, last_version FROM registered_models") == [(5, 2)]
