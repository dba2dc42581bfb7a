"""`tiltyard registry`: the registry alone."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tiltyard.cli import options
from tiltyard.server.arrivals import ConnectionTimeouts
from tiltyard.server.process import Drain, work
from tiltyard.server.service_pool import ServicePool
from tiltyard.server.sockets import Address
from tiltyard.server.supervisor import run
from tiltyard_registry.cli.migrate import upgrade
from tiltyard_registry.settings import RegistrySettings


def registry_pool(
    address: Address,
    workers: int,
    *,
    drain: Drain,
    timeouts: ConnectionTimeouts,
    migrate: bool = False,
    **settings: Any,
) -> ServicePool:
    """The workers of a registry, ready to run: its port bound, and with `migrate` its schema up to date.

    Raises:
        click.ClickException: the port is taken, or the data folder cannot be written.
        TemporarilyUnavailable: the database to migrate does not answer.
    """
    if (data_dir := settings.get("data_dir")) is not None and not settings.get("database_url"):
        _check_folder(data_dir)
    told = RegistrySettings(host=address.host, port=address.port, workers=workers, **settings)
    pool = ServicePool(work("registry", "tiltyard_registry.app:create_app", told, drain, timeouts), address, workers)
    # Embedded SQLite is brought up to date by the registry itself. A server's schema is its operator's to change.
    if migrate:
        upgrade(told)
    return pool


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.ClickException(f"--data-dir {folder} cannot be written: {error.strerror or error}.") from None


_DEFAULT = RegistrySettings()


def _quota(flag: str, env: str, what: str) -> Callable[[Any], Any]:
    return options.option(
        flag,
        env=env,
        type=click.IntRange(1),
        help=f"Most {what}; without it, no limit. Give all processes of one database the same.",
    )


@click.command()
@options.listening
@options.port("--port", "registry", 5000)
@options.workers("--workers", "registry")
@options.data_dir
@options.database_url
@options.artifact_root
@options.option(
    "--migrate",
    is_flag=True,
    help="Bring the schema up to date first, on PostgreSQL too; SQLite always is.",
)
@options.allowed_hosts
@options.option(
    "--max-connections",
    type=click.IntRange(1),
    default=_DEFAULT.max_connections,
    show_default=True,
    help="Most database connections of each process.",
)
@options.option(
    "--max-body-bytes",
    env="REGISTRY_MAX_BODY_BYTES",
    type=click.IntRange(1),
    default=_DEFAULT.max_body_bytes,
    show_default=True,
    help="The largest JSON body that is read; artifacts are streamed and not counted.",
)
@options.option(
    "--max-values",
    env="REGISTRY_MAX_VALUES",
    type=click.IntRange(1),
    default=_DEFAULT.max_values,
    show_default=True,
    help="Most values that a JSON body may hold, each list and object being one; more is answered 413.",
)
@options.option(
    "--max-arriving-bytes",
    env="REGISTRY_MAX_ARRIVING_BYTES",
    type=click.IntRange(1),
    default=_DEFAULT.max_arriving_bytes,
    show_default=True,
    help="What all JSON bodies that a process is receiving may take together; beyond it large ones are answered 503.",
)
@_quota("--max-params-per-run", "MAX_PARAMS_PER_RUN", "params that a run may have")
@_quota("--max-tags-per-run", "MAX_TAGS_PER_RUN", "tags that a run may have, its name being one")
@_quota("--max-points-per-run", "MAX_POINTS_PER_RUN", "points that the metrics of a run may have together")
@_quota("--max-runs-per-experiment", "MAX_RUNS_PER_EXPERIMENT", "active runs that an experiment may have")
@options.option(
    "--max-request-entries",
    env="MAX_REQUEST_ENTRIES",
    type=click.IntRange(1),
    default=_DEFAULT.max_request_entries,
    show_default=True,
    help="Most tags, or params, that one call which creates something may bring; log-batch has bounds of its own.",
)
@options.option(
    "--direct-transfers/--no-direct-transfers",
    default=_DEFAULT.direct_transfers,
    show_default=True,
    help="Let clients send and fetch large files past the registry, by presigned URLs of an S3 store. Clients must "
    "be able to reach its endpoint.",
)
@options.option(
    "--access-log/--no-access-log",
    default=_DEFAULT.access_log,
    show_default=True,
    help="One line per request on standard error.",
)
@options.logging
@options.draining
@options.connection_timeouts
def registry(host: str, port: int, workers: int, **settings: Any) -> None:
    """The registry: tracking server and model registry for MLflow clients, on SQLite or PostgreSQL."""
    pool = registry_pool(Address(host, port), workers, **settings)
    options.exit_with(run([pool], on_ready=lambda: click.echo(f"Registry: {pool.url}")))
