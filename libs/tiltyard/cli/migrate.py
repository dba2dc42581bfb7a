"""`tiltyard migrate`: the schema of a database, brought up to date once, before services start on it."""

from pathlib import Path

import click

from tiltyard.cli import options
from tiltyard.errors import TiltyardError


def embedded_url(data_dir: Path) -> str:
    """The address of the embedded database under `data_dir`, whose folder is made."""
    data_dir.mkdir(parents=True, exist_ok=True)
    return f"sqlite+aiosqlite:///{data_dir.resolve() / 'tiltyard.db'}"


def upgrade(database_url: str) -> None:
    """Brings the schema at `database_url` up to date. Safe to repeat and to interrupt.

    Raises:
        click.ClickException: the database says no, or cannot be reached.
    """
    from tiltyard_registry.store.migrations import upgrade as bring_up_to_date

    try:
        bring_up_to_date(database_url)
    except TiltyardError as error:
        raise click.ClickException(error.message) from None


@click.command()
@options.database_url
@options.data_dir
def migrate(database_url: str | None, data_dir: Path) -> None:
    """Bring the database schema up to date. Safe to repeat, and to run from several places at once."""
    upgrade(database_url or embedded_url(data_dir))
    click.echo("The schema is up to date.")
