"""An import that is killed is started again and ends where an undisturbed one ends."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.databases import sqlite_url_of
from tests.fixtures.processes import GuardedProcess
from tests.importing.commands import imported, table
from tests.importing.conftest import Furnished

pytestmark = pytest.mark.slow

RUNS, POINTS = 300, 60
MANY = (
    f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {RUNS}) "
    "INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, artifact_uri, experiment_id) "
    "SELECT printf('%032x', i), 'run ' || i, 'FINISHED', i, 'active', 'mlflow-artifacts:/0/' || i, 0 FROM n",
    f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {POINTS}) "
    "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
    "SELECT 'loss', 1.0 / i, i, run_uuid, i, 0 FROM n, runs WHERE runs.name LIKE 'run %'",
    "INSERT INTO latest_metrics (key, value, timestamp, run_uuid, step, is_nan) "
    f"SELECT key, value, timestamp, run_uuid, step, is_nan FROM metrics WHERE step = {POINTS} AND key = 'loss'",
)
# What every import makes up anew.
INVENTED = {"uuid", "id", "etag", "last_modified", "created_at", "updated_at"}
ELSEWHERE = {"events", "alembic_version", "sqlite_sequence"}


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """The rows of our tables, without what every import makes up anew."""
    with sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///")) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: rows(database, name) for name in tables if name not in ELSEWHERE}


def rows(database: sqlite3.Connection, name: str) -> list[tuple[object, ...]]:
    """The rows of one table in an order of their own."""
    info = database.execute(f"PRAGMA table_info({name})")
    columns = ", ".join(f'"{row[1]}"' for row in info if row[1] not in INVENTED)
    return sorted(database.execute(f"SELECT {columns} FROM {name}"), key=repr)


def test_kill_9_leaves_nothing_to_repair(
    furnished: Furnished, copied: Callable[..., Path], sqlite_template: Path, tmp_path: Path
) -> None:
    """Killed among the runs, the files and the models in turn, it ends with the rows of an import at one go."""
    source = copied(*MANY)
    urls = {}
    for name in ("at-once", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tiltyard.db").write_bytes(sqlite_template.read_bytes())
        urls[name] = sqlite_url_of(folder / "tiltyard.db")
    told = ("--from", f"sqlite:///{source}", "--artifacts", str(furnished.server.artifacts))

    def arguments(name: str) -> tuple[str, ...]:
        return (*told, "--database-url", urls[name], "--artifact-root", str(tmp_path / name / "root"))

    assert imported(*arguments("at-once")).exit_code == 0
    for moment in ("runs:", "artifact files:", "registered models:"):
        process = GuardedProcess(
            [sys.executable, "-m", "tiltyard.cli", "import", *arguments("killed")],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert process.stderr is not None
        assert any(line.decode().startswith(moment) for line in process.stderr), moment
        process.kill()
        process.wait()
        process.stderr.close()
    done = imported(*arguments("killed"))
    assert done.exit_code == 0, done.output
    assert table(done.stdout)["metric points"][:2] == (RUNS * POINTS + 9, RUNS * POINTS + 9)
    assert contents(urls["killed"]) == contents(urls["at-once"])
