"""`tiltyard models delete | rename | tag | stage | copy`: what changes a registered model or a version."""

from typing import TYPE_CHECKING

import click

from tiltyard.cli.options import key_values, option
from tiltyard.cli.printing import Show, asking
from tiltyard.uri import STAGES

if TYPE_CHECKING:
    from tiltyard.client import Client


@click.command("delete")
@click.argument("name")
@click.argument("version", required=False)
@option("--force", is_flag=True, help="Also if an alias points to it.")
@asking
def delete_model(client: "Client", show: Show, name: str, version: str | None, force: bool) -> None:
    """Delete the model NAME with all versions, or only VERSION. Neither can be taken back."""
    aliases = [alias.alias for alias in client.get_registered_model(name).aliases if version in (None, alias.version)]
    if version is None:
        client.delete_registered_model(name, force=force)
        show.done(f"Deleted the model '{name}'.", {"name": name, "version": None, "aliases": aliases})
        return
    client.delete_model_version(name, version, force=force)
    show.done(f"Deleted version {version} of '{name}'.", {"name": name, "version": int(version), "aliases": aliases})


@click.command("rename")
@click.argument("name")
@click.argument("new_name")
@asking
def rename_model(client: "Client", show: Show, name: str, new_name: str) -> None:
    """Give the model NAME another name. Versions, tags and aliases go with it."""
    model = client.rename_registered_model(name, new_name)
    show.done(f"'{name}' is '{model.name}' now.", {"name": model.name, "before": name})


@click.command("tag")
@click.argument("name")
@click.argument("version", required=False)
@option("--set", "tags", env="SET_TAGS", multiple=True, metavar="KEY=VALUE", help="A tag to set; may be repeated.")
@option("--delete", "keys", env="DELETE_TAGS", multiple=True, metavar="KEY", help="A tag to remove; may be repeated.")
@asking
def tag_model(
    client: "Client", show: Show, name: str, version: str | None, tags: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    """Set and remove tags of the model NAME, or of its VERSION."""
    wanted = key_values(tags, "--set")
    if not wanted and not keys:
        raise click.UsageError("Give at least one --set KEY=VALUE or --delete KEY.")
    for key, value in wanted.items():
        if version is None:
            client.set_registered_model_tag(name, key, value)
        else:
            client.set_model_version_tag(name, version, key, value)
    for key in keys:
        if version is None:
            client.delete_registered_model_tag(name, key)
        else:
            client.delete_model_version_tag(name, version, key)
    where = f"'{name}'" if version is None else f"version {version} of '{name}'"
    found = client.get_registered_model(name) if version is None else client.get_model_version(name, version)
    now = {tag.key: tag.value for tag in found.tags}
    shown = ", ".join(f"{key}={value}" for key, value in now.items()) or "none"
    show.done(f"Tags of {where}: {shown}.", {"name": name, "version": version and int(version), "tags": now})


@click.command("stage")
@click.argument("name")
@click.argument("version")
@click.argument("stage", type=click.Choice(STAGES, case_sensitive=False))
@option("--archive-existing", is_flag=True, help="Move what is in that stage now to Archived.")
@asking
def stage_version(client: "Client", show: Show, name: str, version: str, stage: str, archive_existing: bool) -> None:
    """Move VERSION of the model NAME to STAGE."""
    found = client.transition_model_version_stage(name, version, stage, archive_existing_versions=archive_existing)
    show.done(
        f"Version {found.version} of '{name}' is in the stage {found.current_stage}.",
        {"name": name, "version": int(found.version), "stage": found.current_stage},
    )


@click.command("copy")
@click.argument("uri")
@click.argument("name")
@asking
def copy_version(client: "Client", show: Show, uri: str, name: str) -> None:
    """Make the version that URI names (models:/OTHER/3, models:/OTHER@champion) the next version of the model NAME."""
    from tiltyard.models import register_model

    version = register_model(uri, name, client=client)
    show.done(
        f"Version {version.version} of '{version.name}' is a copy of {uri}.",
        {"name": version.name, "version": int(version.version), "source": uri},
    )
