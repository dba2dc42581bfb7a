"""`tiltyard up`: both services on this machine, and one Ctrl-C for both."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click

from tiltyard.cli import options
from tiltyard.server.arrivals import ConnectionTimeouts
from tiltyard.server.process import Drain
from tiltyard.server.service_pool import ServicePool
from tiltyard.server.sockets import Address
from tiltyard.server.supervisor import run
from tiltyard.telemetry.log_style import LogStyle

# The services by name: this library knows neither of them.
_REGISTRY = ("tiltyard_registry.cli.registry", "registry_pool")
_SERVING = ("tiltyard_serving.cli.serving", "serving_pool")


@click.command()
@options.data_dir
@options.listening
@options.port("--registry-port", "registry", 5000)
@options.port("--serving-port", "serving", 5001)
@options.models
@options.workers("--registry-workers", "registry")
@options.workers("--serving-workers", "serving")
@options.allowed_hosts
@options.logging
@options.draining
@options.connection_timeouts
def up(
    data_dir: Path,
    host: str,
    registry_port: int,
    serving_port: int,
    models: tuple[str, ...],
    registry_workers: int,
    serving_workers: int,
    allowed_hosts: tuple[str, ...],
    logs: LogStyle,
    drain: Drain,
    timeouts: ConnectionTimeouts,
) -> None:
    """Registry and scoring service on an embedded database and local artifacts."""
    registry = _pool(_REGISTRY)(
        Address(host, registry_port),
        registry_workers,
        data_dir=data_dir,
        allowed_hosts=allowed_hosts,
        logs=logs,
        drain=drain,
        timeouts=timeouts,
    )
    serving = _pool(_SERVING)(
        Address(host, serving_port),
        serving_workers,
        drain=drain,
        timeouts=timeouts,
        registry_url=registry.url,
        models=models,
        allowed_hosts=allowed_hosts,
        logs=logs,
        cache_dir=(data_dir / "cache").resolve(),
    )

    def announce() -> None:
        click.echo(f"Registry: {registry.url}\nServing:  {serving.url}\nData:     {data_dir}\nCtrl-C stops both.")

    options.exit_with(run([registry, serving], on_ready=announce))


def _pool(place: tuple[str, str]) -> Callable[..., ServicePool]:
    module, name = place
    made: Callable[..., ServicePool] = getattr(import_module(module), name)
    return made
