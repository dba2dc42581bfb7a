"""How a command asks the registry and shows what it says: as a table to people, as JSON to scripts."""

import functools
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from tiltyard.cli.options import option

_registry_url = option(
    "--registry-url",
    help="Address of the registry; else MLFLOW_REGISTRY_URI or MLFLOW_TRACKING_URI.",
)
_as_json = option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def asking(command: Callable[..., Any]) -> Any:
    """Gives the command a connected `client` and `show`."""

    @functools.wraps(command)
    def asked(*, registry_url: str | None, as_json: bool, **rest: Any) -> None:
        from tiltyard.client import Client

        with Client(registry_url) as client:
            command(client=client, show=Show(as_json=as_json), **rest)

    return _registry_url(_as_json(asked))


class Show:
    """Prints what a command found."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def rows(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
        """Prints rows under their columns; `empty` when there are none."""
        found = [list(row) for row in rows]
        if self._as_json:
            self._json([dict(zip(columns, row, strict=True)) for row in found])
        elif not found:
            click.echo(empty)
        else:
            lines = [[column.upper() for column in columns], *([_text(cell) for cell in row] for row in found)]
            widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
            for line in lines:
                padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
                click.echo("  ".join(padded).rstrip())

    def fields(self, fields: dict[str, Any]) -> None:
        """Prints one thing, a field a line."""
        if self._as_json:
            self._json(fields)
            return
        width = max(len(name) for name in fields)
        for name, value in fields.items():
            click.echo(f"{name.replace('_', ' ').ljust(width)}  {_text(value)}".rstrip())

    def done(self, sentence: str, fields: dict[str, Any]) -> None:
        """Says what was done: a sentence, or its fields."""
        if self._as_json:
            self._json(fields)
        else:
            click.echo(sentence)

    @staticmethod
    def _json(value: Any) -> None:
        click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def time_of(milliseconds: int | None) -> str | None:
    """Milliseconds since the epoch as a UTC time."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    # A stored text may not move the cursor or colour the terminal.
    return "".join(char if char.isprintable() else "?" for char in str(value))
