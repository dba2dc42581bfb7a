"""`tiltyard models`: list, show, register and change models."""

from typing import TYPE_CHECKING, Any

import click

from tiltyard.cli.models.changes import copy_version, delete_model, rename_model, stage_version, tag_model
from tiltyard.cli.models.diff import diff_versions
from tiltyard.cli.options import key_values, option
from tiltyard.cli.printing import Show, asking, max_results, pages, time_of

if TYPE_CHECKING:
    from tiltyard.client import Client
    from tiltyard.wire.mlflow.model_versions import ModelVersion
    from tiltyard.wire.mlflow.registered_models import RegisteredModel
    from tiltyard.wire.v1.batch_jobs import BatchJob


@click.group()
def models() -> None:
    """List, show, register, change and compare models."""


for command in (delete_model, rename_model, tag_model, stage_version, copy_version, diff_versions):
    models.add_command(command)


@models.command("list")
@option("--filter", "filter_text", metavar="EXPR", help="For instance: name LIKE 'main.clinic.%'")
@max_results(100)
@asking
def list_models(client: "Client", show: Show, filter_text: str | None, max_results: int) -> None:
    """The registered models, their latest version and their aliases."""
    found = pages(
        lambda token: client.search_registered_models(filter_text, page_token=token),
        lambda page: page.registered_models,
        max_results,
    )
    rows = (
        (
            model.name,
            max((int(version.version) for version in model.latest_versions), default=None),
            [f"{alias.alias} -> {alias.version}" for alias in model.aliases],
            time_of(model.last_updated_timestamp),
        )
        for model in found
    )
    show.rows(("name", "latest_version", "aliases", "updated"), rows, empty="No registered models.")


@models.command("show")
@click.argument("name")
@click.argument("version", required=False)
@asking
def show_model(client: "Client", show: Show, name: str, version: str | None) -> None:
    """A model's versions, or with VERSION what that version is made of."""
    if version is not None:
        _show_version(client, show, name, version)
        return
    aliases = _aliases_by_version(client.get_registered_model(name))
    versions = client.search_model_versions(f"name = '{_quoted(name)}'", order_by=["version_number DESC"])
    rows = (
        (
            int(found.version),
            aliases.get(found.version, []),
            found.current_stage,
            found.status,
            time_of(found.creation_timestamp),
            found.source,
        )
        for found in versions.model_versions
    )
    columns = ("version", "aliases", "stage", "status", "created", "source")
    show.rows(columns, rows, empty=f"'{name}' has no versions.")


def _show_version(client: "Client", show: Show, name: str, version: str) -> None:
    found = client.get_model_version(name, version)
    manifest = client.manifest(name, version)
    fields: dict[str, Any] = {
        "name": found.name,
        "version": int(found.version),
        "aliases": _aliases_by_version(client.get_registered_model(name)).get(found.version, []),
        "stage": found.current_stage,
        "status": found.status,
        "digest": manifest.digest or "none: external, unverified",
        "size_bytes": manifest.size_bytes,
        "source": found.source,
        "location": manifest.location,
        "run_id": found.run_id,
        "model_id": found.model_id,
        "registered_by": found.user_id,
        "created": time_of(found.creation_timestamp),
        "tags": [f"{tag.key}={tag.value}" for tag in found.tags],
        "description": found.description,
        "batch_jobs": [_job_line(job) for job in client.list_batch_jobs(name, version, max_results=5).batch_jobs],
        "files": [f"{file.path} ({file.size_bytes} bytes)" for file in manifest.files],
    }
    show.fields(fields)


def _job_line(job: "BatchJob") -> str:
    """One batch job: when and how it went, by whom, from where to where."""
    told = [f"{time_of(job.start_time)} {job.status}"]
    if job.row_count is not None:
        told.append(f"{job.row_count:,} rows")
    if job.duration_ms is not None:
        told.append(f"in {job.duration_ms / 1000:.1f} s")
    told.append(f"by {job.principal}: {job.input or '?'} -> {job.output or '?'}")
    return " ".join(told) + (f" ({job.message})" if job.message else "")


@models.command("register")
@click.argument("uri")
@click.argument("name")
@option("--tag", "tags", env="TAGS", multiple=True, metavar="KEY=VALUE", help="A tag of the version; may be repeated.")
@option("--description", help="What the version is.")
@option("--alias", help="An alias to point to the new version.")
@asking
def register_model(
    client: "Client",
    show: Show,
    uri: str,
    name: str,
    tags: tuple[str, ...],
    description: str | None,
    alias: str | None,
) -> None:
    """Register what URI names as the next version of the model NAME.

    URI is models:/MODEL_ID, runs:/RUN_ID/PATH, models:/OTHER/VERSION, models:/OTHER@ALIAS, the URI of an object store,
    or a local model directory, which is uploaded.
    """
    from tiltyard.models import register_model as register

    version: ModelVersion = register(uri, name, tags=key_values(tags, "--tag"), description=description, client=client)
    if alias is not None:
        client.set_alias(name, alias, version.version)
    said = f"Registered version {version.version} of '{version.name}'."
    if alias is not None:
        said += f" '{alias}' points to it."
    show.done(said, {"name": version.name, "version": int(version.version), "alias": alias})


def _aliases_by_version(model: "RegisteredModel") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for alias in model.aliases:
        found.setdefault(alias.version, []).append(alias.alias)
    return found


def _quoted(text: str) -> str:
    if "'" in text:
        raise click.BadParameter("a name with a quote cannot be searched.", param_hint="NAME")
    return text
