"""The auth providers, the one question asked of them, and the ASGI layer that asks it.

A provider answers None when the credentials are not of its kind, raises when they are but are bad, and else
gives the caller. To add one: a module here and a row in `PROVIDERS`.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import TiltyardError, Unauthenticated
from tiltyard_registry.rules.access import Principal


class Provider(Protocol):
    """Turns the headers of a request (names in lower case) into a caller."""

    async def __call__(self, headers: Mapping[str, str]) -> Principal | None:
        """The caller, or None if this provider does not know such credentials.

        Raises:
            Unauthenticated: the credentials are of its kind, and bad.
        """
        ...


# Imported on first use, so that a provider costs nothing until it is chosen.
PROVIDERS: dict[str, str] = {
    "anonymous": "tiltyard_registry.auth.anonymous:anonymous",
}


def load_providers(names: Sequence[str]) -> tuple[Provider, ...]:
    """The providers of these names, in this order.

    Raises:
        ValueError: a name is not in `PROVIDERS`.
    """
    for name in names:
        if name not in PROVIDERS:
            raise ValueError(f"Unknown auth provider '{name}'. Known: {', '.join(sorted(PROVIDERS))}.")
    return tuple(_load(PROVIDERS[name]) for name in names)


def _load(path: str) -> Provider:
    module, _, name = path.partition(":")
    provider: Provider = getattr(importlib.import_module(module), name)
    return provider


async def authenticate(providers: Sequence[Provider], headers: Mapping[str, str]) -> Principal:
    """The caller that the first provider knows.

    Raises:
        Unauthenticated: none does, or one finds the credentials bad.
    """
    for provider in providers:
        if (who := await provider(headers)) is not None:
            return who
    raise Unauthenticated("Credentials are missing, or of a kind that this server does not take.")


class Authentication:
    """Notes on every request who makes it, or why that is unknown; whoever needs a caller asks `principal_of`."""

    def __init__(self, app: ASGIApp, providers: Sequence[Provider]) -> None:
        self._app = app
        self._providers = providers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            try:
                scope["state"]["who"] = await authenticate(self._providers, _headers(scope))
            except TiltyardError as error:
                scope["state"]["who"] = error
        await self._app(scope, receive, send)


def _headers(scope: Scope) -> dict[str, str]:
    # Of a header that came twice the first counts.
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(list(scope["headers"]))}


def principal_of(scope: Any) -> Principal:
    """The caller of a request.

    Raises:
        Unauthenticated: no provider knows him.
    """
    who = scope["state"]["who"]
    if isinstance(who, Principal):
        return who
    raise who
