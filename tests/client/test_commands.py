"""The commands that ask a registry, run against a running one."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.client.server import Reply, ScriptedServer, error
from tests.fixtures.processes import unused_port
from tests.fixtures.services import Service
from tiltyard.cli import main, printing
from tiltyard.client import Client
from tiltyard.wire.mlflow.runs import MetricIn as Metric

# Which database is behind the registry makes no difference to a command.
pytestmark = pytest.mark.parametrize("shared_registry", ["sqlite"], indirect=True)


@pytest.fixture
def tiltyard(shared_registry: Service, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command with these words."""
    monkeypatch.setenv("TILTYARD_REGISTRY_URL", shared_registry.url)

    def run(*words: str, status: int = 0) -> Result:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == status, result.output
        return result

    return run


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"main.cli.m{uuid.uuid4().hex[:12]}"


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """A model directory."""
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    return str(tmp_path)


def parsed(result: Result) -> Any:
    return json.loads(result.output)


def test_a_model_from_directory_to_rollback(tiltyard: Callable[..., Result], name: str, directory: str) -> None:
    """Register twice, promote, look at history, roll back: each command says what is so now."""
    assert tiltyard("models", "register", directory, name, "--alias", "champion").output == (
        f"Registered version 1 of '{name}'. 'champion' points to it.\n"
    )
    second = tiltyard("models", "register", f"models:/{name}/1", name, "--tag", "a=b=c", "--json")
    assert parsed(second) == {"name": name, "version": 2, "alias": None}
    tiltyard("aliases", "set", name, "challenger", "2")
    said = tiltyard("aliases", "promote", name, "--expected-version", "1").output
    assert said == f"'champion' of '{name}' names version 2, as 'challenger' does.\n"
    assert (
        tiltyard("aliases", "rollback", name, "champion").output == f"'champion' of '{name}' names version 1 again.\n"
    )
    assert parsed(tiltyard("aliases", "list", name, "--json")) == [
        {"alias": "challenger", "version": 2},
        {"alias": "champion", "version": 1},
    ]
    history = parsed(tiltyard("aliases", "history", name, "champion", "--json"))
    assert [(move["from"], move["to"]) for move in history] == [("2", "1"), ("1", "2"), (None, "1")]
    tiltyard("aliases", "delete", name, "challenger")
    assert tiltyard("aliases", "list", name).output.split() == ["ALIAS", "VERSION", "champion", "1"]


def test_list_and_show(tiltyard: Callable[..., Result], name: str, directory: str) -> None:
    """A model is found by a filter, shows its versions, and a version shows what it is made of."""
    tiltyard("models", "register", directory, name, "--alias", "champion", "--description", "first")
    listed = parsed(tiltyard("models", "list", "--filter", f"name = '{name}'", "--json"))
    assert [(model["name"], model["latest_version"], model["aliases"]) for model in listed] == [
        (name, 1, ["champion -> 1"])
    ]
    assert name in tiltyard("models", "list", "--filter", f"name = '{name}'").output
    [version] = parsed(tiltyard("models", "show", name, "--json"))
    assert (version["version"], version["aliases"], version["status"]) == (1, ["champion"], "READY")
    shown = parsed(tiltyard("models", "show", name, "1", "--json"))
    assert shown["digest"].startswith("sha256:")
    assert (shown["files"], shown["description"]) == (["MLmodel (12 bytes)"], "first")
    assert "digest" in tiltyard("models", "show", name, "1").output


def test_aliases_as_of_a_time(tiltyard: Callable[..., Result], name: str, directory: str) -> None:
    """Before it was set, an alias was not there; a time that is none is refused."""
    tiltyard("models", "register", directory, name, "--alias", "champion")
    assert parsed(tiltyard("aliases", "list", name, "--at", "2001-01-01", "--json")) == []
    assert (
        tiltyard("aliases", "list", name, "--at", "2001-01-01T00:00:00+02:00").output == f"'{name}' has no aliases.\n"
    )
    assert "ISO 8601" in tiltyard("aliases", "list", name, "--at", "yesterday", status=2).output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("models", "show", "main.cli.nobody"), "not found"),
        (("models", "show", "a.b"), "one part"),
        (("models", "register", "/no/such/directory", "main.cli.x"), "is not a directory"),
        (("models", "register", "models:/x", "main.cli.x"), "Invalid model URI"),
        (("aliases", "set", "main.cli.nobody", "champion", "1"), "not found"),
        (("aliases", "rollback", "main.cli.nobody", "champion"), "not found"),
    ],
)
def test_mistakes_are_one_line(tiltyard: Callable[..., Result], words: tuple[str, ...], message: str) -> None:
    """What the registry refuses is told in one line with exit status 1, without a traceback."""
    output = tiltyard(*words, status=1).output
    assert output.startswith("Error: ")
    assert message in output
    assert output.count("\n") == 1


def test_a_lost_race_is_told(tiltyard: Callable[..., Result], name: str, directory: str) -> None:
    """A promotion that expected another version changes nothing and exits with 1."""
    tiltyard("models", "register", directory, name, "--alias", "champion")
    assert "version 1" in tiltyard("aliases", "set", name, "champion", "1", "--expected-version", "7", status=1).output
    tiltyard("aliases", "set", name, "fresh", "1", "--expected-version", "")
    tiltyard("aliases", "set", name, "fresh", "1", "--expected-version", "", status=1)


def test_no_address(tiltyard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address this machine's registry is asked; when none answers, the command says how to go on."""
    monkeypatch.delenv("TILTYARD_REGISTRY_URL")
    monkeypatch.setattr(printing, "LOCAL_REGISTRY_URL", url := f"http://127.0.0.1:{unused_port()}")
    output = tiltyard("models", "list", status=1).output
    assert f"No registry answers at {url}." in output
    assert "tiltyard up" in output


def test_another_server_is_told(tiltyard: Callable[..., Result], server: ScriptedServer) -> None:
    """A server that is no registry of ours is named as that, whatever it answers."""
    for answer in (Reply(404, b"<html>no</html>"), Reply(200, b"<html>"), error(404, "ENDPOINT_NOT_FOUND")):
        server.answers(answer)
        output = tiltyard("models", "list", "--registry-url", server.url, status=1).output
        assert output.startswith(f"Error: The server at {server.url} is not a Tiltyard registry.")


def test_a_model_is_changed(tiltyard: Callable[..., Result], name: str, directory: str) -> None:
    """Tags, stage, copy, rename and deletion; what an alias points to is deleted only by force."""
    tiltyard("models", "register", directory, name, "--alias", "champion")
    tagged = parsed(tiltyard("models", "tag", name, "1", "--set", "team=risk", "--set", "a=b=c", "--json"))
    assert tagged["tags"] == {"team": "risk", "a": "b=c"}
    assert parsed(tiltyard("models", "tag", name, "1", "--delete", "a", "--json"))["tags"] == {"team": "risk"}
    assert parsed(tiltyard("models", "tag", name, "--set", "owner=ann", "--json"))["tags"] == {"owner": "ann"}
    assert parsed(tiltyard("models", "tag", name, "--delete", "owner", "--json"))["tags"] == {}
    assert "KEY=VALUE" in tiltyard("models", "tag", name, "--set", "team", status=2).output
    assert "stage Production" in tiltyard("models", "stage", name, "1", "production").output
    assert parsed(tiltyard("models", "copy", f"models:/{name}@champion", name, "--json"))["version"] == 2
    [file] = [
        row for row in parsed(tiltyard("models", "diff", name, "champion", "2", "--json")) if row["what"] == "tag team"
    ]
    assert (file["before"], file["after"]) == ("risk", None)
    assert parsed(tiltyard("models", "diff", name, "2", "2", "--json")) == []
    assert "'champion'" in tiltyard("models", "delete", name, "1", status=1).output
    assert tiltyard("models", "delete", name, "2").output == f"Deleted version 2 of '{name}'.\n"
    tiltyard("models", "rename", name, f"{name}x")
    tiltyard("models", "delete", f"{name}x", status=1)
    tiltyard("models", "delete", f"{name}x", "--force")
    assert "not found" in tiltyard("models", "show", f"{name}x", status=1).output
    actions = [event["action"] for event in parsed(tiltyard("events", "--model", name, "--json"))]
    assert len(actions) >= 8
    assert "alias" in tiltyard("events", "--model", name).output
    assert parsed(tiltyard("events", "--model", name, "--until", "2001-01-01", "--json")) == []


def test_experiments_and_runs(tiltyard: Callable[..., Result], shared_registry: Service) -> None:
    """An experiment and its runs are made, listed, deleted and restored, by name and by id."""
    name = f"cli-{uuid.uuid4().hex[:12]}"
    made = parsed(tiltyard("experiments", "create", name, "--json"))
    with Client(shared_registry.url) as client:
        runs = [client.create_run(made["experiment_id"], run_name=f"run {number}") for number in range(3)]
        client.log_batch(runs[0].info.run_id, metrics=[Metric("auc", 0.75, 1)], params={"depth": "5"})
    ids = {run.info.run_id for run in runs}
    assert {run["run_id"] for run in parsed(tiltyard("runs", "list", name, "--json"))} == ids
    assert len(parsed(tiltyard("runs", "list", name, "--max-results", "2", "--json"))) == 2
    [found] = parsed(tiltyard("runs", "list", made["experiment_id"], "--filter", "metrics.auc > 0.5", "--json"))
    assert (found["metrics"], found["params"]) == (["auc=0.75"], ["depth=5"])
    run_id = found["run_id"]
    assert parsed(tiltyard("runs", "show", run_id, "--json"))["metrics"] == {"auc": 0.75}
    assert "auc=0.75" in tiltyard("runs", "show", run_id).output
    tiltyard("runs", "delete", run_id)
    assert [run["run_id"] for run in parsed(tiltyard("runs", "list", name, "--deleted", "--json"))] == [run_id]
    tiltyard("runs", "restore", run_id)
    tiltyard("experiments", "rename", name, f"{name}-b")
    tiltyard("experiments", "delete", f"{name}-b")
    listed = ("experiments", "list", "--filter", f"name LIKE '{name}%'", "--json")
    assert parsed(tiltyard(*listed)) == []
    assert [each["name"] for each in parsed(tiltyard(*listed, "--deleted"))] == [f"{name}-b"]
    tiltyard("experiments", "restore", made["experiment_id"])
    assert parsed(tiltyard("experiments", "show", f"{name}-b", "--json"))["lifecycle_stage"] == "active"
    assert "cli-absent" in tiltyard("runs", "list", "cli-absent", status=1).output


def test_stored_text_cannot_move_the_cursor(tiltyard: Callable[..., Result], name: str, directory: str) -> None:
    """Control characters of a description are not sent to the terminal."""
    tiltyard("models", "register", directory, name, "--description", "\x1b[31mred")
    assert "\x1b" not in tiltyard("models", "show", name, "1").output
