"""The ASGI layers that ask who a request comes from, and let nobody pass who is unknown."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import TiltyardError, Unauthenticated
from tiltyard_registry.auth.providers import Provider, authenticate
from tiltyard_registry.rules.access import Principal

PUBLIC = frozenset(
    {
        "/",
        "/health",
        "/livez",
        "/readyz",
        "/startupz",
        "/ping",
        "/version",
        "/metrics",
        # The stock client asks before it logs in.
        "/api/3.0/mlflow/server-info",
        "/api/tiltyard/v1/docs",
        "/api/tiltyard/v1/openapi.json",
    }
)
"""The paths that answer everybody. Any other, one without a route too, wants to know who asks."""


class Authentication:
    """Notes on every request who makes it, or why that is unknown; whoever needs a caller asks `principal_of`."""

    def __init__(self, app: ASGIApp, providers: Sequence[Provider]) -> None:
        self._app = app
        self._providers = providers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            try:
                if scope["path"] in PUBLIC:
                    raise Unauthenticated("What is public asks nobody who they are.")
                # Of a header that came twice the first counts.
                pairs = reversed(list(scope["headers"]))
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
                scope["state"]["who"] = await authenticate(self._providers, headers, _address_of(scope))
            except TiltyardError as error:
                scope["state"]["who"] = error
        await self._app(scope, receive, send)


class KnownOnly:
    """Lets requests pass whose caller is known, and those for what is public; others are refused, unread."""

    def __init__(self, app: ASGIApp, refuse: Callable[[Scope, Send, TiltyardError], Awaitable[None]]) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["path"] not in PUBLIC:
            who = scope["state"]["who"]
            if not isinstance(who, Principal):
                await self._refuse(scope, send, who)
                return
        await self._app(scope, receive, send)


def _address_of(scope: Any) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def principal_of(scope: Any) -> Principal:
    """The caller of a request.

    Raises:
        Unauthenticated: no provider knows them.
    """
    who = scope["state"]["who"]
    if isinstance(who, Principal):
        return who
    raise who
