"""`tiltyard groups`: who is in which group."""

from typing import TYPE_CHECKING

import click

from tiltyard.cli.access import principals
from tiltyard.cli.printing import Show, asking, max_results, pages

if TYPE_CHECKING:
    from tiltyard.client import Client


@click.group()
def groups() -> None:
    """List and make groups, and say who is in them."""


@groups.command("list")
@max_results(100)
@asking
def list_groups(client: "Client", show: Show, max_results: int) -> None:
    """The groups by name."""
    found = pages(
        lambda token: client.list_principals(kind="group", page_token=token), lambda page: page.principals, max_results
    )
    rows = ((one.name, one.display_name) for one in found)
    show.rows(("name", "display_name"), rows, empty="No groups.")


@groups.command("create")
@click.argument("name")
@principals.display_name
@asking
def create(client: "Client", show: Show, name: str, display_name: str | None) -> None:
    """Make the group NAME, with nobody in it."""
    made = client.create_principal("group", name, display_name=display_name)
    show.done(f"'{name}' is a group.", principals.fields_of(made))


@groups.command("delete")
@click.argument("name")
@principals.reassign_to
@asking
def delete(client: "Client", show: Show, name: str, reassign_to: str | None) -> None:
    """Delete the group NAME; who was in it stays known."""
    principals.check_kind(client, name, is_group=True)
    principals.delete(client, show, name, reassign_to)


@groups.command("members")
@click.argument("name")
@max_results(100)
@asking
def members(client: "Client", show: Show, name: str, max_results: int) -> None:
    """Who is in the group NAME itself, not by way of another group."""
    found = pages(lambda token: client.list_members(name, page_token=token), lambda page: page.principals, max_results)
    principals.show_rows(show, found, empty=f"Nobody is in '{name}'.")


@groups.command("add")
@click.argument("name")
@click.argument("member")
@asking
def add(client: "Client", show: Show, name: str, member: str) -> None:
    """Have the user, service or group MEMBER be in the group NAME."""
    client.add_member(name, member)
    show.done(f"'{member}' is in '{name}'.", {"group": name, "member": member})


@groups.command("remove")
@click.argument("name")
@click.argument("member")
@asking
def remove(client: "Client", show: Show, name: str, member: str) -> None:
    """Have MEMBER not be in the group NAME."""
    client.remove_member(name, member)
    show.done(f"'{member}' is not in '{name}'.", {"group": name, "member": member})
