"""What the databases of these tests hold: more runs for the one that is read, all rows of the one that is written."""

import sqlite3

RUNS, POINTS = 300, 60
# What every import makes up anew.
INVENTED = {"uuid", "id", "etag", "last_modified", "created_at", "updated_at"}
ELSEWHERE = {"events", "alembic_version", "sqlite_sequence"}
# An index that is brought up to date later.
INDEX = "run_name"


def many(runs: int, points: int) -> tuple[str, ...]:
    """Statements that add runs with so many points each."""
    return (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {runs}) "
        "INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, artifact_uri, experiment_id) "
        "SELECT printf('%032x', i), 'run ' || i, 'FINISHED', i, 'active', 'mlflow-artifacts:/0/' || i, 0 FROM n",
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {points}) "
        "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
        "SELECT 'loss', 1.0 / i, i, run_uuid, i, 0 FROM n, runs WHERE runs.name LIKE 'run %'",
        "INSERT INTO latest_metrics (key, value, timestamp, run_uuid, step, is_nan) "
        f"SELECT key, value, timestamp, run_uuid, step, is_nan FROM metrics WHERE step = {points} AND key = 'loss'",
    )


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """The rows of our tables, without what every import makes up anew."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: rows(database, name) for name in tables if not (name in ELSEWHERE or name.startswith(INDEX))}


def rows(database: sqlite3.Connection, name: str) -> list[tuple[object, ...]]:
    """The rows of one table in an order of their own."""
    info = database.execute(f"PRAGMA table_info({name})")
    columns = ", ".join(f'"{row[1]}"' for row in info if row[1] not in INVENTED)
    return sorted(database.execute(f"SELECT {columns} FROM {name}"), key=repr)


def ask(url: str, statement: str) -> list[tuple[object, ...]]:
    """What a statement gives in our database."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        return database.execute(statement).fetchall()
