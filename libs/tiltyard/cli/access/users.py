"""`tiltyard users`: who is known to the registry, people and services."""

from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

import click

from tiltyard.cli.access import principals
from tiltyard.cli.access.secret_input import secret, secret_file
from tiltyard.cli.options import option
from tiltyard.cli.printing import Show, asking, connected, max_results, pages

if TYPE_CHECKING:
    from tiltyard.client import Client

_MOST = 1_000_000
_password_file = secret_file("--password-file", "password")


@click.group()
def users() -> None:
    """List, show, make and change users and services, and make the first administrator."""


@users.command("list")
@option("--kind", type=click.Choice(("user", "service")), help="Those alone.")
@max_results(100)
@asking
def list_users(client: "Client", show: Show, kind: 'Literal["user", "service"] | None', max_results: int) -> None:
    """Users and services by name; to who is no administrator, themselves."""
    found = pages(
        lambda token: client.list_principals(kind=kind, page_token=token),
        lambda page: (one for one in page.principals if one.kind != "group"),
        _MOST,
    )
    principals.show_rows(show, islice(found, max_results), empty="No users.")


@users.command("show")
@click.argument("name", required=False)
@asking
def show_user(client: "Client", show: Show, name: str | None) -> None:
    """What is told of NAME; without it, who you are yourself."""
    if name is not None:
        show.fields(principals.fields_of(client.get_principal(name)))
        return
    me = client.me()
    show.fields(
        {"name": me.name, "admin": me.is_admin, "known_by": me.via, "groups": me.groups, "token_for": me.scopes}
    )


@users.command("create")
@click.argument("name")
@option("--service", is_flag=True, help="A program: it has tokens ('tiltyard tokens create') and no password.")
@option("--admin", is_flag=True, help="They may do everything.")
@principals.display_name
@_password_file
@option("--no-password", is_flag=True, help="Make a user who has none yet, or signs in elsewhere.")
@asking
def create(
    client: "Client",
    show: Show,
    name: str,
    service: bool,
    admin: bool,
    display_name: str | None,
    password_file: Path | None,
    no_password: bool,
) -> None:
    """Make the user NAME known, or a service."""
    if password_file and (service or no_password):
        raise click.UsageError("--password-file does not go together with --service or --no-password.")
    password = None if service or no_password else secret(password_file, "Password", twice=True)
    made = client.create_principal(
        "service" if service else "user", name, password=password, display_name=display_name, is_admin=admin
    )
    show.done(f"'{name}' is known as a {made.kind}.", principals.fields_of(made))


@users.command("update")
@click.argument("name")
@principals.display_name
@option("--admin/--no-admin", default=None, help="Whether they may do everything.")
@option("--active/--inactive", default=None, help="Whether they are let in at all, by whatever they come with.")
@asking
def update(
    client: "Client", show: Show, name: str, display_name: str | None, admin: bool | None, active: bool | None
) -> None:
    """Change what is told of NAME, and what they are."""
    if (display_name, admin, active) == (None, None, None):
        raise click.UsageError("Say what changes: --display-name, --admin or --active.")
    found = client.update_principal(name, display_name=display_name, is_admin=admin, is_active=active)
    show.done(f"'{name}' is changed.", principals.fields_of(found))


@users.command("delete")
@click.argument("name")
@principals.reassign_to
@asking
def delete(client: "Client", show: Show, name: str, reassign_to: str | None) -> None:
    """Have NAME be known no more, and their tokens with them."""
    principals.check_kind(client, name, is_group=False)
    principals.delete(client, show, name, reassign_to)


@users.command("password")
@click.argument("name")
@_password_file
@secret_file("--current-password-file", "password that you have now")
@asking
def password(
    client: "Client", show: Show, name: str, password_file: Path | None, current_password_file: Path | None
) -> None:
    """Give the user NAME another password: your own takes the one that you have now.

    From standard input the current one is read first, and the new one from the next line.
    """
    from tiltyard.client.address import Credentials

    if client.me().name == name:
        current = secret(current_password_file, "Current password")
        new = secret(password_file, "New password", twice=True)
        # By the password itself: who finds a token shall not take over its owner by it.
        with connected(client.url, Credentials(username=name, password=current)) as known:
            known.set_password(name, new, current_password=current)
    else:
        client.set_password(name, secret(password_file, "New password", twice=True))
    show.done(f"'{name}' has another password.", {"name": name})


# Where the registry is installed, its database can be told without a server.
if find_spec("tiltyard_registry"):
    users.add_command(resolve_name("tiltyard_registry.cli.create_admin:create_admin"))
