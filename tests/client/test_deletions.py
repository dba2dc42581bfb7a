"""What both clients and the command delete, and what they refuse to, against a running registry on each database."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

import tiltyard
from tests.client.test_clients import Awaited, Closed
from tests.fixtures.services import Service
from tiltyard import errors
from tiltyard.cli import main


@pytest.fixture(params=[Closed, Awaited], ids=["sync", "async"])
def client(request: pytest.FixtureRequest, shared_registry: Service) -> Any:
    """A client of each kind, of the registry."""
    return request.param(shared_registry.url)


@pytest.fixture
def ask(shared_registry: Service) -> Callable[..., Any]:
    """Runs a command for its JSON, or for its message if it is to fail."""

    def run(*words: str, status: int = 0) -> Any:
        command = [*words, "--registry-url", shared_registry.url]
        result = CliRunner().invoke(main, command if status else [*command, "--json"])
        assert result.exit_code == status, result.output
        return result.output if status else json.loads(result.output)

    return run


@pytest.fixture
def name(shared_registry: Service) -> str:
    """A registered model whose versions 1 and 2 have an alias each, and version 3 none."""
    made = f"main.gone.m{uuid.uuid4().hex[:12]}"
    with tiltyard.Client(shared_registry.url) as client:
        client.create_registered_model(made)
        for _ in range(3):
            client.create_model_version(made, "s3://elsewhere/model")
        for version in (1, 2):
            client.set_alias(made, f"live{version}", version)
    return made


def versions(client: Any, name: str) -> set[str]:
    """The versions that are there."""
    return {version.version for version in client.search_model_versions(f"name = '{name}'").model_versions}


def test_a_version_that_an_alias_names_is_deleted_by_force_alone(client: Any, name: str) -> None:
    """Without force it is a conflict that names the alias and changes nothing; with it the event says what went."""
    with pytest.raises(errors.ResourceConflict, match="'live1'"):
        client.delete_model_version(name, 1)
    assert versions(client, name) == {"1", "2", "3"} and client.get_alias(name, "live1").version == "1"
    client.delete_model_version(name, "3")
    client.delete_model_version(name, 1, force=True)
    assert versions(client, name) == {"2"}
    assert [alias.alias for alias in client.get_aliases(name)] == ["live2"]
    told = [event for event in client.events(model=name).events if event.action == "delete_model_version"]
    assert [(event.version, (event.before or {}).get("aliases")) for event in told] == [("1", ["live1"]), ("3", None)]
    for force in (False, True):
        with pytest.raises(errors.ResourceDoesNotExist):
            client.delete_model_version(name, 1, force=force)


def test_a_model_with_aliases_is_deleted_by_force_alone(client: Any, name: str) -> None:
    """Without force it is a conflict that names the aliases and changes nothing; one without aliases just goes."""
    with pytest.raises(errors.ResourceConflict, match="'live1', 'live2'"):
        client.delete_registered_model(name)
    assert versions(client, name) == {"1", "2", "3"} and client.get_alias(name, "live1").version == "1"
    client.delete_registered_model(name, force=True)
    client.create_registered_model(name)
    client.delete_registered_model(name)
    for force in (False, True):
        with pytest.raises(errors.ResourceDoesNotExist):
            client.delete_registered_model(name, force=force)


def test_the_command_deletes_a_version_with_an_alias_by_force_alone(ask: Callable[..., Any], name: str) -> None:
    """The server decides; the message names the alias, and the answer says which ones went."""
    assert "'live2'" in ask("models", "delete", name, "2", status=1)
    assert ask("models", "delete", name, "2", "--force") == {"name": name, "version": 2, "aliases": ["live2"]}
    assert ask("models", "delete", name, "3")["aliases"] == []
    assert "not found" in ask("models", "delete", name, "2", "--force", status=1)


def three_runs(client: Any) -> tuple[str, list[str]]:
    """A new experiment and three runs in it, the oldest first."""
    experiment_id = client.create_experiment(f"many-{uuid.uuid4().hex[:12]}")
    return experiment_id, [
        client.create_run(experiment_id, start_time_ms=1000 * number).info.run_id for number in (1, 2, 3)
    ]


def active(client: Any, experiment_id: str) -> set[str]:
    """The runs that are not deleted."""
    return {run.info.run_id for run in client.search_runs([experiment_id]).runs}


def test_runs_go_and_come_back_by_the_many(client: Any) -> None:
    """The oldest up to a time are deleted, so many at most, and restored from a time; the count is the answer."""
    experiment_id, ids = three_runs(client)
    assert client.delete_runs(experiment_id, 2000, 1) == 1
    assert active(client, experiment_id) == set(ids[1:])
    assert client.delete_runs(experiment_id, 2000) == 1
    assert client.delete_runs(experiment_id, 2000) == 0
    assert active(client, experiment_id) == {ids[2]}
    assert client.restore_runs(experiment_id, 2**62) == 0
    assert client.restore_runs(experiment_id, 0, max_runs=1) == 1
    assert client.restore_runs(experiment_id, 0) == 1
    assert active(client, experiment_id) == set(ids)
    with pytest.raises(errors.InvalidParameterValue, match="max_runs"):
        client.delete_runs(experiment_id, 2000, 10_001)
    with pytest.raises(errors.ResourceDoesNotExist):
        client.restore_runs("987654321", 0)


def test_runs_go_and_come_back_by_one_line(shared_registry: Service, ask: Callable[..., Any]) -> None:
    """The functions and the commands do what the clients do."""
    with tiltyard.Client(shared_registry.url) as client:
        experiment_id, ids = three_runs(client)
        url = shared_registry.url
        assert tiltyard.delete_runs(experiment_id, 1000, registry_url=url) == 1
        assert active(client, experiment_id) == set(ids[1:])
        assert tiltyard.restore_runs(experiment_id, 0, 5, registry_url=url) == 1
        deleted = ask("runs", "delete-until", experiment_id, "3000", "--max-runs", "2")
        assert deleted == {"runs_deleted": 2} and active(client, experiment_id) == {ids[2]}
        assert ask("runs", "restore-from", experiment_id, "0", "--max-runs", "1") == {"runs_restored": 1}
        assert ask("runs", "restore-from", experiment_id, "0") == {"runs_restored": 1}
        assert active(client, experiment_id) == set(ids)
        assert "10000" in ask("runs", "delete-until", experiment_id, "1", "--max-runs", "10001", status=2)
