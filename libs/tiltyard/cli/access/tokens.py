"""`tiltyard tokens`: what programs come with instead of a password."""

from typing import TYPE_CHECKING

import click

from tiltyard.cli.options import option
from tiltyard.cli.printing import Show, asking, max_results, pages, time_of

if TYPE_CHECKING:
    from tiltyard.client import Client
    from tiltyard.wire.v1.access import NewToken

SCOPES = click.Choice(("read", "write", "admin", "introspect"))
days = option("--days", type=click.IntRange(1), default=90, show_default=True, help="So long the token is good.")


@click.group()
def tokens() -> None:
    """List, make, revoke and rotate tokens."""


@tokens.command("list")
@option("--principal", metavar="NAME", help="Whose; administrators are shown everybody's without it.")
@max_results(100)
@asking
def list_tokens(client: "Client", show: Show, principal: str | None, max_results: int) -> None:
    """Tokens by their first characters, the oldest first."""
    found = pages(
        lambda token: client.list_tokens(principal=principal, page_token=token), lambda page: page.tokens, max_results
    )
    rows = (
        (
            *(one.id, one.principal, one.prefix, one.name, one.scopes),
            *map(time_of, (one.created_at, one.expires_at, one.revoked_at, one.last_used_at)),
        )
        for one in found
    )
    columns = ("id", "principal", "prefix", "name", "scopes", "created", "expires", "revoked", "last_used")
    show.rows(columns, rows, empty="No tokens.")


@tokens.command("create")
@click.argument("name")
@days
@option(
    "--scope",
    "scopes",
    multiple=True,
    type=SCOPES,
    default=("read", "write"),
    show_default=True,
    help="What it may be used for, of what its owner may; repeatable.",
)
@option("--principal", metavar="SERVICE", help="The service that it is for; yourself without it.")
@asking
def create(client: "Client", show: Show, name: str, days: int, scopes: tuple[str, ...], principal: str | None) -> None:
    """Make a token, called NAME in lists. It is printed this once."""
    _tell(show, client.create_token(name, expires_in_days=days, scopes=scopes, principal=principal))


@tokens.command("revoke")
@click.argument("id", type=int)
@asking
def revoke(client: "Client", show: Show, id: int) -> None:
    """Have the token ID of the list be good no more, at once."""
    client.revoke_token(id)
    show.done(f"Token {id} is revoked.", {"id": id})


@tokens.command("rotate")
@click.argument("id", type=int)
@option(
    "--grace-s",
    type=click.IntRange(0),
    default=3600,
    show_default=True,
    help="So many seconds the old one stays good.",
)
@asking
def rotate(client: "Client", show: Show, id: int, grace_s: int) -> None:
    """Make a token that follows the token ID. It is printed this once."""
    _tell(show, client.rotate_token(id, grace_s=grace_s))


def _tell(show: Show, made: "NewToken") -> None:
    fields = {"id": made.id, "prefix": made.prefix, "expires": time_of(made.expires_at), "token": made.token}
    # The token alone is on standard output, for a script to catch it.
    click.echo(f"Token {made.id}, good until {time_of(made.expires_at)}. It is not shown again:", err=True)
    show.done(made.token, fields)
