"""The auth providers, and the one question asked of them.

A provider answers None when the credentials are not of its kind, raises when they are but are bad, and else
gives the caller. To add one: a module here, with a class made from `Sources`, and a row in `PROVIDERS`.
"""

import pkgutil
from collections.abc import Mapping, Sequence
from typing import Protocol

from tiltyard.errors import Unauthenticated
from tiltyard_registry.auth.sources import Sources
from tiltyard_registry.rules.access import Principal


class Provider(Protocol):
    """Turns the headers of a request (names in lower case) into a caller."""

    async def __call__(self, headers: Mapping[str, str], address: str) -> Principal | None:
        """The caller, or None if this provider does not know such credentials. `address` is where the request is from.

        Raises:
            Unauthenticated: the credentials are of its kind, and bad.
        """
        ...


# Imported on first use, so that a provider costs nothing until it is chosen.
PROVIDERS: dict[str, str] = {
    "anonymous": "tiltyard_registry.auth.anonymous:Anonymous",
    "token": "tiltyard_registry.auth.tokens:Tokens",
    "basic": "tiltyard_registry.auth.basic:Basic",
}


def load_providers(names: Sequence[str], sources: Sources) -> tuple[Provider, ...]:
    """The providers of these names, in this order.

    Raises:
        KeyError: a name is not in `PROVIDERS`; `parse_providers` lets none pass.
    """
    return tuple(pkgutil.resolve_name(PROVIDERS[name])(sources) for name in names)


async def authenticate(providers: Sequence[Provider], headers: Mapping[str, str], address: str) -> Principal:
    """The caller that the first provider knows.

    Raises:
        Unauthenticated: none does, or one finds the credentials bad.
    """
    for provider in providers:
        if (who := await provider(headers, address)) is not None:
            return who
    raise Unauthenticated("Credentials are missing, or of a kind that this server does not take.")
