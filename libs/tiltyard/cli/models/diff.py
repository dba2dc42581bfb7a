"""`tiltyard models diff`: what differs between two versions."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tiltyard.cli.printing import Show, asking
from tiltyard.errors import ResourceDoesNotExist

if TYPE_CHECKING:
    from tiltyard.client import Client


class Difference(NamedTuple):
    """One thing that differs; None where a version lacks it."""

    what: str
    before: Any
    after: Any


@click.command("diff")
@click.argument("name")
@click.argument("before")
@click.argument("after")
@asking
def diff_versions(client: "Client", show: Show, name: str, before: str, after: str) -> None:
    """What differs between two versions of the model NAME: tags, files, and metrics and params of their runs.

    BEFORE and AFTER are version numbers or aliases.
    """
    old, new = (_description(client, name, _version(client, name, which)) for which in (before, after))
    rows = (tuple(each) for each in differences(old, new))
    show.rows(("what", "before", "after"), rows, empty=f"'{before}' and '{after}' of '{name}' do not differ.")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """Each name whose value is not the same in both, in the order of their first appearance."""
    for what in dict.fromkeys([*before, *after]):
        if before.get(what) != after.get(what):
            yield Difference(what, before.get(what), after.get(what))


def _version(client: "Client", name: str, which: str) -> str:
    return which if which.isascii() and which.isdigit() else client.get_alias(name, which).version


def _description(client: "Client", name: str, version: str) -> dict[str, Any]:
    found, manifest = client.get_model_version(name, version), client.manifest(name, version)
    described: dict[str, Any] = {
        "version": int(found.version),
        "status": found.status,
        "stage": found.current_stage,
        "run": found.run_id,
        "description": found.description,
        "digest": manifest.digest,
    }
    described |= {f"tag {tag.key}": tag.value for tag in found.tags}
    described |= {f"file {file.path}": f"{file.size_bytes} bytes, {file.sha256[:12]}" for file in manifest.files}
    if found.run_id:
        try:
            data = client.get_run(found.run_id).data
        except ResourceDoesNotExist:
            # The run was purged; the version outlives it.
            return described
        described |= {f"metric {metric.key}": metric.value for metric in data.metrics}
        described |= {f"param {param.key}": param.value for param in data.params}
    return described
