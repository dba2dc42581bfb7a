"""Pages of lists that are in the order of a name or a number."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from tiltyard_registry.search import PageToken

Listed = TypeVar("Listed", bound=Mapping[str, Any])


def position_of(page_token: str | None, listing: str, kind: type[str] | type[int] = str) -> str | int:
    """Behind which name or number the page begins.

    Raises:
        InvalidParameterValue: the token is of another listing, or none at all.
    """
    if not page_token:
        return kind()
    position = PageToken.decode(page_token, query=listing, columns=[kind])
    return cast(tuple[str | int], position)[0]


def cut(rows: Sequence[Listed], limit: int, listing: str, key: str = "name") -> tuple[Sequence[Listed], str | None]:
    """At most `limit` of the rows, and the token of the next page when there are more."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], PageToken.encode((rows[limit - 1][key],), query=listing)
