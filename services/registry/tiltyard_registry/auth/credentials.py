"""What the header `Authorization` of a request holds. Sources: RFC 6750 (Bearer), RFC 7617 (Basic)."""

import base64
import binascii
from collections.abc import Mapping
from typing import NamedTuple

_MAX_CHARS = 16 * 1024


class Pair(NamedTuple):
    """A name and a password, as Basic credentials have them."""

    name: str
    password: str


def bearer(headers: Mapping[str, str]) -> str | None:
    """The token of Bearer credentials; None when they are others, or too long to be any."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    return rest.strip() if scheme.lower() == "bearer" and len(rest) <= _MAX_CHARS else None


def basic(headers: Mapping[str, str]) -> Pair | None:
    """The name and the password of Basic credentials; None when they are others, or cannot be read."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or len(rest) > _MAX_CHARS:
        return None
    try:
        name, separator, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return Pair(name, password) if separator else None
