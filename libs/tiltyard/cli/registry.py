"""`tiltyard registry`: the registry alone."""

from pathlib import Path
from typing import Any

import click

from tiltyard.cli import options
from tiltyard.cli.listen import Address
from tiltyard.cli.migrate import embedded_url, upgrade
from tiltyard.cli.worker import Drain, work
from tiltyard.cli.workers import Fleet, run


def registry_fleet(
    address: Address,
    workers: int,
    *,
    data_dir: Path,
    database_url: str | None = None,
    artifact_root: str | None = None,
    migrate: bool = False,
    drain: Drain,
) -> Fleet:
    """The workers of a registry, ready to run: its port bound, an SQLite schema up to date.

    Raises:
        click.ClickException: the port is taken, or the database says no.
    """
    from tiltyard_registry.settings import Settings

    database_url = database_url or embedded_url(data_dir)
    settings = Settings(
        data_dir=data_dir.resolve(),
        database_url=database_url,
        artifact_root=artifact_root,
        host=address.host,
        port=address.port,
        workers=workers,
    )
    fleet = Fleet(work("registry", "tiltyard_registry.app:create_app", settings, drain), address, workers)
    # Once, before any worker looks. A server's schema is its operator's to change: that is `tiltyard migrate`.
    if migrate or database_url.startswith("sqlite"):
        upgrade(database_url)
    return fleet


@click.command()
@options.listening
@options.port("--port", "registry", 5000)
@options.workers("--workers", "registry")
@options.data_dir
@options.database_url
@options.artifact_root
@options.option(
    "--migrate",
    env="MIGRATE",
    is_flag=True,
    help="Bring the schema up to date first, on PostgreSQL too; SQLite always is.",
)
@options.draining
def registry(host: str, port: int, workers: int, **settings: Any) -> None:
    """The registry: tracking server and model registry for MLflow clients, on SQLite or PostgreSQL."""
    fleet = registry_fleet(Address(host, port), workers, **settings)
    options.exit_with(run([fleet], on_ready=lambda: click.echo(f"Registry: {fleet.url}")))
