"""`tiltyard experiments`: list, show, create, rename, delete and restore experiments."""

from typing import TYPE_CHECKING

import click

from tiltyard.cli.options import option
from tiltyard.cli.printing import Show, asking, deleted_only, max_results, pages, time_of
from tiltyard.errors import ResourceDoesNotExist

if TYPE_CHECKING:
    from tiltyard.client import Client
    from tiltyard.wire.mlflow.experiments import Experiment


@click.group()
def experiments() -> None:
    """List, show, create, rename, delete and restore experiments. EXPERIMENT is a name or an id."""


@experiments.command("list")
@option("--filter", "filter_text", metavar="EXPR", help="For instance: name LIKE 'churn%'")
@deleted_only
@max_results(100)
@asking
def list_experiments(client: "Client", show: Show, filter_text: str | None, view: str, max_results: int) -> None:
    """The experiments, the last changed ones first."""
    found = pages(
        lambda token: client.search_experiments(
            filter_text, view_type=view, order_by=["last_update_time DESC"], page_token=token
        ),
        lambda page: page.experiments,
        max_results,
    )
    rows = ((each.experiment_id, each.name, time_of(each.last_update_time), each.artifact_location) for each in found)
    show.rows(("experiment_id", "name", "updated", "artifact_location"), rows, empty="No experiments.")


@experiments.command("show")
@click.argument("experiment")
@asking
def show_experiment(client: "Client", show: Show, experiment: str) -> None:
    """One experiment."""
    found = find_experiment(client, experiment)
    show.fields(
        {
            "experiment_id": found.experiment_id,
            "name": found.name,
            "lifecycle_stage": found.lifecycle_stage,
            "artifact_location": found.artifact_location,
            "created": time_of(found.creation_time),
            "updated": time_of(found.last_update_time),
            "tags": [f"{tag.key}={tag.value}" for tag in found.tags],
        }
    )


@experiments.command("create")
@click.argument("name")
@asking
def create_experiment(client: "Client", show: Show, name: str) -> None:
    """Create the experiment NAME."""
    experiment_id = client.create_experiment(name)
    show.done(
        f"Created experiment '{name}' with the id {experiment_id}.", {"experiment_id": experiment_id, "name": name}
    )


@experiments.command("rename")
@click.argument("experiment")
@click.argument("new_name")
@asking
def rename_experiment(client: "Client", show: Show, experiment: str, new_name: str) -> None:
    """Give EXPERIMENT another name."""
    found = find_experiment(client, experiment)
    client.rename_experiment(found.experiment_id, new_name)
    show.done(f"'{found.name}' is '{new_name}' now.", {"experiment_id": found.experiment_id, "name": new_name})


@experiments.command("delete")
@click.argument("experiment")
@asking
def delete_experiment(client: "Client", show: Show, experiment: str) -> None:
    """Delete EXPERIMENT with its runs. It can be restored until 'tiltyard gc' purges it."""
    found = find_experiment(client, experiment)
    client.delete_experiment(found.experiment_id)
    show.done(
        f"Deleted '{found.name}'. Take it back with: tiltyard experiments restore {found.experiment_id}",
        {"experiment_id": found.experiment_id, "name": found.name},
    )


@experiments.command("restore")
@click.argument("experiment")
@asking
def restore_experiment(client: "Client", show: Show, experiment: str) -> None:
    """Take the deletion of EXPERIMENT back."""
    found = find_experiment(client, experiment)
    client.restore_experiment(found.experiment_id)
    show.done(f"Restored '{found.name}'.", {"experiment_id": found.experiment_id, "name": found.name})


def find_experiment(client: "Client", name_or_id: str) -> "Experiment":
    """The experiment of that name, else the one of that id. Raises: ResourceDoesNotExist: there is neither."""
    try:
        return client.get_experiment_by_name(name_or_id)
    except ResourceDoesNotExist:
        if name_or_id.isascii() and name_or_id.isdigit():
            return client.get_experiment(name_or_id)
        raise
