"""Keeps web pages of other sites away: the Host and Origin of every request, and text no database holds.

A page that the user visits can reach a server on his own machine, either by a form or script aimed at it
(told by `Origin`) or by a host name of its own that suddenly resolves to 127.0.0.1 (told by `Host`).
"""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import InvalidParameterValue, PermissionDenied, TiltyardError
from tiltyard_registry.api.errors import refuse

_EXEMPT = frozenset({"/health", "/livez", "/readyz", "/startupz", "/metrics", "/version", "/ping"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """Refuses requests whose Host or Origin is foreign; probes and metrics always pass."""

    def __init__(self, app: ASGIApp, *, host: str, allowed_hosts: tuple[str, ...]) -> None:
        self._app = app
        self._names = Names(host, allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["path"].rstrip("/") in _EXEMPT:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        await refuse(refusal, scope, send)

    def _refusal(self, scope: Scope) -> TiltyardError | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._names.is_host(_name(f"//{host}")):
            return PermissionDenied(
                f"Host {host[:100]!a} is not one of this server's names. Add it to --allowed-hosts "
                "(TILTYARD_ALLOWED_HOSTS) if it is."
            )
        if scope.get("method") not in _SAFE_METHODS and (refused := self._foreign_origin(headers)):
            return PermissionDenied(
                f"A request from {refused[:100]!a} may not change anything here. Add its host to --allowed-hosts "
                "(TILTYARD_ALLOWED_HOSTS) if it may."
            )
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return InvalidParameterValue("A path or a parameter may not hold the NUL character.")
        return None

    def _foreign_origin(self, headers: dict[bytes, bytes]) -> str | None:
        origin = headers.get(b"origin")
        if origin is not None:
            shown, host = origin.decode("latin-1"), headers.get(b"host", b"").decode("latin-1")
            return None if self._names.is_origin(_name(shown), _name(f"//{host}")) else shown
        return "another site" if headers.get(b"sec-fetch-site") == b"cross-site" else None


class Names:
    """The host names that a server answers to: loopback, and `allowed_hosts`.

    In `allowed_hosts`, `*` stands for any name and `.example.com` for all names below it. A server that listens
    beyond loopback and was given no names cannot know its own, and answers to any.
    """

    def __init__(self, bound_to: str, allowed_hosts: tuple[str, ...]) -> None:
        names = {name.lower().rstrip(".") for name in allowed_hosts}
        self._any = "*" in names
        self._exact = frozenset(names)
        self._suffixes = tuple(name for name in names if name.startswith("."))
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
        return name in self._exact or (bool(self._suffixes) and name.endswith(self._suffixes))


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
