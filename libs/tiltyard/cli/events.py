"""`tiltyard events`: what changed in the registry, who changed it and when."""

from typing import TYPE_CHECKING, Any

import click

from tiltyard.cli.options import option
from tiltyard.cli.printing import Show, asking, max_results, milliseconds, pages, time_of

if TYPE_CHECKING:
    from tiltyard.client import Client


@click.command()
@option("--model", env="EVENTS_MODEL", metavar="NAME", help="Those of one registered model.")
@option("--principal", help="Those of one person or service.")
@option("--since", metavar="TIME", help="From an ISO 8601 time on, in UTC unless it says otherwise.")
@option("--until", metavar="TIME", help="Before an ISO 8601 time.")
@max_results(50)
@asking
def events(
    client: "Client",
    show: Show,
    model: str | None,
    principal: str | None,
    since: str | None,
    until: str | None,
    max_results: int,
) -> None:
    """What changed in the registry, who changed it and when; the newest first."""
    found = pages(
        lambda token: client.events(
            model=model,
            principal=principal,
            since_ms=None if since is None else milliseconds(since, "--since"),
            until_ms=None if until is None else milliseconds(until, "--until"),
            max_results=min(max_results, 100),
            page_token=token,
        ),
        lambda page: page.events,
        max_results,
    )
    rows = (
        (
            event.id,
            time_of(event.time),
            event.principal,
            event.action,
            event.name,
            event.version,
            event.alias,
            _change(event.before, event.after),
        )
        for event in found
    )
    show.rows(("id", "time", "principal", "action", "name", "version", "alias", "change"), rows, empty="No events.")


def _change(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    """Each field that changed, as `field: before -> after`."""
    old, new = before or {}, after or {}
    return [f"{name}: {old.get(name, '-')} -> {new.get(name, '-')}" for name in dict.fromkeys([*old, *new])]
