"""What deploy/ says agrees with the commands: every flag, variable and port in it exists."""

import re
from typing import Any

import click
import pytest
import yaml

from tests.house.test_imports import ROOT
from tiltyard.cli import main

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
OURS = {name: part for name, part in COMPOSE["services"].items() if part["image"].startswith("tiltyard-")}


def command_of(part: dict[str, Any]) -> tuple[click.Command, list[str]]:
    """The command that a container runs, and its arguments."""
    name, *arguments = part["command"]
    command = main.get_command(click.Context(main), name)
    assert command is not None, name
    return command, arguments


@pytest.mark.parametrize("name", sorted(OURS))
def test_containers_are_started_with_flags_and_variables_that_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The arguments parse, and each variable belongs to an option of that command."""
    command, arguments = command_of(OURS[name])
    environment = OURS[name]["environment"]
    assert set(environment) <= {option.envvar for option in command.params}
    for variable in environment:
        monkeypatch.setenv(variable, "x")
    command.make_context(name, list(arguments))


def test_prometheus_scrapes_the_ports_that_the_services_listen_on() -> None:
    """Each target is a container of ours, at the port its command takes by default."""
    scrape = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    targets = [
        target for job in scrape["scrape_configs"] for part in job["static_configs"] for target in part["targets"]
    ]
    assert len(targets) == 2
    for target in targets:
        name, port = target.split(":")
        command, arguments = command_of(OURS[name])
        assert command.make_context(name, arguments).params["port"] == int(port)
        assert OURS[name]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_image_takes_extras_that_the_distribution_has() -> None:
    """Every extra named in deploy/ is one of pyproject.toml."""
    import tomllib

    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = re.findall(r'EXTRAS(?:=|: )"([^"]+)"', (ROOT / "deploy/Dockerfile").read_text())
    named += [part["build"]["args"]["EXTRAS"] for part in OURS.values()]
    assert named
    assert {extra for text in named for extra in text.split()} <= extras
