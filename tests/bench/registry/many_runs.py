"""Runs by the ten thousand, put into a database by SQL: ten metrics, ten params and a name each."""

from tests.fixtures.postgres import Postgres

_NUMBERS = "generate_series(1, {count}) AS n"
_KEYS = "generate_series(0, 9) AS at"
_ID = "md5('{experiment}-' || n)"
_VALUE = "(n * 7919 + at) % 97 / 97.0"

_TILTYARD = f"""
INSERT INTO runs (run_id, experiment_id, run_name, user_id, status, start_time, artifact_uri)
  SELECT {_ID}, {{experiment}}, 'run-' || n, 'ann', 'FINISHED', 1700000000000 + n, 'mlflow-artifacts:/x'
  FROM {_NUMBERS};
INSERT INTO params SELECT runs.id, 'p' || at, (n % 7 + at)::text FROM {_NUMBERS} JOIN runs ON run_id = {_ID}, {_KEYS};
INSERT INTO latest_metrics (run, key, timestamp, step, value)
  SELECT runs.id, 'm' || at, n, at, {_VALUE} FROM {_NUMBERS} JOIN runs ON run_id = {_ID}, {_KEYS};
INSERT INTO run_tags SELECT runs.id, 'mlflow.runName', run_name FROM {_NUMBERS} JOIN runs ON run_id = {_ID};
ANALYZE;
"""
_MLFLOW = f"""
INSERT INTO runs (run_uuid, experiment_id, name, user_id, status, start_time, artifact_uri, lifecycle_stage,
  source_type, source_name, entry_point_name, source_version)
  SELECT {_ID}, {{experiment}}, 'run-' || n, 'ann', 'FINISHED', 1700000000000 + n, 'mlflow-artifacts:/x', 'active',
  'UNKNOWN', '', '', '' FROM {_NUMBERS};
INSERT INTO params (key, value, run_uuid) SELECT 'p' || at, (n % 7 + at)::text, {_ID} FROM {_NUMBERS}, {_KEYS};
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
  SELECT 'm' || at, {_VALUE}, n, at, false, {_ID} FROM {_NUMBERS}, {_KEYS};
INSERT INTO tags (key, value, run_uuid) SELECT 'mlflow.runName', 'run-' || n, {_ID} FROM {_NUMBERS};
ANALYZE;
"""
SCHEMAS = {"Tiltyard": _TILTYARD, "MLflow": _MLFLOW}


def add_runs(postgres: Postgres, url: str, server: str, experiment_id: str, count: int) -> None:
    """Puts so many runs into an experiment of a server's database."""
    statements = SCHEMAS[server].format(experiment=int(experiment_id), count=count)
    postgres.execute(statements, url.rsplit("/", 1)[1])
