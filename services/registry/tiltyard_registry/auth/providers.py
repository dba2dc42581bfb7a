"""The auth providers, and the one question asked of them.

A provider answers None when the credentials are not of its kind, raises when they are but are bad, and else
gives the caller. To add one: a module here and a row in `PROVIDERS`.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from tiltyard.errors import Unauthenticated
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
