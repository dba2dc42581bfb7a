"""Keeps web pages of other sites away: looks at the Host and the Origin of every request, on both services.

A page that the user visits can reach a server on their own machine, either by a form or script aimed at it
(told by `Origin`) or by a host name of its own that suddenly resolves to 127.0.0.1 (told by `Host`).
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from tiltyard.errors import BadRequest, InvalidParameterValue, PermissionDenied, TiltyardError

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
# Answers a request that was refused, in the error shape of the service.
Refuse = Callable[[Any, Any, TiltyardError], Awaitable[None]]

PROBES = frozenset({"/health", "/livez", "/readyz", "/startupz", "/metrics", "/version", "/ping"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# What browsers say by themselves, and programs do not.
_SIGNS_OF_A_PAGE = (b"origin", b"sec-fetch-site", b"referer")
_PORT = re.compile(r":(?:[0-9]{1,5}|\*)")
_NAME = re.compile(r"\.?[a-z0-9_*\-]+(?:\.[a-z0-9_*\-]+)*")


class HostGuard:
    """Refuses requests whose Host or Origin is foreign; those for an exempt path always pass."""

    def __init__(self, app: ASGIApp, origins: "Origins", refuse: Refuse, *, exempt: frozenset[str] = PROBES) -> None:
        self._app = app
        self._origins = origins
        self._refuse = refuse
        self._exempt = exempt

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/") not in self._exempt:
            refusal = self._origins.refusal(scope["method"], scope["headers"])
            if refusal is not None:
                await self._refuse(scope, send, refusal)
                return
        await self._app(scope, receive, send)


class Origins:
    """Where requests to one server may come from."""

    def __init__(self, bound_to: str, allowed_hosts: Sequence[str]) -> None:
        """As `Names`. Raises: InvalidParameterValue."""
        self._names = Names(bound_to, allowed_hosts)

    def refusal(self, method: str, headers: Headers) -> TiltyardError | None:
        """Why a request with these headers, whose names are in lower case, is not answered; None if it may be."""
        named = dict(headers)
        if len(named) != len(headers):
            names = [name for name, _ in headers]
            for name in (b"host", b"origin"):
                if names.count(name) > 1:
                    return BadRequest(f"A request has one header '{name.decode()}', got {names.count(name)}.")
        told = named.get(b"host", b"").decode("latin-1")
        host = _name(f"//{told}")
        is_safe = method in _SAFE_METHODS
        if not self._names.is_host(host) and (is_safe or not _is_of_a_program(host, named)):
            return PermissionDenied(
                f"Host {told[:100]!a} is not one of this server's names. Add it to --allowed-hosts "
                "(TILTYARD_ALLOWED_HOSTS) if it is."
            )
        if not is_safe and (refused := self._foreign_origin(named, host)):
            return PermissionDenied(
                f"A request from {refused[:100]!a} may not change anything here. Add its host to --allowed-hosts "
                "(TILTYARD_ALLOWED_HOSTS) if it may."
            )
        return None

    def _foreign_origin(self, named: dict[bytes, bytes], host: str | None) -> str | None:
        origin = named.get(b"origin")
        if origin is not None:
            shown = origin.decode("latin-1")
            return None if self._names.is_origin(_name(shown), host) else shown
        return "another site" if named.get(b"sec-fetch-site") == b"cross-site" else None


class Names:
    """The host names that a server answers to: loopback, and `allowed_hosts`, as `parse_allowed_hosts` takes them.

    In `allowed_hosts`, `*` stands for any name and `.example.com` for all names below it. A server that listens
    beyond loopback and was given no names cannot know its own, and answers to any.
    """

    def __init__(self, bound_to: str, allowed_hosts: Sequence[str]) -> None:
        """Raises: InvalidParameterValue, for what no Host can match."""
        names = set(parse_allowed_hosts(allowed_hosts))
        self._any = "*" in names
        self._exact = frozenset(names)
        self._suffixes = tuple(name for name in names if name.startswith(".") and "*" not in name)
        patterns = [_pattern(name) for name in names if "*" in name]
        self._pattern = re.compile("|".join(patterns)) if patterns else None
        self._local = _is_loopback(bound_to)

    def is_host(self, name: str | None) -> bool:
        """Whether a request may come under this name."""
        if self._any or (not self._local and not self._exact):
            return True
        return name is not None and (_is_loopback(name) or self._is_given(name))

    def is_origin(self, name: str | None, host: str | None) -> bool:
        """Whether a page of the site `name` may change something under the name `host`.

        'null', which sandboxed pages and files send, has no name and may not.
        """
        if self._any:
            return True
        if name is None:
            return False
        return name == host or self._is_given(name) or (self._local and _is_loopback(name))

    def _is_given(self, name: str) -> bool:
        if name in self._exact or (bool(self._suffixes) and name.endswith(self._suffixes)):
            return True
        return self._pattern is not None and self._pattern.fullmatch(name) is not None


def parse_allowed_hosts(given: Iterable[str]) -> tuple[str, ...]:
    """The names in `given`, as they are compared: in lower case, one by one, without ports.

    A value may be several names with commas between them, a name may have a port (any port is meant all the same)
    and `*` in it for any characters: `mlflow.example:5000`, `*.example`, `.example`, `10.0.*`, `[::1]:5000`, `*`.

    Raises:
        InvalidParameterValue: a value is no such name, so that no request could ever match it.
    """
    return tuple(_allowed(name) for value in given for name in value.split(",") if name.strip())


def _allowed(told: str) -> str:
    name = told.strip().lower()
    bracketed, bracket, port = name.partition("]")
    if bracket and name.startswith("[") and (not port or _PORT.fullmatch(port)):
        name = bracketed[1:]
    elif name.count(":") == 1:
        name = name[: found.start()] if (found := _PORT.search(name)) and found.end() == len(name) else name
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        if not name.isascii():
            name = name.encode("idna").decode()
    except UnicodeError:
        pass
    name = name.rstrip(".")
    if not _NAME.fullmatch(name):
        raise InvalidParameterValue(
            f"Setting 'allowed_hosts' (--allowed-hosts): no Host can be {told.strip()[:100]!a}, expected a name such "
            "as ml.example, .ml.example for all names below it, a pattern with *, or an address."
        )
    return name


def _pattern(name: str) -> str:
    return "".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", name))


def _is_of_a_program(host: str | None, named: dict[bytes, bytes]) -> bool:
    """Whether a request that changes something comes from no page: under a short name, which no site of the net has.

    Programs on the same network use such names. A page that somebody there has made gives itself away: a browser
    tells the origin of each such request.
    """
    return (
        host is not None and "." not in host and ":" not in host and not any(map(named.__contains__, _SIGNS_OF_A_PAGE))
    )


@lru_cache(maxsize=256)
def _name(url: str) -> str | None:
    """The host of a URL in lower case, without port, brackets and trailing dot; None if there is none."""
    try:
        name = urlsplit(url).hostname
    except ValueError:
        return None
    return name.rstrip(".") if name else None


@lru_cache(maxsize=256)
def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
