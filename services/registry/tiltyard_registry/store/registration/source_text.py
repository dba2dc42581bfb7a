"""The text of a source: what it may say before anybody looks where it leads."""

import re
from urllib.parse import urlsplit

from tiltyard.errors import InvalidParameterValue
from tiltyard.uri import safe_relative_path
from tiltyard_registry.rules import limits, prompts
from tiltyard_registry.rules.keys import check_length

# Schemes that name a place elsewhere without `//` behind them, and those that name none at all.
WITHOUT_HOST = frozenset({"dbfs", "hdfs", "viewfs"})

_NO_PLACES = frozenset({"javascript", "data", "vbscript", "about", "blob", prompts.LOCATION.partition(":")[0]})

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(?!$)")


def scheme_of(source: str) -> str:
    """The scheme of a URI in lower case; empty of anything else."""
    match = SCHEME.match(source)
    return match.group(1).lower() if match else ""


def names_a_store(source: str) -> bool:
    """Whether `source` is the URI of a place in some store, whichever that is."""
    scheme = scheme_of(source)
    # One letter is a drive.
    if len(scheme) <= 1 or scheme in _NO_PLACES:
        return False
    return source[len(scheme) :].startswith("://") or scheme in WITHOUT_HOST


def check_source(source: str) -> str:
    """`source` if it may be recorded as a place of our own.

    Raises:
        InvalidParameterValue: too long, a control character, `..` in any encoding, or slashes that mean nothing.
    """
    check_length(source, limits.MAX_SOURCE_CHARS, "source")
    path = source
    match = SCHEME.match(source)
    if match is not None:
        path = re.sub(r"^//[^/]*", "", source[match.end() :])
    path = path.strip("/")
    if not path or safe_relative_path(path, parameter="source") != path:
        raise InvalidParameterValue(
            f"Invalid model version source: '{source[:300]}'. Its path is empty, or not in its shortest form."
        )
    check_uri(source)
    return source


def check_uri(source: str) -> None:
    try:
        urlsplit(source)
    except ValueError:
        raise InvalidParameterValue(f"Invalid model version source: '{source[:300]}'. It is not a URI.") from None
