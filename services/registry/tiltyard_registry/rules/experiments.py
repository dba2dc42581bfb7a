"""What an experiment and a logged model may be called, and where their artifacts may lie.

Source: mlflow/utils/validation.py and mlflow/server/handlers.py, `_validate_storage_location_uri`.
"""

import posixpath
import re
from urllib.parse import urlsplit

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.keys import MAX_INT64, check_length

MAX_NAME_CHARS = 500
MAX_MODEL_TYPE_CHARS = 500
MAX_RUN_ID_CHARS = 32
MAX_ARTIFACT_LOCATION_CHARS = 2048
MAX_EXPERIMENT_ID = MAX_INT64
MAX_COUNTED_ID = 10**9
"""Ids above it came with an import (file stores and managed services invent ids of up to 18 digits); new experiments
are numbered behind the others."""
DEFAULT_EXPERIMENT_ID = 0

ARTIFACT_ROOT = "mlflow-artifacts:/"
"""Where experiments keep their artifacts unless they say otherwise: behind the registry's own proxy."""

_PROXY_BY_HTTP = re.compile(r"^https?://[^?]*/mlflow-artifacts/artifacts/?([^?]*)", re.IGNORECASE)
_NOT_IN_MODEL_NAMES = ("/", ":", ".", "%", '"', "'")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TRAVERSAL = re.compile(r"(?:\.|%(?:25)*2e){2}", re.IGNORECASE)
# Schemes that would name a thing of ours, and not a place; or run code in a reader's browser.
_NO_PLACES = ("runs", "models", "javascript", "data")


def parse_experiment_id(text: str) -> int:
    """The number that an experiment id spells; -1, which never exists, for a number out of range.

    Raises:
        InvalidParameterValue: it is not a decimal integer.
    """
    if not re.fullmatch(r"\s*[+-]?[0-9]+\s*", text) or len(text) > 40:
        raise InvalidParameterValue(f"Invalid experiment ID '{text[:80]}'. Experiment ID must be a valid integer.")
    number = int(text)
    return number if 0 <= number <= MAX_EXPERIMENT_ID else -1


def check_experiment_name(name: str, *, parameter: str = "name") -> str:
    """`name` if an experiment may have it.

    Raises:
        InvalidParameterValue: it is empty, over 500 characters, or not text.
    """
    if not name:
        raise InvalidParameterValue(f"Invalid experiment name: '' (parameter '{parameter}')")
    return check_length(name, MAX_NAME_CHARS, parameter)


def check_artifact_location(location: str) -> str:
    """`location` as it is stored, if an experiment may keep its artifacts there.

    A relative path is one below the registry's own artifacts: to each client it would be another place of its own.

    Raises:
        InvalidParameterValue: a scheme that names no place, the artifact proxy by its HTTP address, a fragment,
            parameters, `..` in any encoding, a control character, or over 2048 characters.
    """
    if len(location) > MAX_ARTIFACT_LOCATION_CHARS:
        raise InvalidParameterValue(
            "Invalid artifact path length. The length of the artifact path cannot be greater than "
            f"{MAX_ARTIFACT_LOCATION_CHARS} characters."
        )
    if _CONTROL.search(location) or _TRAVERSAL.search(location):
        raise InvalidParameterValue(
            "Invalid artifact location for parameter 'artifact_location': '..' and control characters are not allowed."
        )
    try:
        parts = urlsplit(location)
    except ValueError:
        raise InvalidParameterValue("Invalid artifact location for parameter 'artifact_location': not a URI.") from None
    if parts.fragment or "#" in location or ";" in parts.path:
        raise InvalidParameterValue("'artifact_location' URL can't include fragments or params.")
    if parts.scheme in _NO_PLACES:
        raise InvalidParameterValue(f"Artifact location cannot be a {parts.scheme}:/ URI. Given: '{location[:300]}'")
    if found := _PROXY_BY_HTTP.search(location):
        raise InvalidParameterValue(
            f"Invalid artifact location '{location[:300]}': the artifacts of this registry are named by "
            f"'{ARTIFACT_ROOT}{found[1][:300]}', without its address."
        )
    if not parts.scheme and not location.startswith("/") and (path := posixpath.normpath(location)) != ".":
        location = f"{ARTIFACT_ROOT}{path}"
    return check_length(location, MAX_ARTIFACT_LOCATION_CHARS, "artifact_location")


def below(location: str, *names: str) -> str:
    """The URI of a directory below `location`; a query stays at the end."""
    base, question, query = location.partition("?")
    return "/".join((base.rstrip("/") if base.strip("/") else base, *names)) + question + query


def check_logged_model_name(name: str) -> str:
    """`name` if a logged model may have it.

    Raises:
        InvalidParameterValue: it is empty, holds one of `/ : . % " '`, or is over 500 characters.
    """
    if not name or any(char in name for char in _NOT_IN_MODEL_NAMES):
        raise InvalidParameterValue(
            f"Invalid model name ({name[:300]!r}) provided. Model name must be a non-empty string and cannot "
            f"contain the following characters: {_NOT_IN_MODEL_NAMES}"
        )
    return check_length(name, MAX_NAME_CHARS, "name")
