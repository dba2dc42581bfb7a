"""How a command asks the registry and shows what it says: as a table to people, as JSON to scripts."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click
import msgspec

from tiltyard.cli.options import option
from tiltyard.errors import PermissionDenied, TiltyardError, TransportError, Unauthenticated

if TYPE_CHECKING:
    from tiltyard.client import Client
    from tiltyard.client.address import Credentials

# Where `tiltyard up` and `tiltyard registry` listen unless told otherwise.
LOCAL_REGISTRY_URL = "http://127.0.0.1:5000"
# A command answers its user soon, whatever the registry does: no call is repeated later than this.
RETRY_S = 1.5
CONNECT_S = 1.5

registry_url = option(
    "--registry-url",
    help=f"Address of the registry; else MLFLOW_REGISTRY_URI or MLFLOW_TRACKING_URI, else {LOCAL_REGISTRY_URL}.",
)
deleted_only = option(
    "--deleted",
    "view",
    is_flag=True,
    callback=lambda _context, _option, given: "DELETED_ONLY" if given else "ACTIVE_ONLY",
    help="Those that are deleted and not purged yet.",
)
_as_json = option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def registry_address(told: str | None) -> str:
    """The registry's address: the one that was told, else the one that a variable names, else this machine's own."""
    from tiltyard.client import address

    known = told or any(os.environ.get(name) for name in address.VARIABLES)
    return address.registry_url(told) if known else LOCAL_REGISTRY_URL


def max_results(default: int) -> Callable[[Any], Any]:
    """How many rows a command shows."""
    return option("--max-results", type=click.IntRange(1), default=default, show_default=True, help="How many at most.")


def asking(command: Callable[..., Any]) -> Any:
    """Gives the command a connected `client` and `show`."""

    @functools.wraps(command)
    def asked(*, registry_url: str | None, **rest: Any) -> None:
        with connected(registry_address(registry_url)) as client:
            command(client=client, **rest)

    return registry_url(showing(asked))


@contextmanager
def connected(url: str, credentials: "Credentials | None" = None) -> "Iterator[Client]":
    """A client of the registry at `url`; what it refuses is said as a command says it."""
    from tiltyard.client import Client

    with Client(url, credentials=credentials, retry_s=RETRY_S, connect_timeout_s=CONNECT_S) as client:
        try:
            yield client
        except (TransportError, TiltyardError) as error:
            raise _explained(error, client) from None


def showing(command: Callable[..., Any]) -> Any:
    """Gives the command `show`."""

    @functools.wraps(command)
    def shown(*, as_json: bool, **rest: Any) -> None:
        command(show=Show(as_json=as_json), **rest)

    return _as_json(shown)


def _explained(error: Exception, client: "Client") -> click.ClickException:
    """What a command says when it got no answer, or one that a registry of ours does not give."""
    if isinstance(error, TransportError):
        return click.ClickException(
            f"No registry answers at {client.url}. Start one with 'tiltyard up', or name another with --registry-url."
        )
    try:
        client.events(max_results=1)
    except (Unauthenticated, PermissionDenied):
        pass
    except (TransportError, TiltyardError):
        return click.ClickException(
            f"The server at {client.url} is not a Tiltyard registry. Name another with --registry-url."
        )
    return click.ClickException(str(error))


class _Page(Protocol):
    next_page_token: str | None


P = TypeVar("P", bound=_Page)
T = TypeVar("T")


def pages(fetch: Callable[[str | None], P], rows: Callable[[P], Iterable[T]], max_results: int) -> Iterator[T]:
    """The first `max_results` rows of a search, page by page; `fetch` gets the token of the page."""
    token: str | None = None
    left = max_results
    while left:
        page = fetch(token)
        for row in islice(rows(page), left):
            yield row
            left -= 1
        token = page.next_page_token
        if not token:
            return


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


def milliseconds(text: str, parameter: str) -> int:
    """The milliseconds since the epoch of an ISO 8601 time, in UTC unless it says otherwise.

    Raises:
        click.BadParameter: it is none.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is not an ISO 8601 time, such as 2026-11-29T08:30.", param_hint=parameter
        ) from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def time_of(milliseconds: int | None) -> str | None:
    """Milliseconds since the epoch as a UTC time."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        value = [f"{name}={found}" for name, found in value.items()]
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    # A stored text may not move the cursor or colour the terminal.
    return "".join(char if char.isprintable() else "?" for char in str(value))
