"""`tiltyard serving`: the scoring service alone."""

import tempfile
from pathlib import Path

import click
from msgspec.structs import replace

from tiltyard.cli import options
from tiltyard.server.process import work
from tiltyard.server.service_pool import ServicePool
from tiltyard.server.settings import ConnectionTimeouts, Drain
from tiltyard.server.sockets import Address
from tiltyard.server.supervisor import run
from tiltyard_serving.settings import ServingSettings


def serving_pool(settings: ServingSettings, drain: Drain, timeouts: ConnectionTimeouts) -> ServicePool:
    """The workers of a scoring service, ready to run: its port bound.

    Raises:
        click.ClickException: the port is taken.
    """
    shared = Path(tempfile.mkdtemp(prefix="tiltyard-serving-endpoints-")) if settings.workers > 1 else None
    job = work("serving", "tiltyard_serving.app:create_app", replace(settings, shared_dir=shared), drain, timeouts)
    try:
        pool = ServicePool(job, Address(settings.host, settings.port), settings.workers)
    except BaseException:
        if shared is not None:
            shared.rmdir()
        raise
    if shared is not None:
        pool.folders.append(shared)
    return pool


@click.command()
@options.listening
@options.logging
@options.of(ServingSettings, to="settings")
@options.of(Drain, to="drain", prefix="drain")
@options.of(ConnectionTimeouts, to="timeouts")
def serving(settings: ServingSettings, drain: Drain, timeouts: ConnectionTimeouts) -> None:
    """The scoring service: loads model versions, follows their aliases and answers /invocations."""
    pool = serving_pool(settings, drain, timeouts)
    options.exit_with(run([pool], on_ready=lambda: click.echo(f"Serving: {pool.url}")))
