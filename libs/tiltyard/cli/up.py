"""`tiltyard up`: both services on this machine, and one Ctrl-C for both."""

from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import click

from tiltyard.cli import options
from tiltyard.server.settings import ConnectionTimeouts, Drain
from tiltyard.server.supervisor import run


@click.command()
@options.listening
@options.logging
@options.of(options.REGISTRY, "data_dir", "host", "allowed_hosts")
@options.of(options.REGISTRY, "port", "workers", prefix="registry")
@options.of(options.SERVING, "port", "workers", prefix="serving")
@options.of(options.SERVING, "models")
@options.of(Drain, to="drain", prefix="drain")
@options.of(ConnectionTimeouts, to="timeouts")
def up(
    data_dir: Path,
    registry_port: int,
    registry_workers: int,
    serving_port: int,
    serving_workers: int,
    models: tuple[str, ...],
    drain: Drain,
    timeouts: ConnectionTimeouts,
    **both: Any,
) -> None:
    """Registry and scoring service on an embedded database and local artifacts."""
    told = resolve_name(options.REGISTRY)(data_dir=data_dir, port=registry_port, workers=registry_workers, **both)
    registry = resolve_name("tiltyard_registry.cli.registry:registry_pool")(told, drain, timeouts)
    told = resolve_name(options.SERVING)(
        port=serving_port,
        workers=serving_workers,
        registry_url=registry.url,
        models=models,
        cache_dir=(data_dir / "cache").resolve(),
        **both,
    )
    serving = resolve_name("tiltyard_serving.cli.serving:serving_pool")(told, drain, timeouts)

    def announce() -> None:
        click.echo(f"Registry: {registry.url}\nServing:  {serving.url}\nData:     {data_dir}\nCtrl-C stops both.")

    options.exit_with(run([registry, serving], on_ready=announce))
