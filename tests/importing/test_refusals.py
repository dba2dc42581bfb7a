"""What cannot be imported is refused before anything is written, and says why."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.importing.commands import imported, table
from tests.importing.conftest import Furnished

pytestmark = pytest.mark.slow


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    """What a statement gives in our database."""
    with sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///")) as database:
        return database.execute(statement).fetchall()


def test_another_experiment_of_that_id_is_in_the_way(
    furnished: Furnished, copied: Callable[..., Path], sqlite_url: str, tmp_path: Path
) -> None:
    """It is named, with what it is there, and nothing was written."""
    rows(sqlite_url, "INSERT INTO experiments VALUES (1, 'ours', 'mlflow-artifacts:/1', 'active', 5, 5)")
    rows(sqlite_url, "INSERT INTO experiments VALUES (77, 'moving-house', 'mlflow-artifacts:/77', 'active', 5, 5)")
    before = rows(sqlite_url, "SELECT * FROM experiments")
    arguments = ("--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    for more in ((), ("--dry-run",)):
        refused = imported("--from", f"sqlite:///{copied()}", *arguments, *more)
        assert refused.exit_code == 1
        assert "experiment 1 is 'ours' here and '" in refused.stderr
        assert "experiment 77 is named 'moving-house' here; there it is experiment" in refused.stderr
    assert rows(sqlite_url, "SELECT * FROM experiments") == before and not rows(sqlite_url, "SELECT * FROM runs")


def test_a_model_that_was_changed_here_is_not_written_over(
    copied: Callable[..., Path], sqlite_url: str, tmp_path: Path
) -> None:
    """Who moved an alias here since the import does not lose that to a second import."""
    arguments = ("--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    assert imported("--from", f"sqlite:///{copied()}", *arguments).exit_code == 0
    rows(
        sqlite_url,
        "INSERT INTO events (time, principal, action, registered_model_id, name) SELECT time, 'anna', "
        "'set_registered_model_alias', registered_model_id, name FROM events WHERE name = 'moving-house' LIMIT 1",
    )
    refused = imported("--from", f"sqlite:///{copied()}", *arguments)
    assert refused.exit_code == 1
    assert (
        "'moving-house' was changed here since it was imported (set_registered_model_alias by anna)" in refused.stderr
    )


def test_a_difference_is_shown_and_ends_with_status_1(
    furnished: Furnished, copied: Callable[..., Path], sqlite_url: str, tmp_path: Path
) -> None:
    """A point that is here and not there, as after a write to the new server, is counted."""
    arguments = ("--from", f"sqlite:///{copied()}", "--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    assert imported(*arguments).exit_code == 0
    rows(sqlite_url, "INSERT INTO params SELECT id, 'added', 'here' FROM runs LIMIT 1")
    different = imported(*arguments)
    assert different.exit_code == 1 and "The two sides differ" in different.stderr
    there, here, verdict = table(different.stdout)["params"]
    assert (here - there, verdict) == (1, "NO")


def test_a_dry_run_writes_nothing(furnished: Furnished, tmp_path: Path) -> None:
    """Not even the data folder is made; what would come is counted."""
    folder = tmp_path / "data"
    looked = imported(
        *("--from", furnished.server.database_url, "--artifacts", furnished.server.artifacts, "--data-dir", folder),
        "--dry-run",
    )
    assert looked.exit_code == 0, looked.output
    assert "runs                             3" in looked.stdout and not folder.exists()
    assert not (furnished.server.artifacts / ".uploads").exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("sqlite:///missing.db", "There is no source database 'missing.db'"),
        ("mysql://there/mlflow", "A source of the kind 'mysql' cannot be read"),
        ("mlflow.db", "The source database is not named by a URL"),
        (
            "postgresql://nobody:secret@127.0.0.1:1/mlflow",
            "The source database cannot be opened: ConnectionRefusedError",
        ),
        ("sqlite:///{ours}", "The source is no database of an MLflow server: no table tags"),
    ],
)
def test_what_is_no_source_is_said(source: str, said: str, sqlite_url: str, tmp_path: Path) -> None:
    """The message names the flag or the cause, and no password."""
    source = source.format(ours=sqlite_url.removeprefix("sqlite+aiosqlite:///"))
    refused = imported("--from", source, "--data-dir", tmp_path / "data")
    assert refused.exit_code == 1 and said in refused.stderr and "secret" not in refused.output
