"""What the setting `models` names, and what the parts of a request's path ask for."""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from tiltyard.errors import InvalidParameterValue
from tiltyard.names import DEFAULT_CATALOG, DEFAULT_SCHEMA, parse_model_name
from tiltyard.uri import AliasUri, DirectoryUri, LatestUri, ModelUri, RegisteredUri, StageUri, parse_model_uri
from tiltyard_serving.settings import Isolation

DEFAULT = "default"

_NAMED = re.compile(r"([A-Za-z0-9_\-]{1,255})=(.+)", re.DOTALL)


class Entity(NamedTuple):
    """One configured model: its URI as it was given, what that names, and the endpoint it answers under.

    Registered models are named in full, so that two spellings are one model. `isolation` is None when it is that
    of the service.
    """

    uri: str
    names: ModelUri
    endpoint: str | None
    isolation: Isolation | None = None

    @property
    def model(self) -> str | None:
        """The full name of the registered model, if it is one."""
        return self.names.name if isinstance(self.names, RegisteredUri) else None

    @property
    def label(self) -> str:
        """What callers may see: the endpoint, else the URI, of a directory its last part."""
        if self.endpoint is not None or not isinstance(self.names, DirectoryUri):
            return self.endpoint or self.uri
        return self.uri.rstrip("/").rpartition("/")[2]


def parse_entity(text: str) -> Entity:
    """The entity that `[NAME=]URI` spells.

    Raises:
        InvalidParameterValue: the URI is none, or the directory it names is no model directory.
    """
    named = _NAMED.fullmatch(text)
    endpoint, uri = (named[1], named[2]) if named else (None, text)
    return parse_served(uri)._replace(endpoint=endpoint)


def parse_served(uri: str) -> Entity:
    """The entity that a URI alone names, without an endpoint.

    Raises:
        InvalidParameterValue: the URI is none, or the directory it names is no model directory.
    """
    names = parse_model_uri(uri)
    if isinstance(names, RegisteredUri):
        names = dataclasses.replace(names, name=parse_model_name(names.name).full)
    elif isinstance(names, DirectoryUri) and (path := names.local_path) and not (path / "MLmodel").is_file():
        raise InvalidParameterValue(f"Model '{uri}': there is no model directory (no file 'MLmodel') there.")
    return Entity(uri, names, None)


def parse_entities(texts: Sequence[str]) -> tuple[Entity, ...]:
    """The entities of the setting `models`.

    Raises:
        InvalidParameterValue: one is malformed or there twice, or no path would lead to one.
    """
    entities = tuple(parse_entity(text) for text in texts)
    endpoints = [entity.endpoint for entity in entities if entity.endpoint]
    for number, entity in enumerate(entities):
        if entity.endpoint and endpoints.count(entity.endpoint) > 1:
            raise InvalidParameterValue(f"Models: the endpoint name '{entity.endpoint}' is there twice.")
        if entities.index(entity) != number:
            raise InvalidParameterValue(f"Models: '{entity.uri}' is there twice.")
        is_default = number == 0 and DEFAULT not in endpoints
        if not (entity.endpoint or entity.model or is_default):
            raise InvalidParameterValue(f"Model '{entity.uri}' needs a name to be asked by: 'NAME={entity.uri}'.")
    return entities


def full_name(name: str | None) -> str | None:
    """`catalog.schema.model` of a registered model's name."""
    return None if name is None else parse_model_name(name).full


def full_pattern(pattern: str) -> str:
    """The pattern of full names that `pattern` means: one without a dot is of models in the built-in schema.

    `*` alone means every model.
    """
    return pattern if "." in pattern or pattern == "*" else f"{DEFAULT_CATALOG}.{DEFAULT_SCHEMA}.{pattern}"


@functools.lru_cache(maxsize=1024)
def asked_for(name: str, selector: str) -> RegisteredUri | None:
    """What `/model/{name}/{selector}` asks for, with the full name; None when that can name nothing.

    A selector is a version, a stage or `latest`, and otherwise an alias.
    """
    return _of(name, f"/{selector}") or named_by_alias(name, selector)


@functools.lru_cache(maxsize=1024)
def named_by_alias(name: str, alias: str) -> RegisteredUri | None:
    """What `NAME@ALIAS` asks for, as in a URI, with the full name; None when that can name nothing.

    An alias may be called as a stage or a version is.
    """
    return _of(name, f"@{alias}")


def _of(name: str, rest: str) -> RegisteredUri | None:
    try:
        full = parse_model_name(name).full
        parsed = parse_model_uri(f"models:/{full}{rest}")
    except InvalidParameterValue:
        return None
    return parsed if isinstance(parsed, RegisteredUri) and parsed.name == full else None


def registered_uri(names: RegisteredUri) -> str:
    """The text of a registered model's URI, with the name as registries show it."""
    shown = parse_model_name(names.name).shown
    match names:
        case AliasUri(alias=alias):
            return f"models:/{shown}@{alias}"
        case StageUri(stage=stage):
            return f"models:/{shown}/{stage}"
        case LatestUri():
            return f"models:/{shown}/latest"
        case _:
            return f"models:/{shown}/{names.version}"
