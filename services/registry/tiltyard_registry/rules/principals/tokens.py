"""The text of tokens.

A token is a prefix that says what it is, 36 random characters, and 6 that sum them up: scanners for secrets know it by
sight, a typing error costs no query, and a double click takes all of it. Source of the form: GitHub's tokens.
"""

import hashlib
import zlib
from collections.abc import Sequence

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.access import Scope
from tiltyard_registry.rules.principals.names import PrincipalKind

RANDOM_CHARS = 36
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SHOWN_CHARS = 10
"""So much of a token is kept and shown, for its owner to know it by."""

_PREFIXES = {PrincipalKind.USER: "tltp_", PrincipalKind.SERVICE: "tlts_"}
_SUM_CHARS = 6
_CHARS = len("tltp_") + RANDOM_CHARS + _SUM_CHARS


DEFAULT_SCOPES = (Scope.READ, Scope.WRITE)


def check_scopes(scopes: Sequence[str]) -> tuple[Scope, ...]:
    """The scopes in their order, each once.

    Raises:
        InvalidParameterValue: there is no such scope, or none is given.
    """
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        named = f"{unknown[0][:40]!a}" if unknown else "[]"
        raise InvalidParameterValue(
            f"Invalid value {named} for parameter 'scopes': expected some of {', '.join(Scope)}."
        )
    return tuple(scope for scope in Scope if scope in scopes)


def token_text(kind: PrincipalKind, random: str) -> str:
    """The token of a user or of a service with these random characters."""
    begin = _PREFIXES[kind] + random
    return begin + _sum_of(begin)


def is_token(text: str) -> bool:
    """Whether a text looks like a token, good or bad."""
    return text.startswith("tlt")


def is_whole(text: str) -> bool:
    """Whether a text is a token without a typing error in it."""
    return len(text) == _CHARS and text.isascii() and _sum_of(text[:-_SUM_CHARS]) == text[-_SUM_CHARS:]


def hash_of(text: str) -> str:
    """What is stored of a token. Of 214 random bits a quick hash tells nobody anything."""
    return hashlib.sha256(text.encode()).hexdigest()


def _sum_of(begin: str) -> str:
    rest, digits = zlib.crc32(begin.encode()), ""
    for _ in range(_SUM_CHARS):
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
