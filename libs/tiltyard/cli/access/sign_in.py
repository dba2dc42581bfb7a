"""`tiltyard login` and `tiltyard logout`: a token that is kept for one registry, or is not any more."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiltyard.cli.access.secret_input import secret, secret_file
from tiltyard.cli.access.tokens import SCOPES, days
from tiltyard.cli.options import option
from tiltyard.cli.printing import Show, connected, registry_address, registry_url, showing

if TYPE_CHECKING:
    from tiltyard.client.address import Credentials


@click.command()
@registry_url
@option("--user", metavar="NAME", help="Make a token by a password: that of this user is asked for.")
@secret_file("--token-file", "token")
@secret_file("--password-file", "password")
@days
@option(
    "--scope",
    "scopes",
    multiple=True,
    type=SCOPES,
    help="What the token made with --user may be used for; all that you may without it. Repeatable.",
)
@showing
def login(
    show: Show,
    registry_url: str | None,
    user: str | None,
    token_file: Path | None,
    password_file: Path | None,
    days: int,
    scopes: tuple[str, ...],
) -> None:
    """Keep a token for a registry, which every command and client of this user then comes with.

    Credentials that a variable names go before it.
    """
    from tiltyard.client.address import Credentials
    from tiltyard.client.kept_tokens import keep_token, kept_token

    if (token_file and user) or (password_file and not user):
        raise click.UsageError("--token-file is for a token that you have, --password-file goes with --user.")
    url = _address(registry_url)
    # What cannot be kept is not made first.
    kept_token(url)
    if user:
        by_password = Credentials(username=user, password=secret(password_file, "Password"))
        token = _made(url, by_password, days, scopes)
    else:
        token = secret(token_file, "Token").strip()
    with connected(url, Credentials(token=token)) as client:
        me = client.me()
    file = keep_token(url, token)
    if Credentials.from_environment():
        click.echo("A variable names credentials too: as long as it is set, they are used instead.", err=True)
    show.done(f"You are '{me.name}' at {url}. The token is in {file}.", {"registry": url, "name": me.name})


@click.command()
@registry_url
@showing
def logout(show: Show, registry_url: str | None) -> None:
    """Keep no token for a registry any more. This revokes nothing: 'tiltyard tokens revoke' does."""
    from tiltyard.client.kept_tokens import forget_token

    url = _address(registry_url)
    was_kept = forget_token(url)
    said = (
        f"No token is kept for {url} any more. It is not revoked: 'tiltyard tokens revoke' does that."
        if was_kept
        else f"No token was kept for {url}."
    )
    show.done(said, {"registry": url, "was_kept": was_kept})


def _address(told: str | None) -> str:
    from tiltyard.client.address import without_credentials

    return without_credentials(registry_address(told))[0]


def _made(url: str, by_password: "Credentials", days: int, scopes: tuple[str, ...]) -> str:
    with connected(url, by_password) as client:
        wanted = scopes or (("read", "write", "admin") if client.me().is_admin else ("read", "write"))
        name = f"tiltyard login on {socket.gethostname()}"
        return client.create_token(name, expires_in_days=days, scopes=wanted).token
