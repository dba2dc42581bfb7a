"""Page tokens: opaque text that says where the next page starts, good only for the query it came from."""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any, TypeAlias, overload

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.search.grammar import is_text

# Behind so many rows, or behind the row with these values in the order's columns.
Position: TypeAlias = int | tuple[str | int, ...]

MAX_OFFSET = 2**31 - 1
_MAX_WHOLE = 2**63 - 1
_MAX_TOKEN_CHARS = 20_000


def query_digest(*parts: Any) -> str:
    """A short digest of what makes a query itself: scope, filter, order, and whatever else narrows it.

    The page size is no part of it: a caller may change that on the way.
    """
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class PageToken:
    """Reading and writing of tokens. There is no secret in them: a forged one reads what a filter could."""

    @staticmethod
    def encode(position: Position, *, query: str) -> str:
        """The token of `position` in the query with the digest `query`."""
        text = json.dumps([query, position], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @overload
    @staticmethod
    def decode(token: str, *, query: str, columns: Sequence[type]) -> tuple[str | int, ...]: ...

    @overload
    @staticmethod
    def decode(token: str, *, query: str, columns: Sequence[type] | None = None) -> Position: ...

    @staticmethod
    def decode(token: str, *, query: str, columns: Sequence[type] | None = None) -> Position:
        """The position a token holds: an offset, or values of the types `columns` when those are given.

        Raises:
            InvalidParameterValue: it is not a token of ours, or one of another query.
        """
        position = _position(token, query)
        if columns is None:
            if isinstance(position, int) and not isinstance(position, bool) and 0 <= position <= MAX_OFFSET:
                return position
        elif isinstance(position, list) and list(map(_kind, position)) == list(columns):
            return tuple(position)
        raise _bad_token()


def _position(token: str, query: str) -> Any:
    try:
        if len(token) > _MAX_TOKEN_CHARS:
            raise _bad_token()
        padded = token + "=" * (-len(token) % 4)
        found = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise _bad_token() from None
    if not isinstance(found, list) or len(found) != 2:
        raise _bad_token()
    if found[0] != query:
        raise InvalidParameterValue(
            "Invalid page token: it belongs to another query. Repeat the filter, the order and everything else "
            "of the request that it came from, or start without a token."
        )
    return found[1]


def _kind(value: object) -> type | None:
    """`int` or `str`, if either database takes the value as such."""
    if type(value) is int and abs(value) <= _MAX_WHOLE:
        return int
    return str if isinstance(value, str) and is_text(value) else None


def _bad_token() -> InvalidParameterValue:
    return InvalidParameterValue("Invalid page token: it is not one that this server gave out.")
