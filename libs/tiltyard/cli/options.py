"""Options that several commands share. Each flag has a `TILTYARD_…` variable."""

import functools
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from tiltyard.server.sockets import check_host

DEFAULT_DATA_DIR = Path("tiltyard-data")


def option(*flags: str, env: str | None = None, **attributes: Any) -> Callable[[Any], Any]:
    """A click option that can also be given as a variable, which its help shows: `TILTYARD_` and `env` or the flag."""
    env = env or flags[0].partition("/")[0].removeprefix("--").replace("-", "_").upper()
    return click.option(*flags, envvar=f"TILTYARD_{env}", show_envvar=True, **attributes)


_host = option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Beyond loopback it takes --allow-unauthenticated.",
)
_allow_unauthenticated = option(
    "--allow-unauthenticated",
    is_flag=True,
    help="Listen beyond loopback although callers need not say who they are.",
)
data_dir = option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Folder of the embedded database and of local artifacts.",
)
database_url = option(
    "--database-url",
    help="postgresql+asyncpg://… or sqlite+aiosqlite:///…; without it, SQLite in the data folder.",
)
artifact_root = option(
    "--artifact-root",
    help="Where artifacts are kept: a folder or s3://bucket/prefix; without it, the data folder.",
)


def _parsed(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    from tiltyard.server.host_guard import parse_allowed_hosts

    return parse_allowed_hosts(given)


allowed_hosts = option(
    "--allowed-hosts",
    metavar="NAME",
    multiple=True,
    callback=_parsed,
    help="A host name, besides loopback, under which requests may come: ml.example, .ml.example for all below it, a "
    "pattern with *, or * for any. A port is passed over. May be repeated; commas separate names, in the variable "
    "blanks too.",
)


def _networks(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    networks = tuple(name.strip() for value in given for name in value.split(",") if name.strip())
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise click.BadParameter(f"{network!r} is no address and no network, such as 10.0.0.0/8.") from None
    return networks


_trusted_proxies = option(
    "--trusted-proxies",
    metavar="ADDRESS",
    multiple=True,
    callback=_networks,
    help="A proxy, by its address or network, whose X-Forwarded-For and X-Forwarded-Proto are believed; without it, "
    "nobody's. May be repeated; in the variable, blanks separate them.",
)
_drain_delay_s = option(
    "--drain-delay-s",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="After SIGTERM, seconds to go on accepting while the health check already says no.",
)
_drain_timeout_s = option(
    "--drain-timeout-s",
    type=click.FloatRange(1),
    default=30.0,
    show_default=True,
    help="After SIGTERM, seconds for requests in flight to end.",
)
_slow_client_s = option(
    "--slow-client-s",
    type=click.FloatRange(0, min_open=True),
    default=20.0,
    show_default=True,
    help="Seconds that the head of a request may take, or a body slower than 1 KiB/s, before it is answered 408.",
)
_keep_alive_s = option(
    "--keep-alive-s",
    type=click.IntRange(1),
    default=75,
    show_default=True,
    help="Seconds that a connection may be idle before it is closed.",
)


_log_format = option(
    "--log-format",
    type=click.Choice(("auto", "json", "text")),
    default="auto",
    show_default=True,
    help="How the log is written: text for people, JSON lines for programs; auto is text on a terminal.",
)
_log_level = option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error"), case_sensitive=False),
    default="info",
    show_default=True,
    help="The lowest level that is logged.",
)


models = option(
    "--model",
    "models",
    env="MODELS",
    metavar="[NAME=]URI",
    multiple=True,
    help="A model to serve: models:/NAME@ALIAS, models:/NAME/VERSION or the path of a model directory; "
    "NAME makes it an endpoint of its own. May be repeated; in the variable, blanks separate them.",
)


def port(flag: str, service: str, default: int) -> Callable[[Any], Any]:
    """The port of a service. Its variable ends in LISTEN_PORT: Kubernetes sets {SERVICE}_PORT to a URL."""
    return option(
        flag,
        env=f"{service.upper()}_LISTEN_PORT",
        type=click.IntRange(0, 65535),
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


def listening(command: Callable[..., Any]) -> Any:
    """Adds --host, checked before the command sees it."""

    @functools.wraps(command)
    def checked(*, host: str, allow_unauthenticated: bool, **rest: Any) -> Any:
        return command(host=check_host(host, allow_unauthenticated=allow_unauthenticated), **rest)

    return _host(_allow_unauthenticated(checked))


def draining(command: Callable[..., Any]) -> Any:
    """Adds how to stop, which the command gets as `drain`."""

    @functools.wraps(command)
    def gathered(*, drain_delay_s: float, drain_timeout_s: float, **rest: Any) -> Any:
        from tiltyard.server.process import Drain

        return command(drain=Drain(drain_delay_s, drain_timeout_s), **rest)

    return _drain_delay_s(_drain_timeout_s(gathered))


def connection_timeouts(command: Callable[..., Any]) -> Any:
    """Adds what is put up with from clients, which the command gets as `timeouts`."""

    @functools.wraps(command)
    def gathered(*, slow_client_s: float, keep_alive_s: int, trusted_proxies: tuple[str, ...], **rest: Any) -> Any:
        from tiltyard.server.arrivals import ConnectionTimeouts

        return command(timeouts=ConnectionTimeouts(slow_client_s, keep_alive_s, trusted_proxies), **rest)

    return _slow_client_s(_keep_alive_s(_trusted_proxies(gathered)))


def logging(command: Callable[..., Any]) -> Any:
    """Adds how the log is written, which the command gets as `logs`."""

    @functools.wraps(command)
    def gathered(*, log_format: str, log_level: str, **rest: Any) -> Any:
        from tiltyard.telemetry.log_style import LogStyle, format_for_standard_error

        style = format_for_standard_error() if log_format == "auto" else log_format
        return command(logs=msgspec.convert({"format": style, "level": log_level.upper()}, LogStyle), **rest)

    return _log_format(_log_level(gathered))


def exit_with(status: int) -> None:
    """Ends the command with `status`."""
    click.get_current_context().exit(status)
