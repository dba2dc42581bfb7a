"""The ASGI layer that asks who a request comes from."""

from collections.abc import Sequence
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import TiltyardError
from tiltyard_registry.auth.providers import Provider, authenticate
from tiltyard_registry.rules.access import Principal


class Authentication:
    """Notes on every request who makes it, or why that is unknown; whoever needs a caller asks `principal_of`."""

    def __init__(self, app: ASGIApp, providers: Sequence[Provider]) -> None:
        self._app = app
        self._providers = providers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            try:
                # Of a header that came twice the first counts.
                pairs = reversed(list(scope["headers"]))
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
                scope["state"]["who"] = await authenticate(self._providers, headers)
            except TiltyardError as error:
                scope["state"]["who"] = error
        await self._app(scope, receive, send)


def principal_of(scope: Any) -> Principal:
    """The caller of a request.

    Raises:
        Unauthenticated: no provider knows him.
    """
    who = scope["state"]["who"]
    if isinstance(who, Principal):
        return who
    raise who
