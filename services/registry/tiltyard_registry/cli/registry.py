"""`tiltyard registry`: the registry alone."""

import tempfile
from pathlib import Path

import click

from tiltyard.cli import options
from tiltyard.server.process import work
from tiltyard.server.service_pool import ServicePool
from tiltyard.server.settings import ConnectionTimeouts, Drain
from tiltyard.server.sockets import Address
from tiltyard.server.supervisor import run
from tiltyard_registry.cli.migrate import upgrade
from tiltyard_registry.settings import RegistrySettings


def registry_pool(
    settings: RegistrySettings, drain: Drain, timeouts: ConnectionTimeouts, *, migrate: bool = False
) -> ServicePool:
    """The workers of a registry, ready to run: its port bound, and with `migrate` its schema up to date.

    Raises:
        click.ClickException: the port is taken, or the data folder cannot be written.
        TemporarilyUnavailable: the database to migrate does not answer.
    """
    if not settings.database_url:
        _check_folder(settings.data_dir)
    job = work("registry", "tiltyard_registry.app:create_app", settings, drain, timeouts)
    pool = ServicePool(job, Address(settings.host, settings.port), settings.workers)
    # Embedded SQLite is brought up to date by the registry itself. A server's schema is its operator's to change.
    if migrate:
        upgrade(settings)
    return pool


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.ClickException(f"--data-dir {folder} cannot be written: {error.strerror or error}.") from None


@click.command()
@options.listening
@options.logging
@options.of(RegistrySettings, to="settings")
@options.option(
    "--migrate",
    is_flag=True,
    help="Bring the schema up to date first, on PostgreSQL too; SQLite always is.",
)
@options.of(Drain, to="drain", prefix="drain")
@options.of(ConnectionTimeouts, to="timeouts")
def registry(settings: RegistrySettings, drain: Drain, timeouts: ConnectionTimeouts, migrate: bool) -> None:
    """The registry: tracking server and model registry for MLflow clients, on SQLite or PostgreSQL."""
    pool = registry_pool(settings, drain, timeouts, migrate=migrate)
    options.exit_with(run([pool], on_ready=lambda: click.echo(f"Registry: {pool.url}")))
