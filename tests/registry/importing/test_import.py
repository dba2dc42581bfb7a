"""An MLflow server moves in: found again by the stock client, proof against kill -9, refused when it would do harm.

One file, so that one process of the run starts the server and furnishes it.
"""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateTable

from tests.conformance.iris import Iris
from tests.fixtures.databases import sqlite_url_of
from tests.fixtures.processes import GuardedProcess
from tests.fixtures.services import StartService
from tests.registry.importing.commands import imported, table
from tests.registry.importing.conftest import Furnished
from tests.registry.importing.databases import POINTS, RUNS, ask, contents, many
from tests.registry.importing.mlflow_house import plain, seen

pytestmark = pytest.mark.slow

NOUNS = {
    *("experiments", "experiment tags", "datasets", "runs", "params", "run tags", "metric points", "latest metrics"),
    *("dataset inputs", "dataset input tags", "model inputs", "model outputs", "logged models"),
    *("logged-model params", "logged-model tags", "logged-model metrics"),
    *("registered models", "model versions", "model tags", "version tags", "aliases", "artifact files"),
}
RENAMED = {"two.parts": "two_parts_7c2d2dbb", "four.parts.of.name": "four_parts_of_name"}


def test_the_stock_client_finds_everything_again(
    furnished: Furnished,
    mlflow_package: ModuleType,
    iris: Iris,
    database_url: str,
    registry: StartService,
    tmp_path: Path,
) -> None:
    """Same runs, history, models and answers; versions have manifests; numbers go on behind the last one used."""
    server, house, _ = furnished
    root = tmp_path / "root"
    arguments = ("--database-url", database_url, "--artifact-root", root)
    done = imported("--from", server.database_url, "--artifacts", server.artifacts, *arguments)
    assert done.exit_code == 0, done.output
    compared = table(done.stdout)
    assert set(compared) == NOUNS and {verdict for *_, verdict in compared.values()} == {"yes"}
    assert all(f"'{there}' -> '{here}'" in done.stdout for there, here in RENAMED.items())

    service = registry("--database-url", database_url, "--artifact-root", str(root))
    there = {
        (*key[:1], *(RENAMED.get(word, word) for word in key[1:])): value
        for key, value in seen(mlflow_package, server.url).items()
    }
    here = seen(mlflow_package, service.url)
    assert set(there) == set(here)
    differing = {key for key in there if plain(there[key]) != plain(here[key])}
    # The models that could not keep their names differ by that, their versions and the model they come from likewise.
    assert {key[1] for key in differing} == {*RENAMED.values(), house.model_id}, differing

    client = mlflow_package.MlflowClient()
    loaded = mlflow_package.pyfunc.load_model(f"models:/{house.model}@champion")
    assert list(loaded.predict(iris.features)) == list(iris.answers)
    assert client.get_registered_model(house.model).aliases == {"champion": "1", "challenger": "2"}
    assert [m.value for m in client.get_metric_history(house.run_id, "odd")][3:] == [float("inf"), float("-inf")]
    assert client.get_run(house.run_id).inputs.dataset_inputs[0].tags[0].value == "training"
    listed = client.get_logged_model(house.model_id).tags["mlflow.modelVersions"]
    assert {entry["name"] for entry in json.loads(listed)} == {house.model, RENAMED["two.parts"]}
    source = client.get_model_version(house.model, "1").source
    assert client.create_model_version(house.model, source, model_id=house.model_id).version == "4"
    assert int(client.create_experiment("a new one")) > int(house.experiment_id)
    with urllib.request.urlopen(f"{service.url}/api/tiltyard/v1/resolve?uri=models:/{house.model}/1") as answer:
        resolved = json.load(answer)
    assert resolved["models"][0]["digest"].startswith("sha256:") and not resolved["models"][0]["external"]


def test_a_second_import_brings_what_came_later(
    furnished: Furnished, copied: Callable[..., Path], sqlite_url: str, tmp_path: Path
) -> None:
    """What is here already is not doubled and writes no event; what was added or moved there follows."""
    run = furnished.house.run_id
    arguments = ("--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    arguments += ("--artifacts", furnished.server.artifacts)
    first = imported("--from", f"sqlite:///{copied()}", *arguments)
    assert first.exit_code == 0, first.output
    ours = sqlite_url.removeprefix("sqlite:///")
    with sqlite3.connect(ours) as database:
        events = database.execute("SELECT count(*) FROM events").fetchone()
    again = imported("--from", f"sqlite:///{copied()}", *arguments)
    assert table(again.stdout) == table(first.stdout)
    with sqlite3.connect(ours) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == events
    later = copied(
        f"INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES ('auc', 1, 9, '{run}', 9, 0)",
        f"UPDATE runs SET status = 'KILLED', name = 'said later' WHERE run_uuid = '{run}'",
        "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'",
    )
    third = imported("--from", f"sqlite:///{later}", *arguments)
    assert third.exit_code == 0, third.output
    assert table(third.stdout)["metric points"][1] == table(first.stdout)["metric points"][1] + 1
    with sqlite3.connect(ours) as database:
        assert database.execute("SELECT status, run_name FROM runs WHERE run_id = ?", (run,)).fetchone() == (
            "KILLED",
            "said later",
        )
        (moved,) = database.execute("SELECT before, after FROM events ORDER BY id DESC LIMIT 1").fetchall()
        assert [json.loads(side) for side in moved] == [{"version": 1}, {"version": 2}]


def test_experiments_with_long_ids_are_reached_after_the_move(
    furnished: Furnished,
    mlflow_package: ModuleType,
    copied: Callable[..., Path],
    database_url: str,
    registry: StartService,
    tmp_path: Path,
) -> None:
    """Ids of 18 digits, as file stores give, are kept and found; experiments made later are counted as before."""
    old, long = furnished.house.experiment_id, "690606685351533641"
    tables = ("experiments", "experiment_tags", "runs", "datasets", "logged_models")
    source = copied(
        "PRAGMA foreign_keys = OFF",
        *(f"UPDATE {table} SET experiment_id = {long} WHERE experiment_id = {old}" for table in tables),
    )
    arguments = ("--database-url", database_url, "--artifact-root", tmp_path / "root")
    done = imported("--from", f"sqlite:///{source}", "--artifacts", furnished.server.artifacts, *arguments)
    assert done.exit_code == 0, done.output
    service = registry(*map(str, arguments))
    client = mlflow_package.MlflowClient(service.url, service.url)
    assert client.get_experiment(long).name == client.get_experiment_by_name("moving-house").name
    assert furnished.house.run_id in {run.info.run_id for run in client.search_runs([long])}
    client.set_tag(client.create_run(long).info.run_id, "k", "v")
    new = client.create_experiment("after the move")
    assert int(new) < 100 and client.get_experiment(new).lifecycle_stage == "active"


def test_files_that_are_here_already_are_pinned_where_they_are(
    furnished: Furnished, copied: Callable[..., Path], sqlite_url: str, tmp_path: Path
) -> None:
    """With the server's own root as ours nothing is copied; without any of its files versions are external."""
    root = shutil.copytree(furnished.server.artifacts, tmp_path / "root")
    done = imported("--from", f"sqlite:///{copied()}", "--database-url", sqlite_url, "--artifact-root", root)
    assert done.exit_code == 0 and "Model versions with a manifest: 3" in done.stdout, done.output
    assert "artifact files" not in table(done.stdout)


def test_files_move_into_a_bucket_and_out_of_one(
    furnished: Furnished, copied: Callable[..., Path], new_s3_uri: Callable[[], str], tmp_path: Path
) -> None:
    """Their root and ours may each be a folder or a bucket."""
    bucket = f"{new_s3_uri()}/models"
    for number, (theirs, ours) in enumerate(((furnished.server.artifacts, bucket), (bucket, tmp_path / "root"))):
        done = imported(
            *("--from", f"sqlite:///{copied()}", "--artifacts", theirs, "--artifact-root", ours),
            *("--data-dir", tmp_path / f"data-{number}"),
        )
        assert done.exit_code == 0 and "Model versions with a manifest: 3" in done.stdout, done.output
        assert table(done.stdout)["artifact files"][2] == "yes"


def test_without_files_versions_are_external(copied: Callable[..., Path], sqlite_url: str, tmp_path: Path) -> None:
    """They are recorded as they came, without a manifest, and the report says so."""
    done = imported(
        *("--from", f"sqlite:///{copied()}", "--database-url", sqlite_url, "--artifact-root", tmp_path / "empty")
    )
    assert done.exit_code == 0 and "without a manifest: 7 model versions" in done.stdout, done.output


def test_a_server_on_postgresql_moves_in(
    furnished: Furnished,
    copied: Callable[..., Path],
    new_postgres_url: Callable[..., str],
    sqlite_url: str,
    tmp_path: Path,
) -> None:
    """MLflow's own tables on PostgreSQL, with the same rows, give the same table of counts and checksums."""
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.model_registry.dbmodels import models as _registry  # noqa: F401 - fills the metadata
    from mlflow.store.tracking.dbmodels import models as _tracking  # noqa: F401

    path, url = copied(), new_postgres_url(migrated=False)

    async def fill() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            with sqlite3.connect(path) as source:
                source.row_factory = sqlite3.Row
                for its in Base.metadata.sorted_tables:
                    # SQLite lets a foreign key name columns that are not unique; PostgreSQL does not.
                    await connection.execute(CreateTable(its, include_foreign_key_constraints=[]))
                    rows = [dict(row) for row in source.execute(f'SELECT * FROM "{its.name}"')]
                    rows = [row | {name: bool(row[name]) for name in {"is_nan"} & row.keys()} for row in rows]
                    if rows:
                        await connection.execute(insert(its), rows)
        await engine.dispose()

    asyncio.run(fill())
    arguments = ("--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    done = imported("--from", url.replace("postgresql+asyncpg", "postgresql+psycopg2"), *arguments)
    assert done.exit_code == 0, done.output
    assert table(done.stdout)["runs"] == (3, 3, "yes")
    assert {verdict for *_, verdict in table(done.stdout).values()} == {"yes"}


@pytest.mark.parametrize(
    "moments", [("runs:",), pytest.param(("runs:", "artifact files:", "registered models:"), marks=pytest.mark.bench)]
)
def test_kill_9_leaves_nothing_to_repair(
    furnished: Furnished, copied: Callable[..., Path], sqlite_template: Path, tmp_path: Path, moments: tuple[str, ...]
) -> None:
    """Killed among the runs, the files and the models in turn, it ends with the rows of an import at one go."""
    source = copied(*many(RUNS, POINTS))
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
    for moment in moments:
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


@pytest.mark.bench
def test_memory_stays_flat_however_many_points_there_are(copied: Callable[..., Path], tmp_path: Path) -> None:
    """Ten times the points take no more memory; a child's peak is what the system says of it."""
    peaks_kb = []
    for points in (1_000, 10_000):
        source = copied(*many(100, points))
        command = [sys.executable, "-m", "tiltyard.cli", "import", "--from", f"sqlite:///{source}"]
        command += ["--data-dir", str(tmp_path / f"data-{points}")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks_kb.append(used.ru_maxrss)
    assert peaks_kb[1] < peaks_kb[0] + 20_000, peaks_kb


def test_another_experiment_of_that_id_is_in_the_way(
    furnished: Furnished, copied: Callable[..., Path], sqlite_url: str, tmp_path: Path
) -> None:
    """It is named, with what it is there, and nothing was written."""
    columns = "experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time"
    for number, name in ((1, "ours"), (77, "moving-house")):
        ask(sqlite_url, f"INSERT INTO experiments ({columns}) VALUES ({number}, '{name}', 'a', 'active', 5, 5)")
    before = ask(sqlite_url, "SELECT * FROM experiments")
    arguments = ("--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    for more in ((), ("--dry-run",)):
        refused = imported("--from", f"sqlite:///{copied()}", *arguments, *more)
        assert refused.exit_code == 1
        assert "experiment 1 is 'ours' here and '" in refused.stderr
        assert "experiment 77 is named 'moving-house' here; there it is experiment" in refused.stderr
    assert ask(sqlite_url, "SELECT * FROM experiments") == before and not ask(sqlite_url, "SELECT * FROM runs")


def test_a_model_that_was_changed_here_is_not_written_over(
    copied: Callable[..., Path], sqlite_url: str, tmp_path: Path
) -> None:
    """Who moved an alias here since the import does not lose that to a second import."""
    arguments = ("--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    assert imported("--from", f"sqlite:///{copied()}", *arguments).exit_code == 0
    ask(
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
    """A param that is here and not there is counted; a point with another value shows in the checksum."""
    arguments = ("--from", f"sqlite:///{copied()}", "--database-url", sqlite_url, "--artifact-root", tmp_path / "root")
    assert imported(*arguments).exit_code == 0
    ask(sqlite_url, "INSERT INTO params SELECT id, 'added', 'here' FROM runs LIMIT 1")
    different = imported(*arguments)
    assert different.exit_code == 1 and "The two sides differ" in different.stderr
    there, here, verdict = table(different.stdout)["params"]
    assert (here - there, verdict) == (1, "NO")
    ask(sqlite_url, "UPDATE metrics SET value = value + 1 WHERE key = 'auc'")
    there, here, verdict = table(imported(*arguments).stdout)["metric points"]
    assert (here - there, verdict) == (0, "NO")


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
    source = source.format(ours=sqlite_url.removeprefix("sqlite:///"))
    refused = imported("--from", source, "--data-dir", tmp_path / "data")
    assert refused.exit_code == 1 and said in refused.stderr and "secret" not in refused.output
