"""Runs by the ten thousand, put into a database by SQL: ten metrics, ten params and a name each."""

from tests.bench.registry.databases import Databases

# As both databases count.
_COUNT = "(WITH RECURSIVE c(n) AS (SELECT {} UNION ALL SELECT n + 1 FROM c WHERE n < {}) SELECT n AS {} FROM c) AS {}"
_NUMBERS = _COUNT.format(1, "{count}", "n", "numbers")
_KEYS = _COUNT.format(0, 9, "at", "keys")
_ID = "md5('{experiment}-' || n)"
_VALUE = "(n * 7919 + at) % 97 / 97.0"

_TILTYARD = f"""
INSERT INTO runs (run_id, experiment_id, run_name, user_id, status, start_time, artifact_uri)
  SELECT {_ID}, {{experiment}}, 'run-' || n, 'ann', 'FINISHED', 1700000000000 + n, 'mlflow-artifacts:/x'
  FROM {_NUMBERS};
INSERT INTO params SELECT runs.id, 'p' || at, CAST(n % 7 + at AS text)
  FROM {_NUMBERS} JOIN runs ON run_id = {_ID}, {_KEYS};
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
INSERT INTO params (key, value, run_uuid) SELECT 'p' || at, CAST(n % 7 + at AS text), {_ID} FROM {_NUMBERS}, {_KEYS};
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
  SELECT 'm' || at, {_VALUE}, n, at, false, {_ID} FROM {_NUMBERS}, {_KEYS};
INSERT INTO tags (key, value, run_uuid) SELECT 'mlflow.runName', 'run-' || n, {_ID} FROM {_NUMBERS};
ANALYZE;
"""
_POINTS = f"""
INSERT INTO metrics (run, key, timestamp, step, value, is_nan)
  SELECT runs.id, 'm0', n, n, n / 7.0, false FROM {_NUMBERS}, runs WHERE run_id = '{{run_id}}';
"""
SCHEMAS = {"Tiltyard": _TILTYARD, "MLflow": _MLFLOW}


def add_runs(databases: Databases, server: str, experiment_id: str, count: int) -> None:
    """Puts so many runs into an experiment of a server's database."""
    databases.execute(server, SCHEMAS[server].format(experiment=int(experiment_id), count=count))


def lengthen(databases: Databases, run_id: str, count: int) -> None:
    """Gives a run of Tiltyard's so many points of the metric `m0`."""
    databases.execute("Tiltyard", _POINTS.format(run_id=run_id, count=count))
