"""The command under test, called as its user types it."""

import re
from pathlib import Path

import click.testing

from tiltyard.cli import main


def imported(*arguments: str | Path) -> click.testing.Result:
    """What `tiltyard import …` came to."""
    return click.testing.CliRunner().invoke(main, ["import", *map(str, arguments)])


def table(output: str) -> dict[str, tuple[int, int, str]]:
    """The rows there, the rows here, and the verdict, by noun."""
    found = re.findall(r"^(\S[\w -]*?) +(\d+) +(\d+)  \w{16}  \w{16}  (yes|NO)$", output, re.MULTILINE)
    return {noun: (int(there), int(here), verdict) for noun, there, here, verdict in found}
