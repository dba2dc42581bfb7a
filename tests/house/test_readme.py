"""The README's map and commands are those of the house."""

import re
from pathlib import Path

import click
import pytest

from tiltyard.cli import COMMANDS, main

HOUSE = Path(__file__).parent.parent.parent
README = (HOUSE / "README.md").read_text()


def test_every_place_on_the_map_exists() -> None:
    """Each path that the README names is there."""
    named = re.findall(r"`((?:libs|services|deploy|tests)/[\w./-]*)`", README)
    assert len(named) > 10
    assert [path for path in named if not (HOUSE / path).exists()] == []


def test_every_room_is_on_the_map() -> None:
    """A new room of the library or of a service is not complete without its place in the map."""
    rooms = {path.parent.name for path in (HOUSE / "libs" / "tiltyard").glob("*/__init__.py")}
    assert sorted(room for room in rooms if f"`libs/tiltyard/{room}/`" not in README) == []
    for service in ("registry", "serving"):
        [line] = re.findall(rf"^\| `services/{service}/` \|.*$", README, re.MULTILINE)
        rooms = {path.parent.name for path in (HOUSE / "services" / service).glob("*/*/__init__.py")}
        assert set(re.findall(r"`([a-z_]+)/`", line)) == rooms


def commands() -> list[tuple[str, set[str]]]:
    """Each command line of the README, behind a pipe too: what it begins with, and the flags given to it."""
    lines = re.findall(r"^\$ (?:.*\| |.*' )?tiltyard (.*)$", README, re.MULTILINE)
    return [(line, set(re.findall(r"(--[a-z-]+)", line))) for line in lines]


@pytest.mark.parametrize(("line", "flags"), commands())
def test_every_command_line_can_be_typed(line: str, flags: set[str]) -> None:
    """The commands and flags that the README shows exist."""
    name, *words = line.split()
    assert name in COMMANDS
    command = main.get_command(click.Context(main), name)
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
    assert command is not None
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert flags <= known
