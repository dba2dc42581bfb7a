"""What the commands about users and about groups share: how principals are shown, told apart and deleted."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from tiltyard.cli.options import option
from tiltyard.cli.printing import Show, time_of

if TYPE_CHECKING:
    from tiltyard.client import Client
    from tiltyard.wire.v1.access import PrincipalInfo

display_name = option("--display-name", metavar="TEXT", help="The name that people are shown.")
reassign_to: Callable[[Any], Any] = option(
    "--reassign-to", metavar="PRINCIPAL", help="Who owns then what the deleted one owns now."
)


def show_rows(show: Show, found: "Iterable[PrincipalInfo]", *, empty: str) -> None:
    """Prints principals, one a line."""
    rows = ((one.name, one.kind, one.display_name, one.is_admin, one.is_active) for one in found)
    show.rows(("name", "kind", "display_name", "admin", "active"), rows, empty=empty)


def fields_of(found: "PrincipalInfo") -> dict[str, Any]:
    """What is told of a principal."""
    return {
        "name": found.name,
        "kind": found.kind,
        "display_name": found.display_name,
        "admin": found.is_admin,
        "active": found.is_active,
        "created": time_of(found.created_at),
        "created_by": found.created_by,
        "updated": time_of(found.updated_at),
    }


def check_kind(client: "Client", name: str, *, is_group: bool) -> None:
    """Passes if `name` is what the command is about.

    Raises:
        click.ClickException: it is a group, or it is none.
    """
    kind = client.get_principal(name).kind
    if (kind == "group") is not is_group:
        raise click.ClickException(f"'{name}' is a {kind}: see 'tiltyard {'users' if is_group else 'groups'}'.")


def delete(client: "Client", show: Show, name: str, reassign_to: str | None) -> None:
    """Deletes a principal and says so."""
    client.delete_principal(name, reassign_to=reassign_to)
    got = f" What they owned is owned by '{reassign_to}'." if reassign_to else ""
    show.done(f"'{name}' is known no more.{got}", {"name": name, "reassigned_to": reassign_to})
