"""`tiltyard aliases`: show, move and roll back aliases."""

from typing import TYPE_CHECKING

import click

from tiltyard.cli.options import option
from tiltyard.cli.printing import Show, asking, max_results, milliseconds, time_of

if TYPE_CHECKING:
    from tiltyard.client import Client
    from tiltyard.wire.v1.aliases import AliasState

_expected = option(
    "--expected-version",
    metavar="VERSION",
    help="Only if the alias points to this version now; '' means that it must not exist yet.",
)


@click.group()
def aliases() -> None:
    """Show, move and roll back aliases."""


@aliases.command("list")
@click.argument("name")
@option("--at", metavar="TIME", help="As they were at an ISO 8601 time, in UTC unless it says otherwise.")
@asking
def list_aliases(client: "Client", show: Show, name: str, at: str | None) -> None:
    """The aliases of a model and the versions they name."""
    found = client.get_aliases(name, at_ms=None if at is None else milliseconds(at, "--at"))
    rows = ((state.alias, int(state.version)) for state in found)
    show.rows(("alias", "version"), rows, empty=f"'{name}' has no aliases.")


@aliases.command("set")
@click.argument("name")
@click.argument("alias")
@click.argument("version")
@_expected
@asking
def set_alias(client: "Client", show: Show, name: str, alias: str, version: str, expected_version: str | None) -> None:
    """Make ALIAS of the model NAME point to VERSION."""
    state = client.set_alias(name, alias, version, expected_version=expected_version)
    _tell(show, name, state)


@aliases.command("promote")
@click.argument("name")
@option(
    "--from",
    "source",
    env="FROM_ALIAS",
    default="challenger",
    show_default=True,
    help="The alias whose version is promoted.",
)
@option("--to", "target", env="TO_ALIAS", default="champion", show_default=True, help="The alias that moves to it.")
@_expected
@asking
def promote(client: "Client", show: Show, name: str, source: str, target: str, expected_version: str | None) -> None:
    """Make the challenger of the model NAME its champion."""
    version = client.get_alias(name, source).version
    state = client.set_alias(name, target, version, expected_version=expected_version)
    _tell(show, name, state, f", as '{source}' does")


@aliases.command("rollback")
@click.argument("name")
@click.argument("alias")
@_expected
@asking
def rollback(client: "Client", show: Show, name: str, alias: str, expected_version: str | None) -> None:
    """Move ALIAS back to the version that it pointed to before."""
    state = client.rollback_alias(name, alias, expected_version=expected_version)
    _tell(show, name, state, " again")


def _tell(show: Show, name: str, state: "AliasState", more: str = "") -> None:
    show.done(
        f"'{state.alias}' of '{name}' names version {state.version}{more}.",
        {"name": name, "alias": state.alias, "version": int(state.version)},
    )


@aliases.command("delete")
@click.argument("name")
@click.argument("alias")
@_expected
@asking
def delete(client: "Client", show: Show, name: str, alias: str, expected_version: str | None) -> None:
    """Remove ALIAS from the model NAME."""
    client.delete_alias(name, alias, expected_version=expected_version)
    show.done(f"'{name}' has no alias '{alias}'.", {"name": name, "alias": alias, "version": None})


@aliases.command("history")
@click.argument("name")
@click.argument("alias")
@max_results(50)
@asking
def history(client: "Client", show: Show, name: str, alias: str, max_results: int) -> None:
    """Who moved ALIAS when, from which version to which; the newest first."""
    page = client.alias_history(name, alias, max_results=max_results)
    rows = ((time_of(move.time), move.principal, move.from_version, move.to_version) for move in page.moves)
    show.rows(("time", "principal", "from", "to"), rows, empty=f"'{alias}' of '{name}' was never set.")
