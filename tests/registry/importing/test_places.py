"""An import proves that what it wrote is found: rows by requests, and files where the rows say that they are."""

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import click.testing
import pytest
from sqlalchemy.engine import make_url

from tests.registry.api_app import opened
from tests.registry.asked_store import AskedStore
from tests.registry.importing.commands import imported, table
from tests.registry.importing.databases import ask
from tests.registry.importing.small_server import RUN, SmallServer
from tiltyard.storage import open_store
from tiltyard_registry.importing import locations

KEPT = f"1/{RUN}/artifacts/notes.txt"


def moved_in(server: SmallServer, url: str, root: Path, *more: str | Path) -> click.testing.Result:
    """What the import of a server and its folder into an empty registry came to."""
    arguments = ("--from", server.url, "--artifacts", server.artifacts, "--database-url", url, "--artifact-root", root)
    return imported(*arguments, *more)


async def read(data: Path, url: str, root: Path, run_id: str = RUN) -> tuple[int, bytes]:
    """What the registry answers to who asks for the run's file."""
    async with opened(data, database_url=url, artifact_root=str(root)) as api:
        answer = await api.ask("GET", "/get-artifact", params={"run_id": run_id, "path": "notes.txt"})
        return answer.status_code, answer.content


def places(url: str) -> list[Any]:
    """Where the experiments keep what is new, by number."""
    return [row[0] for row in ask(url, "SELECT artifact_location FROM experiments ORDER BY experiment_id")]


@pytest.mark.parametrize("old", ["/old place/art", "file:///old/art", "s3://bucket/art"])
def test_files_that_lie_elsewhere_than_the_database_says_are_told(sqlite_url: str, tmp_path: Path, old: str) -> None:
    """Runs that lead to the old root are counted and end the import with 1; the option that helps is named."""
    server, root = SmallServer(tmp_path / "theirs", f"{old}/1"), tmp_path / "root"
    told = moved_in(server, sqlite_url, root)
    assert told.exit_code == 1 and "--allow-missing-files" in told.stderr
    assert f"Runs whose files lie elsewhere, not below the artifact root: 1, such as '{old}/1/{RUN}" in told.stdout
    assert f"--old-root '{old}'" in told.stdout
    dry = moved_in(server, sqlite_url, root, "--dry-run")
    assert "Runs whose files lie elsewhere" in dry.stdout and f"--old-root '{old}'" in dry.stdout
    assert moved_in(server, sqlite_url, root, "--allow-missing-files").exit_code == 0
    done = moved_in(server, sqlite_url, root, "--old-root", old)
    assert done.exit_code == 0, done.output
    assert places(sqlite_url)[1] == "mlflow-artifacts:/1"
    assert asyncio.run(read(tmp_path, sqlite_url, root)) == (200, b"kept")


def test_locations_that_name_the_proxy_by_its_address_are_ours(sqlite_url: str, tmp_path: Path) -> None:
    """`http://old:5000/…/mlflow-artifacts/artifacts/1` and `mlflow-artifacts://old:5000/1` are places below it."""
    for number, location in enumerate(
        ("http://old:5000/api/2.0/mlflow-artifacts/artifacts/1", "mlflow-artifacts://old:5000/1")
    ):
        server, root = SmallServer(tmp_path / f"theirs{number}", location), tmp_path / f"root{number}"
        data = tmp_path / f"data{number}"
        done = imported(
            *("--from", server.url, "--artifacts", server.artifacts, "--data-dir", data, "--artifact-root", root)
        )
        assert done.exit_code == 0, done.output
        url = f"sqlite:///{data / 'tiltyard.db'}"
        assert asyncio.run(read(data, url, root)) == (200, b"kept")


@pytest.mark.parametrize("location", ["./mlruns/0", "mlruns/0", "file:///srv/mlruns/0", "/srv/mlruns/0"])
def test_new_runs_are_never_kept_in_a_folder_of_the_old_machine(sqlite_url: str, tmp_path: Path, location: str) -> None:
    """The Default experiment of a server that once ran without the proxy gets a place in our root, and it is told."""
    server, root = SmallServer(tmp_path / "theirs"), tmp_path / "root"
    server.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", location)
    done = moved_in(server, sqlite_url, root)
    assert done.exit_code == 0, done.output
    assert "Experiments whose location was a folder outside the artifact root: 1" in done.stdout
    assert places(sqlite_url) == ["mlflow-artifacts:/0", "mlflow-artifacts:/1"]


def test_an_empty_folder_is_an_error_only_where_a_run_says_that_it_has_files(sqlite_url: str, tmp_path: Path) -> None:
    """It is told in any case; runs to which nothing was logged lack nothing, so the import of them is whole."""
    server = SmallServer(tmp_path / "theirs")
    server.artifacts = tmp_path / "nothing"
    server.artifacts.mkdir()
    told = moved_in(server, sqlite_url, tmp_path / "root")
    assert told.exit_code == 0 and "No file of any run was found" in told.stdout
    server.execute("INSERT INTO tags VALUES (?, 'mlflow.loggedArtifacts', '[]')", RUN)
    told = moved_in(server, sqlite_url, tmp_path / "root")
    assert told.exit_code == 1 and "No file of any run was found" in told.stdout
    assert moved_in(server, sqlite_url, tmp_path / "root", "--allow-missing-files").exit_code == 0


def test_models_whose_files_are_not_there_are_named(sqlite_url: str, tmp_path: Path) -> None:
    """A logged model that is ready, and a version made of a run's files."""
    server = SmallServer(tmp_path / "theirs")
    model = "m-" + "b2" * 16
    server.execute(
        f"INSERT INTO logged_models VALUES ('{model}', 1, 'x', 'mlflow-artifacts:/1/models/{model}/artifacts', 1, 1, "
        "2, 'active', '', '', '')"
    )
    server.execute("INSERT INTO registered_models VALUES ('m', 5, 5, '')")
    server.execute(
        f"INSERT INTO model_versions VALUES ('m', 1, 6, 6, '', '', 'None', 'runs:/{RUN}/absent', '{RUN}', '', 'READY', "
        "'', NULL)"
    )
    told = moved_in(server, sqlite_url, tmp_path / "root")
    assert told.exit_code == 1
    assert f"Files are missing: logged model {model}" in told.stdout
    assert "Files are missing: version 1 of registered model 'm'" in told.stdout


def test_links_are_followed_below_the_root_and_named_elsewhere(sqlite_url: str, tmp_path: Path) -> None:
    """A folder on a larger disk, the last checkpoint, a circle, a way out, a pipe, a name that is no text."""
    server, root = SmallServer(tmp_path / "theirs"), tmp_path / "root"
    art, files = server.artifacts, server.artifacts / f"1/{RUN}/artifacts"
    server.file("large/2/inside.bin")
    server.experiment(2, "linked", "mlflow-artifacts:/2")
    (art / "2").symlink_to(art / "large/2")
    (files / "last.ckpt").symlink_to("notes.txt")
    done = moved_in(server, sqlite_url, root)
    assert done.exit_code == 0 and table(done.stdout)["artifact files"] == (4, 4, "yes"), done.output
    assert (root / f"1/{RUN}/artifacts/last.ckpt").read_bytes() == b"kept" and not (root / "2").is_symlink()
    assert (root / "2/inside.bin").read_bytes() == b"kept"

    (files / "up").symlink_to(files)
    (files / "a").mkdir()
    (files / "b").mkdir()
    (files / "a/to-b").symlink_to(files / "b")
    (files / "b/to-a").symlink_to(files / "a")
    (tmp_path / "secret").write_text("x")
    (files / "out").symlink_to(tmp_path / "secret")
    (files / "nothing").symlink_to("absent")
    os.mkfifo(files / "pipe")
    Path(os.fsdecode(os.fsencode(files) + b"/caf\xe9")).write_bytes(b"1")
    told = moved_in(server, sqlite_url, root)
    assert told.exit_code == 1, told.output
    named = {line.split("/artifacts/")[-1].split(":")[0] for line in told.stdout.splitlines() if "Not copied" in line}
    assert named == {"up", "a/to-b/to-a", "b/to-a/to-b", "out", "nothing", "pipe", "caf\\xe9"}
    assert moved_in(server, sqlite_url, root, "--allow-missing-files").exit_code == 0
    assert "Not copied" in moved_in(server, sqlite_url, root, "--dry-run").stdout


def test_a_name_that_can_never_be_kept_does_not_send_people_round_in_circles(sqlite_url: str, tmp_path: Path) -> None:
    """It is named, ends the import with 1 and another word than 'import again', and can be allowed."""
    server = SmallServer(tmp_path / "theirs")
    for name in ("step#3.txt", "what?"):
        server.file(f"1/{RUN}/artifacts/{name}")
    told = moved_in(server, sqlite_url, tmp_path / "root")
    assert told.exit_code == 1 and "import again" not in told.stderr
    assert f"Not copied: 1/{RUN}/artifacts/step#3.txt: " in told.stdout
    allowed = moved_in(server, sqlite_url, tmp_path / "root", "--allow-missing-files")
    assert allowed.exit_code == 0 and table(allowed.stdout)["artifact files"] == (1, 1, "yes")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE runs SET start_time = 9223372036854775807 + 1", "runs.start_time"),
        ("UPDATE experiments SET experiment_id = -7 WHERE experiment_id = 1", "experiments.experiment_id: -7 is not"),
        ("UPDATE metrics SET step = 'seven'", "metrics.step: 'seven' is not a whole number"),
        ("INSERT INTO params SELECT run_uuid, printf('%0300d', 1), 'v' FROM runs", "params.key: 300 characters"),
        ("INSERT INTO registered_models VALUES ('m', 99999999999999999999, 5, '')", "registered_models.creation_time"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    database_url: str, tmp_path: Path, statement: str, said: str
) -> None:
    """Numbers beyond their column, texts beyond theirs and texts for numbers, on each database."""
    server = SmallServer(tmp_path / "theirs")
    server.execute(statement)
    refused = moved_in(server, database_url, tmp_path / "root")
    assert refused.exit_code == 1 and said in refused.stderr and "Nothing was written" in refused.stderr, refused.output
    assert not (tmp_path / "root/1").exists()


def test_what_no_request_finds_is_not_called_equal(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are the same on both sides and that the registry's own doors do not find end the import with 1."""
    server = SmallServer(tmp_path / "theirs")
    narrow = "tiltyard_registry.store.experiments.experiments.parse_experiment_id"
    monkeypatch.setattr(narrow, lambda text: -1 if text == "1" else int(text))
    told = moved_in(server, sqlite_url, tmp_path / "root")
    assert told.exit_code == 1 and "Not found here: experiments: 1" in told.stdout


def test_a_used_default_experiment_has_a_way_on(database_url: str, tmp_path: Path) -> None:
    """Their experiment 0 becomes one of ours under another name, with runs, tags and datasets; again, the same one."""
    server = SmallServer(tmp_path / "theirs")
    server.run("c3" * 16, 0, "mlflow-artifacts:/0")
    server.execute("INSERT INTO experiment_tags VALUES (0, 'of', 'theirs')")
    server.execute("INSERT INTO datasets VALUES ('d', 0, 'iris', '1', 'local', 's', '', '')")
    server.execute(f"INSERT INTO inputs VALUES ('i', 'DATASET', 'd', 'RUN', '{'c3' * 16}', 0)")
    server.execute("INSERT INTO input_tags VALUES ('i', 'mlflow.data.context', 'train')")
    root = tmp_path / "root"

    async def found() -> tuple[Any, Any]:
        async with opened(tmp_path, database_url=database_url, artifact_root=str(root)) as api:
            mlflow = "/api/2.0/mlflow"
            await api.ok("POST", f"{mlflow}/runs/create", {"experiment_id": "0"})
            named = await api.ask("GET", f"{mlflow}/experiments/get-by-name", params={"experiment_name": "theirs"})
            run = await api.ask("GET", f"{mlflow}/runs/get", params={"run_id": "c3" * 16})
            return named.json(), run.json()

    asyncio.run(found())
    refused = moved_in(server, database_url, root)
    assert refused.exit_code == 1 and "--default-as" in refused.stderr
    for _ in range(2):
        done = moved_in(server, database_url, root, "--default-as", "theirs")
        assert done.exit_code == 0, done.output
        assert {verdict for *_, verdict in table(done.stdout).values()} == {"yes"}
    named, run = asyncio.run(found())
    assert named["experiment"]["experiment_id"] == run["run"]["info"]["experiment_id"] == "2"
    assert named["experiment"]["tags"] == [{"key": "of", "value": "theirs"}]
    assert run["run"]["inputs"]["dataset_inputs"][0]["tags"][0]["value"] == "train"
    taken = moved_in(server, database_url, root, "--default-as", "used")
    assert taken.exit_code == 1 and "called 'used' already" in taken.stderr


def test_progress_ends_with_the_number_that_the_table_has(sqlite_url: str, tmp_path: Path) -> None:
    """The last line of each noun is the whole count."""
    server = SmallServer(tmp_path / "theirs")
    with sqlite3.connect(server.database) as database:
        for number in range(3):
            database.execute("INSERT INTO registered_models VALUES (?, 5, 5, '')", (f"m{number}",))
    done = moved_in(server, sqlite_url, tmp_path / "root")
    said = [line for line in done.stderr.splitlines() if line.startswith("registered models: ")]
    assert said[-1] == "registered models: 3" and table(done.stdout)["registered models"][0] == 3


def test_others_write_while_files_are_copied_and_pinned(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the import asks of the store, it holds no transaction meanwhile, however slow the store is."""
    server, root = SmallServer(tmp_path / "theirs"), tmp_path / "root"
    server.file(f"1/{RUN}/artifacts/model/MLmodel", b"flavors: {}")
    server.execute("INSERT INTO registered_models VALUES ('m', 1, 1, NULL)")
    place = f"mlflow-artifacts:/1/{RUN}/artifacts/model"
    version = "INSERT INTO model_versions VALUES ('m', 1, 1, 1, NULL, 'u', 'None', ?, ?, NULL, 'READY', NULL, NULL)"
    server.execute(version, place, RUN)
    asked: set[str] = set()

    def write() -> None:
        with contextlib.closing(sqlite3.connect(make_url(sqlite_url).database or "", timeout=20)) as other, other:
            other.execute("UPDATE experiments SET experiment_id = experiment_id")

    async def look(what: str) -> None:
        # Who writes for a moment is waited for; who writes until this ends is not.
        await asyncio.to_thread(write)
        asked.add(what)

    monkeypatch.setattr(locations, "open_store", lambda uri: AskedStore(open_store(uri), look))
    told = moved_in(server, sqlite_url, root)
    assert told.exit_code == 0, told.output
    assert {"list", "commit"} <= asked
    assert ask(sqlite_url, "SELECT status, pinned_prefix FROM model_versions") == [("READY", place.partition(":/")[2])]
