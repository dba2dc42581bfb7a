"""The README's table of limits says what the commands do."""

import re
from typing import Any

import click
import pytest

from tests.house.test_readme import README
from tiltyard.cli import main

ROWS = re.findall(
    r"^\| (serving|registry|both) \| [^|]+ \| `(--[a-z-]+)` \| `(\w+)` \| ([^|]+) \| (\w+) \|$", README, re.M
)
COMMANDS = {"serving": ["serving"], "registry": ["registry"], "both": ["serving", "registry"]}
# They bound what a process does, and no request.
NO_BOUND_OF_A_REQUEST = {"--max-connections", "--drain-timeout-s"}


def options(command: str) -> dict[str, Any]:
    """The options of a command by flag."""
    found = main.get_command(click.Context(main), command)
    assert found is not None
    return {flag: option for option in found.params for flag in option.opts}


@pytest.mark.parametrize(("service", "flag", "variable", "default", "answer"), ROWS)
def test_every_limit_is_an_option_with_that_default(
    service: str, flag: str, variable: str, default: str, answer: str
) -> None:
    """Flag and variable exist, and without them the limit is the one that the table says."""
    assert answer in {"400", "408", "413", "429", "503", "504", "closed"}
    for command in COMMANDS[service]:
        option = options(command)[flag]
        assert option.envvar == variable
        if default == "none" or default.startswith("as `--"):
            assert option.default is None or "UNSET" in repr(option.default)
        else:
            assert str(option.default) == default


@pytest.mark.parametrize("command", ["serving", "registry"])
def test_every_bound_is_in_the_table(command: str) -> None:
    """No flag that bounds requests is missing there."""
    told = {flag for service, flag, *_ in ROWS if service in (command, "both")}
    bounds = {flag for flag in options(command) if flag.startswith(("--max-", "--queue-")) or "timeout" in flag}
    assert bounds - told - NO_BOUND_OF_A_REQUEST == set()
