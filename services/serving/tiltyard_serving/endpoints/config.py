"""What a named endpoint serves, as its configuration says it: read from a file or from a request, checked once."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tiltyard.errors import InvalidParameterValue
from tiltyard.uri import RegisteredUri
from tiltyard_serving.endpoints.entities import Entity, parse_served
from tiltyard_serving.settings import Isolation

STICKY_HEADER = "x-tiltyard-sticky"

_NAME = re.compile(r"[A-Za-z0-9_\-]{1,255}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]{1,100}")
_MAX_ENTITIES = 32
_PERCENT_DIGITS = 6


class ServedEntity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of an endpoint, how much of the traffic it gets, and where it runs; None: as the service is set."""

    model: str
    traffic_percentage: float
    isolation: Isolation | None = None


class EndpointConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The configuration of one endpoint.

    `shadow` is a model that gets a copy of the traffic and whose answers nobody sees.
    """

    served_entities: tuple[ServedEntity, ...]
    sticky_header: str = STICKY_HEADER
    shadow: str | None = None

    def check(self, where: str) -> None:
        """Nothing, if it can be served. Raises: InvalidParameterValue: names what is wrong, below `where`."""
        if not 1 <= len(self.served_entities) <= _MAX_ENTITIES:
            raise InvalidParameterValue(
                f"{where}.served_entities must hold 1 to {_MAX_ENTITIES} entities, got {len(self.served_entities)}."
            )
        seen: dict[Any, str] = {}
        for place, entity in self.placed(where):
            if (first := seen.setdefault(entity.names, place)) != place:
                raise InvalidParameterValue(f"{place}: '{entity.uri[:300]}' is at {first} already.")
        for number, served in enumerate(self.served_entities):
            if not 0 <= served.traffic_percentage <= 100:
                raise InvalidParameterValue(
                    f"{where}.served_entities[{number}].traffic_percentage must be from 0 to 100, "
                    f"got {served.traffic_percentage:g}."
                )
        total = round(sum(served.traffic_percentage for served in self.served_entities), _PERCENT_DIGITS)
        if total != 100:
            raise InvalidParameterValue(f"{where}: the traffic percentages must sum to 100, got {total:g}.")
        if not _HEADER.fullmatch(self.sticky_header):
            raise InvalidParameterValue(f"{where}.sticky_header is no header name: '{self.sticky_header[:100]}'.")

    def placed(self, where: str) -> Iterator[tuple[str, Entity]]:
        """Every model with the place where it is named, the shadow last.

        Raises:
            InvalidParameterValue: one is no model URI.
        """
        told: list[tuple[str, str, Isolation | None]] = [
            (f"{where}.served_entities[{number}].model", entity.model, entity.isolation)
            for number, entity in enumerate(self.served_entities)
        ]
        if self.shadow is not None:
            told.append((f"{where}.shadow", self.shadow, None))
        for place, uri, isolation in told:
            try:
                yield place, parse_served(uri)._replace(isolation=isolation)
            except InvalidParameterValue as error:
                raise InvalidParameterValue(f"{place}: {error.message}") from None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoints: dict[str, EndpointConfig]


def read_file(path: Path) -> dict[str, EndpointConfig]:
    """The endpoints of a YAML file, by name.

    Raises:
        InvalidParameterValue: it cannot be read, or says something that cannot be served.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        raise InvalidParameterValue(f"Configuration '{path}' cannot be read: {type(error).__name__}.") from None
    except yaml.YAMLError as error:
        raise InvalidParameterValue(f"Configuration '{path}' is no YAML: {' '.join(str(error).split())}") from None
    try:
        endpoints = msgspec.convert(content, _File).endpoints
    except msgspec.ValidationError as error:
        raise InvalidParameterValue(f"Configuration '{path}': {error}.") from None
    for name, config in endpoints.items():
        check_name(name)
        config.check(f"endpoints.{name}")
    return endpoints


def read_request(body: bytes) -> EndpointConfig:
    """The configuration that a request carries.

    Only registered models may be named: a path is the operator's to name, not a caller's.

    Raises:
        InvalidParameterValue: it is malformed, or says something that cannot be served.
    """
    try:
        config = msgspec.json.decode(body, type=EndpointConfig)
    except (msgspec.MsgspecError, UnicodeError) as error:
        why = "not UTF-8" if isinstance(error, UnicodeError) else str(error)
        raise InvalidParameterValue(f"The endpoint's configuration cannot be read: {why}.") from None
    config.check("$")
    for place, entity in config.placed("$"):
        if not isinstance(entity.names, RegisteredUri):
            raise InvalidParameterValue(f"{place}: expected a registered model, got '{entity.uri[:300]}'.")
    return config


def check_name(name: str) -> str:
    """`name`, if an endpoint can have it. Raises: InvalidParameterValue."""
    if not _NAME.fullmatch(name):
        raise InvalidParameterValue(
            f"An endpoint's name has 1 to 255 letters, digits, underscores and hyphens, got '{name[:300]}'."
        )
    return name
