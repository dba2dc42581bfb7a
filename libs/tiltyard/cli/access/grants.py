"""`tiltyard grants`: who may do what."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from tiltyard.cli.options import option
from tiltyard.cli.printing import Show, asking

if TYPE_CHECKING:
    from tiltyard.client import Client
    from tiltyard.wire.v1.access import GrantInfo


@click.group()
def grants() -> None:
    """Show and change who may do what.

    TYPE is metastore, catalog, schema, registered_model or experiment. FULL_NAME of the metastore, above all the
    others, is 'metastore', and that of an experiment is its id. A grant counts for everything below as well.
    """


def _securable(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("securable_type", metavar="TYPE")(click.argument("full_name")(command))


@grants.command("show")
@_securable
@option("--principal", metavar="NAME", help="Theirs alone.")
@asking
def show_grants(client: "Client", show: Show, securable_type: str, full_name: str, principal: str | None) -> None:
    """What is granted on FULL_NAME itself: all of it if you manage it, else what is yours."""
    found = client.get_grants(securable_type, full_name, principal=principal)
    _show(show, found, empty=f"Nothing is granted on {securable_type} '{full_name}' itself.")


@grants.command("add")
@_securable
@click.argument("principal")
@click.argument("privileges", metavar="PRIVILEGE...", nargs=-1, required=True)
@option(
    "--name",
    "names",
    metavar="NAME",
    multiple=True,
    help="The alias or stage that SET_ALIAS, TRANSITION_STAGE or APPROVE is limited to; repeatable.",
)
@asking
def add(
    client: "Client",
    show: Show,
    securable_type: str,
    full_name: str,
    principal: str,
    privileges: tuple[str, ...],
    names: tuple[str, ...],
) -> None:
    """Grant privileges on FULL_NAME to PRINCIPAL, and show what is granted to them then."""
    from tiltyard.wire.v1.access import GrantChange

    change = GrantChange(principal, add=list(privileges), names=list(names) or None)
    found = client.change_grants(securable_type, full_name, [change])
    _show_theirs(show, found, principal)


@grants.command("remove")
@_securable
@click.argument("principal")
@click.argument("privileges", metavar="PRIVILEGE...", nargs=-1, required=True)
@asking
def remove(
    client: "Client", show: Show, securable_type: str, full_name: str, principal: str, privileges: tuple[str, ...]
) -> None:
    """Take privileges on FULL_NAME back from PRINCIPAL, and show what is granted to them then."""
    from tiltyard.wire.v1.access import GrantChange

    change = GrantChange(principal, remove=list(privileges))
    found = client.change_grants(securable_type, full_name, [change])
    _show_theirs(show, found, principal)


@grants.command("why")
@_securable
@option("--principal", metavar="NAME", help="Why may they: what counts for them, by way of their groups too.")
@option("--privilege", metavar="PRIVILEGE", help="Who can do that: the grants alone that give it.")
@asking
def why(
    client: "Client", show: Show, securable_type: str, full_name: str, principal: str | None, privilege: str | None
) -> None:
    """What is granted on FULL_NAME and above it. Administrators may do everything without a grant."""
    found = client.effective_permissions(securable_type, full_name, principal=principal, privilege=privilege)
    _show(show, found, empty="No grant gives that.")


def _show_theirs(show: Show, found: "Sequence[GrantInfo]", principal: str) -> None:
    _show(show, [one for one in found if one.principal == principal], empty=f"Nothing is granted to '{principal}'.")


def _show(show: Show, found: "Sequence[GrantInfo]", *, empty: str) -> None:
    rows = ((one.principal, one.privilege, one.securable_type, one.full_name, one.names) for one in found)
    show.rows(("principal", "privilege", "type", "full_name", "names"), rows, empty=empty)
