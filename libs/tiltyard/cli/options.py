"""Options that several commands share. Each flag has a `TILTYARD_…` variable."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

type_port = click.IntRange(0, 65535)
DEFAULT_DATA_DIR = Path("tiltyard-data")


def option(*flags: str, env: str, **attributes: Any) -> Callable[[Any], Any]:
    """A click option that can also be given as the variable `TILTYARD_{env}`, which its help shows."""
    return click.option(*flags, envvar=f"TILTYARD_{env}", show_envvar=True, **attributes)


host = option(
    "--host",
    env="HOST",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Beyond loopback it takes --allow-unauthenticated.",
)
allow_unauthenticated = option(
    "--allow-unauthenticated",
    env="ALLOW_UNAUTHENTICATED",
    is_flag=True,
    help="Listen beyond loopback although nobody has to say who they are.",
)
data_dir = option(
    "--data-dir",
    env="DATA_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Folder of the embedded database and of local artifacts.",
)
database_url = option(
    "--database-url",
    env="DATABASE_URL",
    help="postgresql+asyncpg://… or sqlite+aiosqlite:///…; without it, SQLite in the data folder.",
)
artifact_root = option(
    "--artifact-root",
    env="ARTIFACT_ROOT",
    help="Where artifacts are kept: a folder or s3://bucket/prefix; without it, the data folder.",
)
drain_delay_s = option(
    "--drain-delay-s",
    env="DRAIN_DELAY_S",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="After SIGTERM, seconds to go on accepting while the health check already says no.",
)
drain_timeout_s = option(
    "--drain-timeout-s",
    env="DRAIN_TIMEOUT_S",
    type=click.FloatRange(1),
    default=30.0,
    show_default=True,
    help="After SIGTERM, seconds for requests in flight to end.",
)


def port(flag: str, service: str, default: int) -> Callable[[Any], Any]:
    """The port of a service. Its variable ends in LISTEN_PORT: Kubernetes sets {SERVICE}_PORT to a URL."""
    return option(
        flag,
        env=f"{service.upper()}_LISTEN_PORT",
        type=type_port,
        default=default,
        show_default=True,
        help=f"Port of the {service} service; 0 takes any free one.",
    )


def workers(flag: str, service: str) -> Callable[[Any], Any]:
    """How many processes of a service share its port."""
    return option(
        flag,
        env=f"{service.upper()}_WORKERS",
        type=click.IntRange(1, 256),
        default=1,
        show_default=True,
        help=f"Processes of the {service} service that share the port.",
    )


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, shown in the help in this order."""

    def decorate(command: Any) -> Any:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


listening = together(host, allow_unauthenticated)
draining = together(drain_delay_s, drain_timeout_s)
