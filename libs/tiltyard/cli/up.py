"""`tiltyard up`: both services on this machine, and one Ctrl-C for both."""

from pathlib import Path

import click

from tiltyard.cli import options
from tiltyard.cli.connections import Patience
from tiltyard.cli.listen import Address
from tiltyard.cli.registry import registry_fleet
from tiltyard.cli.serving import models, serving_fleet
from tiltyard.cli.worker import Drain
from tiltyard.cli.workers import run
from tiltyard.telemetry.log_style import LogStyle


@click.command()
@options.data_dir
@options.listening
@options.port("--registry-port", "registry", 5000)
@options.port("--serving-port", "serving", 5001)
@models
@options.workers("--registry-workers", "registry")
@options.workers("--serving-workers", "serving")
@options.allowed_hosts
@options.logging
@options.draining
@options.patient
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
    patience: Patience,
) -> None:
    """Registry and scoring service on an embedded database and local artifacts."""
    registry = registry_fleet(
        Address(host, registry_port),
        registry_workers,
        data_dir=data_dir,
        allowed_hosts=allowed_hosts,
        logs=logs,
        drain=drain,
        patience=patience,
    )
    serving = serving_fleet(
        Address(host, serving_port),
        serving_workers,
        drain=drain,
        patience=patience,
        registry_url=registry.url,
        models=models,
        allowed_hosts=allowed_hosts,
        logs=logs,
        cache_dir=(data_dir / "cache").resolve(),
    )

    def announce() -> None:
        click.echo(f"Registry: {registry.url}\nServing:  {serving.url}\nData:     {data_dir}\nCtrl-C stops both.")

    options.exit_with(run([registry, serving], on_ready=announce))
