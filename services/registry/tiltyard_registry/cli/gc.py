"""`tiltyard gc`: what was deleted a while ago is purged, and what is left over is found."""

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from tiltyard.cli import options
from tiltyard.errors import ResourceDoesNotExist
from tiltyard_registry.settings import RegistrySettings

_DESCRIPTION = """\
Purge runs, logged models and experiments that were deleted longer ago than --older-than: rows and files, but for
files that registered versions are made of.

Then remove interrupted uploads older than --grace, and report what does not fit together: files that no row knows
(--delete-orphans removes them), and files of registered versions that are missing (exit status 2).

Runs beside a server, in small transactions. May be killed and run again at any time.
"""


def _names(_context: Any, _parameter: Any, value: str | None) -> tuple[str, ...]:
    return tuple(name for part in (value or "").split(",") if (name := part.strip()))


def _check_there(settings: RegistrySettings) -> None:
    """A mistyped folder must not become a new registry, in which nothing is known."""
    _, _, path = settings.resolved_database_url.partition(":///")
    if settings.is_embedded and not Path(path).is_file():
        raise ResourceDoesNotExist(f"There is no database at '{path}'.")


@click.command(help=_DESCRIPTION)
@options.of(RegistrySettings, "database_url", "data_dir", "artifact_root", to="settings")
@options.option(
    "--older-than",
    env="GC_OLDER_THAN",
    metavar="AGE",
    help="How long what was deleted is kept, such as 30d or 12h30m. [default: 30d; any age for what is named by id]",
)
@options.option(
    "--grace",
    env="GC_GRACE",
    metavar="AGE",
    default="1d",
    show_default=True,
    help="Uploads, and files that no row knows, are leftovers once they are older.",
)
@options.option("--run-ids", env="GC_RUN_IDS", callback=_names, help="Purge these deleted runs alone; commas between.")
@options.option(
    "--experiment-ids",
    env="GC_EXPERIMENT_IDS",
    callback=_names,
    help="Purge these deleted experiments alone, with all that is in them.",
)
@options.option(
    "--logged-model-ids", env="GC_LOGGED_MODEL_IDS", callback=_names, help="Purge these deleted logged models alone."
)
@options.option(
    "--reconcile/--no-reconcile",
    env="GC_RECONCILE",
    default=True,
    show_default=True,
    help="Look for leftovers, and hold every file of the store against the database.",
)
@options.option(
    "--delete-orphans",
    env="GC_DELETE_ORPHANS",
    is_flag=True,
    help="Remove files of runs, logged models and versions that the database does not know. Be sure that it is the "
    "database of this store.",
)
@options.option("--dry-run", env="GC_DRY_RUN", is_flag=True, help="Change nothing; say what would be done.")
@options.option("--json", "as_json", env="GC_JSON", is_flag=True, help="Print the report as one JSON object.")
def gc(settings: RegistrySettings, older_than: str | None, grace: str, as_json: bool, **plan: Any) -> None:
    from tiltyard.storage import open_store
    from tiltyard_registry.gc import Plan, Report, collect
    from tiltyard_registry.rules.lifecycle import age_ms
    from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
    from tiltyard_registry.store.sql.database import Database

    told = Plan(
        older_than_ms=None if older_than is None else age_ms(older_than, parameter="older_than"),
        grace_ms=age_ms(grace, parameter="grace"),
        **plan,
    )

    _check_there(settings)
    root = settings.resolved_artifact_root

    async def run() -> Report:
        database = Database(settings.resolved_database_url, max_connections=2)
        try:
            return await collect(database, ArtifactRoot(open_store(root), root), told)
        finally:
            await database.close()

    report = asyncio.run(run())
    click.echo(msgspec.json.encode(report).decode() if as_json else "\n".join(report.lines()))
    options.exit_with(2 if report.missing else 0)
