"""Passwords and tokens as a command gets them: from a prompt, a file or standard input.

Never as an argument: every user of a machine can read those of every process.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tiltyard.cli.options import option


def secret_file(flag: str, what: str) -> Callable[[Any], Any]:
    """An option that names the file of a secret."""
    return option(
        flag,
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        help=f"Where the {what} is read from, - for standard input; without it, it is asked for.",
    )


def secret(file: Path | None, asked: str, *, twice: bool = False) -> str:
    """The first line of the file, or what is typed at a prompt that does not show it.

    Raises:
        click.ClickException: the file cannot be read, or it holds nothing.
    """
    if file is None:
        # On standard error: standard output is for what a script reads.
        return str(click.prompt(asked, hide_input=True, confirmation_prompt=twice, err=True))
    try:
        if str(file) == "-":
            line = sys.stdin.readline()
        else:
            with file.open() as text:
                line = text.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"'{file}' cannot be read ({type(error).__name__}).") from None
    found = line.removesuffix("\n").removesuffix("\r")
    if not found:
        raise click.ClickException(f"There is nothing in '{file}'.")
    return found
