"""What a service is told: each field says its type, bounds, default and meaning, once, and options follow from that."""

import functools
import ipaddress
from collections.abc import Iterable
from types import NoneType
from typing import Annotated, Any, NamedTuple, cast, get_args, get_origin

import msgspec
from msgspec import Meta

from tiltyard.errors import InvalidParameterValue
from tiltyard.server.host_guard import parse_allowed_hosts
from tiltyard.telemetry.log_lines import LogStyle

Size = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]


class Setting(NamedTuple):
    """One field: its type but for None, its bounds, what `setting` told of it, and its default."""

    type: Any
    bounds: Meta
    told: Meta
    default: Any


def setting(description: str, **told: Any) -> Meta:
    """The annotation of a field that is an option of the command, with that help.

    `ge`, `gt` and `le` are its bounds; a field that may be None has them within: `Annotated[Count | None, …]`. The rest
    is what the command line has otherwise than by the rule: its `flags`, its variable `env`, a `metavar`, whether a
    path `is_file`, and a function that `parse`s several values.
    """
    bounds = {name: told.pop(name) for name in ("ge", "gt", "le") if name in told}
    return Meta(description=description, extra=told, **bounds)


def port_setting(service: str) -> Meta:
    """The annotation of a service's port."""
    # The variable is not {SERVICE}_PORT: Kubernetes sets that to a URL.
    env = f"{service.upper()}_LISTEN_PORT"
    return setting(f"Port of the {service} service; 0 takes any free one.", ge=0, le=65535, env=env)


def workers_setting(service: str) -> Meta:
    """The annotation of how many processes a service has."""
    env = f"{service.upper()}_WORKERS"
    return setting(f"Processes of the {service} service that share the port.", ge=1, le=256, env=env)


@functools.cache
def settings_of(kind: type[msgspec.Struct]) -> dict[str, Setting]:
    """The annotated fields of a struct, by name."""
    found = {}
    for field in msgspec.structs.fields(kind):
        if get_origin(field.type) is Annotated:
            value, told = get_args(field.type)
            if NoneType in get_args(value):
                value = get_args(value)[0]
            value, bounds = get_args(value) if get_origin(value) is Annotated else (value, told)
            found[field.name] = Setting(value, bounds, told, field.default)
    return found


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What both services are told. Raises: InvalidParameterValue: a field is out of its bounds."""

    host: Annotated[
        str, setting("Address to listen on. Beyond loopback callers must say who they are, or --allow-unauthenticated.")
    ] = "127.0.0.1"
    # A server that listens beyond loopback and was given none answers to every name.
    allowed_hosts: Annotated[
        tuple[str, ...],
        setting(
            "A host name, besides loopback, under which requests may come: ml.example, .ml.example for all below it, a "
            "pattern with *, or * for any. A port is passed over. May be repeated; commas separate names, in the "
            "variable blanks too.",
            metavar="NAME",
            parse=parse_allowed_hosts,
        ),
    ] = ()
    logs: LogStyle = LogStyle()

    def __post_init__(self) -> None:
        for name, setting in settings_of(type(self)).items():
            value, limits = getattr(self, name), setting.bounds
            if value is None:
                continue
            if limits.gt is not None and not value > limits.gt:
                expected = f"above {limits.gt}"
            elif limits.le is not None and not cast("float", limits.ge) <= value <= limits.le:
                expected = f"from {limits.ge} to {limits.le}"
            elif limits.ge is not None and not value >= limits.ge:
                expected = f"at least {limits.ge}"
            else:
                continue
            raise InvalidParameterValue(f"Setting '{name}' must be {expected}, got {value}.")


class Drain(msgspec.Struct, frozen=True):
    """How a process stops."""

    delay_s: Annotated[
        float, setting("After SIGTERM, seconds to go on accepting while the health check already says no.", ge=0)
    ] = 0.0
    timeout_s: Annotated[float, setting("After SIGTERM, seconds for requests in flight to end.", ge=1)] = 30.0


def parse_networks(given: Iterable[str]) -> tuple[str, ...]:
    """Addresses and networks, of values that may each be several with commas between them. Raises: ValueError."""
    networks = tuple(name.strip() for value in given for name in value.split(",") if name.strip())
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValueError(f"{network!r} is no address and no network, such as 10.0.0.0/8.") from None
    return networks


class ConnectionTimeouts(msgspec.Struct, frozen=True):
    """What a process puts up with from its clients.

    Idle connections should outlive the pools of common clients and proxies, so that those never write into a closing
    one.
    """

    slow_client_s: Annotated[
        float,
        setting(
            "Seconds that the head of a request may take, or a body slower than 1 KiB/s, before it is answered 408.",
            gt=0,
        ),
    ] = 20.0
    keep_alive_s: Annotated[int, setting("Seconds that a connection may be idle before it is closed.", ge=1)] = 75
    trusted_proxies: Annotated[
        tuple[str, ...],
        setting(
            "A proxy, by its address or network, whose X-Forwarded-For and X-Forwarded-Proto are believed; without it, "
            "nobody's. May be repeated; in the variable, blanks separate them.",
            metavar="ADDRESS",
            parse=parse_networks,
        ),
    ] = ()
