"""`tiltyard migrate`: the schema of a database, brought up to date once, before services start on it."""

import click

from tiltyard.cli import options
from tiltyard_registry.settings import RegistrySettings


def upgrade(settings: RegistrySettings) -> None:
    """Brings the schema that `settings` lead to up to date. Safe to repeat and to interrupt.

    Raises:
        TemporarilyUnavailable: the database does not answer.
    """
    from tiltyard_registry.store.migrations import upgrade as bring_up_to_date

    if settings.database_url is None:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    bring_up_to_date(settings.resolved_database_url)


@click.command()
@options.of(RegistrySettings, "database_url", "data_dir", to="settings")
def migrate(settings: RegistrySettings) -> None:
    """Bring the database schema up to date. Safe to repeat, and to run from several places at once."""
    upgrade(settings)
    click.echo("The schema is up to date.")
